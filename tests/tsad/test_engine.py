from time import monotonic

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from tsad.alarms import SEVERITIES
from tsad.detectors.base import Unscored
from tsad.engine import StreamEngine
from tsad.errors import ConfigurationError
from tsad.observations import ObservationBatch, RowFlag
from tsad.settings import AlarmSettings, EarlySettings, StreamSettings

SECOND = 1_000_000_000
CHANNELS = ("flow", "pressure", "current")


def settings(**changes):
    # The time before a series is learnt is watched here, so that every law holds for it too.
    changes = {"early": EarlySettings(), **changes}
    return StreamSettings(name="pumps", step=1, train_rows=200, channels=CHANNELS, **changes)


def recording(rows=500, n_series=3, seed=0):
    """float32[rows, series, channels] with a planted fault in series 1, channel 2, rows 400 to 430."""
    values = np.random.default_rng(seed).standard_normal((rows, n_series, 3)).astype(np.float32)
    if rows > 430 and n_series > 1:
        values[400:430, 1, 2] += 12
    return values


def observations(values, start=10**18):
    rows, n_series, width = values.shape
    n = rows * n_series
    return ObservationBatch(
        series=np.tile(np.arange(n_series, dtype=np.int32), rows),
        times=np.repeat(start + np.arange(rows) * SECOND, n_series),
        values=values.reshape(n, width),
        channels=None,
        partitions=np.zeros(n, np.int32),
        offsets=np.arange(n, dtype=np.int64),
        arrivals=np.zeros(n, np.int64),
    )


def engine(n_series=3, clock=monotonic, **changes):
    made = StreamEngine(settings(**changes), clock)
    for number in range(n_series):
        made.table.add(f"pump-{number}")
    return made


def per_series(outputs, of, n_series=3):
    values = np.concatenate([of(o) for o in outputs])
    series = np.concatenate([o.rows.series for o in outputs])
    return [values[series == number] for number in range(n_series)]


def test_a_planted_fault_raises_one_alarm_that_names_asset_and_channel():
    output = engine().process(observations(recording()))

    raised = [t for t in output.transitions if t.kind == "alarm.raised"]
    assert [t.asset for t in raised] == ["pump-1"]
    assert 400 <= (raised[0].time - 10**18) // SECOND <= 404
    lead = raised[0].contributions[0]
    assert (lead.channel, lead.direction) == ("current", "high")
    assert lead.observed > lead.upper > lead.expected > lead.lower
    assert raised[0].severity in SEVERITIES
    assert raised[0].one_in_days > 1
    cleared = [t for t in output.transitions if t.kind == "alarm.cleared"]
    assert [t.episode_id for t in cleared] == [raised[0].episode_id]
    assert cleared[0].transition_seq > raised[0].transition_seq


def test_drift_of_quiet_scores_is_told_and_survives_a_restart():
    settings_ = StreamSettings(
        name="pumps", step=1, train_rows=600, channels=CHANNELS, detectors=["robust"],
        alarm=AlarmSettings(false_alarms_per_day=0.1),
    )  # fmt: skip
    rng = np.random.default_rng(3)
    values = rng.standard_normal((6000, 2, 3)).astype(np.float32)
    values[2000:, 1] *= 1.5
    engine_ = StreamEngine(settings_)
    for asset in ("pump-0", "pump-1"):
        engine_.table.add(asset)
    output = engine_.process(observations(values))
    assert output.counts["calibration_drift"] > 0
    assert engine_.drifting() == 1
    other = StreamEngine(settings_)
    arrays, extra = engine_.state(fitted=False)
    other.restore({**engine_.state(fitted=True)[0], **arrays}, extra)
    assert other.drifting() == 1


def test_warm_up_rows_say_why_they_have_no_score():
    output = engine(1).process(observations(recording(250, 1)))

    assert (output.reason[:128] == Unscored.WARMING_UP).all()
    assert np.isnan(output.verdict[:128]).all()
    assert not np.isnan(output.verdict[128:]).any()
    assert [fit.rows for fit in output.fits] == [128, 200]


def test_until_it_is_learnt_a_series_is_watched_by_a_light_detector_and_its_rows_say_so():
    values = recording(260, 1)
    output = engine(1, detectors=["sub-pca"]).process(observations(values))

    early = (output.rows.flags & RowFlag.EARLY) != 0
    assert np.flatnonzero(early).tolist() == list(range(128, 200))
    assert np.isnan(output.scores["sub-pca"][:200]).all()
    assert [fit.calibration.flags[0] == "early" for fit in output.fits] == [True, False]
    alone = engine(1, detectors=["robust"], early=None)
    alone.fit(0, values[:128, 0], 10**18 + np.arange(128) * SECOND)
    rest = observations(values[128:200], 10**18 + 128 * SECOND)
    assert np.array_equal(output.verdict[128:200], alone.process(rest).verdict)


def test_nobody_watches_where_nobody_shall_or_where_the_training_part_is_short():
    for changes in ({"early": None}, {"early": {"rows": 200}}):
        output = engine(1, **changes).process(observations(recording(250, 1)))
        assert (output.reason[:200] == Unscored.WARMING_UP).all()
        assert len(output.fits) == 1


def test_what_is_odd_before_the_series_is_learnt_is_alarmed_and_the_alarm_ends_with_the_hand_over():
    values = recording(260, 1)
    values[180:, 0, 1] += 400  # 128 rows vouch for little
    output = engine(1, detectors=["sub-pca"], alarm=AlarmSettings(false_alarms_per_day=20)).process(
        observations(values)
    )

    first, *others = output.transitions
    assert (first.kind, (first.time - 10**18) // SECOND) == ("alarm.raised", 180)
    assert first.verdicts[0].detector == "robust"
    assert first.contributions[0].channel == "pressure"
    cleared = next(t for t in others if t.kind == "alarm.cleared")
    assert (cleared.time - 10**18) // SECOND == 199
    assert cleared.episode_id == first.episode_id


@pytest.mark.parametrize("seed", range(4))
def test_a_second_opinion_does_not_silence_the_first_after_a_short_training_part(seed):
    values = recording(440, 1, seed)
    values[400:430, 0, 2] += 64  # twice what the weaker of the two needs alone
    for detectors in (["robust"], ["sub-pca"], ["robust", "sub-pca"]):
        output = engine(1, detectors=detectors, early=None).process(observations(values))
        raised = [(t.time - 10**18) // SECOND for t in output.transitions if t.kind == "alarm.raised"]
        assert any(400 <= row < 432 for row in raised), detectors


@pytest.mark.parametrize("detectors", [["robust"], ["sub-pca"], ["auto"], ["robust", "sub-pca"]])
@profile(max_examples=15)
@given(data=st.data())
def test_results_do_not_depend_on_batches_or_on_a_restart(detectors, data):
    whole = observations(recording(460))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), min_size=1, max_size=6)))
    restart = data.draw(st.integers(0, len(cuts)))
    changes = {"detectors": detectors, "alarm": AlarmSettings(min_samples=2, of_samples=3), "silent_after": 20}
    expected = [engine(**changes).process(whole)]

    current, found = engine(**changes), []
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(whole)], strict=True)):
        found.append(current.process(whole.take(np.arange(start, stop))))
        if number == restart:
            fitted, _ = current.state(fitted=True)
            streaming, extra = current.state(fitted=False)
            current = StreamEngine(settings(**changes))
            current.restore({**fitted, **streaming}, extra)

    for of in (
        lambda o: o.verdict,
        lambda o: o.calibrated.p_values,
        lambda o: o.calibrated.thresholds,
        lambda o: o.calibrated.on,
        lambda o: o.reason,
        lambda o: o.rows.times,
    ):
        for left, right in zip(per_series(expected, of), per_series(found, of), strict=True):
            np.testing.assert_array_equal(left, right)
    assert sorted(map(repr, expected[0].transitions)) == sorted(repr(t) for o in found for t in o.transitions)
    assert said_later(expected) == said_later(found)
    assert bool(said_later(expected)) == (detectors == ["auto"])


def said_later(outputs):
    """What is said later of rows, and with the row of which time it came; by series, time and delay."""
    found = []
    for output in outputs:
        later = output.delayed
        if later is not None:
            came = output.rows.times[later.rows]
            assert (output.rows.series[later.rows] == later.series).all()
            found += zip(
                later.series.tolist(), later.times.tolist(), later.delays.tolist(), map(repr, later.scores.tolist()),
                later.levels.tolist(), came.tolist(), strict=True,
            )  # fmt: skip
    return sorted(found)


def test_more_is_said_of_a_row_when_the_rows_behind_it_are_known():
    values = recording(460, 2)
    output = engine(2, detectors=["patchbank"]).process(observations(values))
    later = output.delayed
    rows = (later.times - 10**18) // SECOND
    came = (output.rows.times[later.rows] - 10**18) // SECOND
    np.testing.assert_array_equal(came - rows, later.delays)
    for series in (0, 1):
        for delay in (16, 95):
            own = (later.series == series) & (later.delays == delay)
            # From the first row behind the training part to the last of which the delay is over.
            assert rows[own].tolist() == list(range(200, 460 - delay))
            assert len(set(later.levels[own].tolist())) == 1
            assert 0.5 < later.levels[own][0] < 5, "a sum of five ratios"
    # The planted fault of rows 400 to 430 is known as a whole only later: its delayed scores are those of its own rows.
    early = (later.series == 1) & (later.delays == 16)
    assert 400 <= rows[early][np.nanargmax(later.scores[early])] <= 430
    alone = engine(2, detectors=["patchbank"], settled=False).process(observations(values))
    assert alone.delayed is None
    np.testing.assert_array_equal(alone.verdict, output.verdict)
    assert engine(2, detectors=["patchbank", "robust"]).delays == ()


def test_nothing_more_is_said_of_rows_that_another_watched():
    output = engine(1, detectors=["patchbank"]).process(observations(recording(360, 1)))
    assert ((output.rows.flags & RowFlag.EARLY) != 0).any()
    assert (output.delayed.times - 10**18).min() == 200 * SECOND


def test_one_series_does_not_know_the_others():
    values = recording()
    together = engine().process(observations(values))
    alone = engine(1).process(observations(values[:, :1]))

    np.testing.assert_array_equal(per_series([together], lambda o: o.verdict)[0], alone.verdict)


def test_silence_is_told_once_and_its_end_too():
    values = recording(400, 2)
    batch = observations(values)
    quiet = (batch.series == 1) & (batch.offsets >= 2 * 250) & (batch.offsets < 2 * 330)
    output = engine(2, silent_after=30).process(batch.take(~quiet))

    told = [(t.kind, t.asset, (t.time - 10**18) // SECOND) for t in output.transitions if t.kind.startswith("stream")]
    assert told == [("stream.silent", "pump-1", 279), ("stream.resumed", "pump-1", 330)]


def test_values_outside_the_physical_range_are_missing_not_odd():
    values = recording(300, 1)
    values[250, 0, 0] = 1e6
    limited = engine(1, ranges={"flow": (-50, 50)}).process(observations(values))
    open_ended = engine(1).process(observations(values))

    assert limited.counts["value_out_of_range"] == 1
    assert not any(t.kind == "alarm.raised" for t in limited.transitions)
    assert any(t.kind == "alarm.raised" for t in open_ended.transitions)


def test_infinite_values_are_counted_and_missing():
    values = recording(300, 1)
    values[250, 0, 0] = np.inf
    output = engine(1).process(observations(values))

    assert output.counts["value_not_finite"] == 1
    assert not np.isinf(output.verdict).any()


def test_on_delay_keeps_a_single_spike_quiet():
    values = recording(400, 1)
    values[300, 0, 0] = 60
    # A detector of windows goes on seeing a spike for as long as it lies in one.
    spike = [
        engine(1, alarm=AlarmSettings(on_delay=delay), detectors=["robust"]).process(observations(values)).transitions
        for delay in (0, 3)
    ]

    assert spike[0]
    assert not spike[1]


def test_a_series_that_cannot_be_learnt_says_so_and_tries_again():
    # 200 rows are too few for 30 metrics by the autoencoder's rule of 10 rows a metric.
    wide = StreamEngine(
        StreamSettings(
            name="nodes", step=1, train_rows=200, detectors=["autoencoder"], channels=[f"m{i}" for i in range(30)]
        )
    )
    wide.table.add("node-1")
    values = np.random.default_rng(0).standard_normal((450, 1, 30)).astype(np.float32)
    output = wide.process(observations(values))

    assert len(output.fits) > 1
    assert all("needs 300 healthy rows" in fit.problem for fit in output.fits)
    assert (output.reason == Unscored.WARMING_UP).all()


def test_more_false_alarms_are_accepted_more_are_raised():
    values = np.random.default_rng(3).standard_normal((20_000, 1, 3)).astype(np.float32)
    raised = []
    for budget in (0.1, 1000.0):
        output = engine(1, alarm=AlarmSettings(false_alarms_per_day=budget)).process(observations(values))
        raised.append(sum(t.kind == "alarm.raised" for t in output.transitions))

    assert raised[0] <= raised[1]
    assert raised[1] > 10


def test_empty_batch_is_fine():
    output = engine().process(observations(recording(10)).take(np.zeros(0, np.intp)))

    assert len(output.rows) == 0
    assert output.transitions == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"detectors": ["nonsense"]}, "no detector 'nonsense'"),
        ({"detectors": ["robust", "robust"]}, "only once"),
        ({"step": 0}, "greater than 0"),
        ({"step": "5 parsecs"}, "not a duration"),
        ({"ranges": {"level": (0, 1)}}, "not among the channels"),
        ({"ranges": {"flow": (1, 0)}}, "must be less"),
        ({"alarm": {"false_alarms_per_day": 0}}, "greater than 0"),
        ({"alarm": {"min_samples": 3, "of_samples": 2}}, "must not be less"),
        ({"alarm": {"off_delay": 500}}, "needs more than 1001"),
        ({"channels": ["a", "a"]}, "twice"),
        ({"threshold": 3}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(changes, problem):
    with pytest.raises((ValueError, ConfigurationError), match=problem):
        StreamSettings(**{"name": "s", "step": 1, "train_rows": 200, "channels": CHANNELS, **changes})


@pytest.mark.parametrize("detectors", [["robust"], ["sub-pca"], ["auto"], ["robust", "sub-pca"]])
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_a_broken_sensor_far_out_is_an_alarm_and_no_crash(detectors, size):
    # After much quiet time the tail has many clusters, and its rate underflows far out.
    values = np.random.default_rng(0).standard_normal((20_000, 1, 3)).astype(np.float32)
    values[19_500:19_510, 0, 0] = size
    output = engine(1, detectors=detectors, alarm=AlarmSettings(off_delay=4)).process(observations(values))

    raised = [t for t in output.transitions if t.kind == "alarm.raised" and t.time >= 10**18 + 19_490 * SECOND]
    assert raised
    assert all(np.isfinite(t.one_in_days) and t.p_value > 0 for t in raised)
    assert np.isfinite(output.calibrated.rates[~np.isnan(output.verdict)]).all()
