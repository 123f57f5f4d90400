"""Deadlines of networks in the daemon: killed anywhere, what the clock decided stands."""

from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from connectors.history.database import History
from streams.pipeline import Pipeline
from tests.streams.plant import contents, messages, stream
from tests.streams.test_pipeline import configuration, records
from tests.tsad.test_deadline import Clock
from tsad.deadline import LateAnswers
from tsad.observations import RowFlag

NETWORK = {"name": "timercd-nano", "options": {"scales": [1], "hop": 4, "calibration_rows": 80}}
STREAMS = [stream(detectors=["robust", NETWORK], train_rows=150, deadline="1s")]


def pipeline(history, clock):
    return Pipeline(configuration(history.path, streams=STREAMS), history, clock=clock)


def late_rows(history):
    """Series and time of the rows that lack their network."""
    with history.cursor() as cursor:
        found = cursor.execute(
            f"SELECT series, epoch_ns(time) FROM samples WHERE flags & {int(RowFlag.WITHOUT_NETWORK)} != 0"
        ).fetchall()
    return set(found)


def test_late_answers_are_kept_until_the_state_is_stored(tmp_path):
    values = messages(rows=200)
    with History(tmp_path / "h.duckdb") as history:
        worker = pipeline(history, Clock([2.0]))
        worker.handle([records(values, 0, 200)])
        worker.commit(snapshot=True)
        worker.handle([records(values, 200, 380)])
        worker.commit(snapshot=False)
        stored = history.late_answers()
        assert stored["pumps"]["timercd-nano"] == late_rows(history)
        assert len(late_rows(history)) == 80
        with history.cursor() as cursor:
            counted = cursor.execute("SELECT count FROM counters WHERE name = 'network_late'").fetchall()
        assert counted == [(80,)]
        worker.handle([records(values, 380)])
        worker.commit(snapshot=True)
        assert history.late_answers() == {}


@profile(max_examples=8, deadline=None)
@given(data=st.data())
def test_dying_anywhere_repeats_what_the_clock_decided(tmp_path_factory, data):
    folder, values = tmp_path_factory.mktemp("lives"), messages(rows=320)
    with_clock = st.lists(st.sampled_from([0.0, 0.3, 1.2]), min_size=2, max_size=12)
    for _ in range(data.draw(st.integers(1, 3))):
        with History(folder / "h.duckdb") as history:
            worker = pipeline(history, Clock(data.draw(with_clock)))
            for _ in range(data.draw(st.integers(1, 4))):
                start = worker.positions.get(("plant", 0), 0)
                stop = start + data.draw(st.integers(1, 250))
                worker.handle([records(values, start, stop)] if start < len(values) else [])
                if data.draw(st.booleans()):
                    worker.commit(snapshot=data.draw(st.booleans()))
    with History(folder / "h.duckdb") as history:
        worker = pipeline(history, Clock(data.draw(with_clock)))
        start = worker.positions.get(("plant", 0), 0)
        worker.handle([records(values, start)] if start < len(values) else [])
        worker.commit(snapshot=True)
        found, late = contents(history), late_rows(history)
    with History(folder / "undisturbed.duckdb") as history:
        worker = pipeline(history, Clock([5.0]))
        worker.engines["pumps"].recall(LateAnswers({0: len(values)}, {"timercd-nano": late}))
        worker.handle([records(values)])
        worker.commit(snapshot=True)
        expected = contents(history)

    assert found == expected
