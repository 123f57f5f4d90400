"""Episodes drawn anew by settled scores, against a plain twin."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from connectors.history.database import Commit, History

SECOND = 10**9
DELAY = 4


def scores(rows, said, levels, series=0, delay=DELAY):
    n = len(rows)
    return pa.table(
        {
            "stream_id": np.full(n, 1, np.int16),
            "series": np.full(n, series, np.int32),
            "time": pa.array(np.asarray(rows, np.int64) * SECOND, pa.timestamp("ns")),
            "delay": np.full(n, delay, np.int16),
            "score": pa.array(said, pa.float64(), from_pandas=True),
            "level": pa.array([levels] * n, pa.float64()),
        }
    )


def episode(name, oldest, ended, series=0):
    return pa.table(
        {
            "episode_id": [name],
            "stream_id": np.array([1], np.int16),
            "series": np.array([series], np.int32),
            "delay": np.array([DELAY], np.int16),
            "oldest": pa.array([oldest * SECOND], pa.timestamp("ns")),
            "ended": pa.array([ended * SECOND], pa.timestamp("ns")),
        }
    )


def drawn(history):
    return {
        name: (redrawn, started, ended)
        for name, redrawn, started, ended in history.cursor()
        .execute(
            "SELECT episode_id, redrawn, epoch_ns(settled_started) // 1000000000, "
            "epoch_ns(settled_ended) // 1000000000 FROM settled_episodes"
        )
        .fetchall()
    }


def commit(history, **tables):
    one = Commit()
    for name, parts in tables.items():
        for part in parts:
            one.append(name, part)
    history.commit(one)


@profile(max_examples=25)
@given(
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 6.0, np.nan]), min_size=12, max_size=12),
    st.integers(0, 4),
    st.integers(5, 9),
    st.integers(1, 11),
)
def test_first_and_last_row_more_than_half_way_to_the_peak(tmp_path_factory, said, oldest, ended, cut):
    known = [(t, s) for t, s in enumerate(said) if oldest <= t <= ended and not np.isnan(s)]
    peak = max((s for _, s in known), default=np.nan)
    above = [t for t, s in known if s > 1.5 + 0.5 * (peak - 1.5)]
    with History(tmp_path_factory.mktemp("h") / "h.duckdb") as history:
        commit(
            history,
            delayed_scores=[scores(range(cut), said[:cut], 1.5), scores(range(12), [99.0] * 12, 1.5, series=1)],
            settled_episodes=[episode("e", oldest, ended)],
        )
        assert drawn(history)["e"][0] == (ended < cut)
        commit(history, delayed_scores=[scores(range(cut, 12), said[cut:], 1.5)])
        assert drawn(history) == {"e": (True, *((above[0], above[-1]) if above else (None, None)))}


def test_is_drawn_once_and_by_the_settled_score_alone(tmp_path):
    with History(tmp_path / "h.duckdb") as history:
        commit(history, settled_episodes=[episode("e", 0, 3), episode("later", 2, 9), episode("other", 0, 3, series=1)])
        commit(history, delayed_scores=[scores(range(8), [9.0] * 8, 1.0, delay=2)])
        assert not any(redrawn for redrawn, _, _ in drawn(history).values())
        commit(history, delayed_scores=[scores(range(6), [1.0, 5.0, 5.0, 1.0, 8.0, 8.0], 1.0)])
        expected = {"e": (True, 1, 2), "later": (False, None, None), "other": (False, None, None)}
        assert drawn(history) == expected
        # Rows that come later change nothing of what was drawn.
        commit(history, delayed_scores=[scores([2, 3], [50.0, 50.0], 1.0)])
        assert drawn(history) == expected
