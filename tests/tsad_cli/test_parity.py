"""What the daemon stores of a recording that came over Kafka is what a backtest of it says, bit for bit."""

import json
import time
from dataclasses import astuple

import numpy as np
import pytest

from connectors.decoding import MessageMapping
from connectors.history.database import History
from connectors.sources.kafka import KafkaSource
from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.datasets.registry import DATASETS, load_dataset
from evaluation.datasets.schema import LabelledSeries
from streams.configuration import (
    CommitSettings,
    Configuration,
    HistoryFileSettings,
    HttpSettings,
    KafkaSourceSettings,
    NumericStream,
)
from streams.retention import HistorySettings
from streams.service import Service
from tsad.observations import RowFlag
from tsad.quality.settings import SensorSettings
from tsad.settings import AlarmSettings, DetectorSettings
from tsad.simulation import PlantSettings, default_faults, messages, simulate

MS = 1_000_000
ALARM = AlarmSettings(false_alarms_per_day=100)  # generous, so that there are alarms to compare
AUTOENCODER = DetectorSettings(name="autoencoder", options={"epochs": 2})
STREAMS = {
    "robust": ["robust"],
    "sub-pca": ["sub-pca"],
    "auto": ["auto"],
    "autoencoder": [AUTOENCODER],
    "combined": ["robust", "sub-pca"],
}


def wide_messages(series):
    """A message a row; a missing value is null."""
    for t, row in zip(series.times.tolist(), series.values, strict=True):
        values = {
            name: None if np.isnan(value) else float(str(value))
            for name, value in zip(series.channels, row, strict=True)
        }
        yield json.dumps({"time": t // MS, "asset": series.name, "values": values}).encode()


def recorded(name, select):
    if not DATASETS[name].is_present():
        pytest.skip(f"{name} is not in TSAD_DATA")
    (series,) = load_dataset(name, select=[select])
    return series, list(wide_messages(series))


def simulated():
    """A pump with every kind of fault, silence too; the messages are the simulator's own."""
    asset, start = "plant/utilities/pump-1", 1_700_000_000_000 * MS
    settings = PlantSettings(pump_assets=(asset,), node_assets=(), training_seconds=600)
    plant = simulate(settings, start, 2400, default_faults(settings, start, 2400))
    pump = plant.sensors[asset]
    here = pump.present
    series = LabelledSeries(
        dataset="pump skid",
        name=asset,
        channels=pump.channels,
        times=pump.times[here],
        values=pump.values[here],
        labels=plant.labels(asset)[here].astype(np.uint8),
        train_length=int((pump.times[here] < plant.training_end).sum()),
        step=10**9,
    )
    sent = [json.dumps(m.payload).encode() for m in messages(plant) if m.topic_kind == "sensors"]
    return series, sent


def awkward():
    """Jitter, two rows in one step, missing values, rows without any, short and long gaps, an unfinished end."""
    rng = np.random.default_rng(3)
    rows = 1500
    steps = np.ones(rows, np.int64) * 1000
    test = np.arange(rows) > 300
    steps[test & (rng.random(rows) < 0.02)] = 3000
    steps[test & (rng.random(rows) < 0.005)] = 20_000
    times = 946_684_800_000 + np.cumsum(steps)
    times[test] += rng.integers(-400, 400, test.sum())
    again = np.flatnonzero(test & (rng.random(rows) < 0.02))
    times = np.unique(np.concatenate([times, times[again] + 30]))
    values = rng.normal(size=(len(times), 4)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = np.nan
    values[310:330] = np.nan
    values[900:960, 1] += 12
    values[-1, 2] = np.nan
    labels = np.zeros(len(times), np.uint8)
    labels[900:960] = 1
    series = LabelledSeries("awkward", "a b/c", ("a", "b", "c", "d"), times * MS, values, labels, 290, 10**9)
    return series, list(wide_messages(series))


RECORDINGS = {
    "pump": simulated,
    "awkward": awkward,
    "SKAB": lambda: recorded("SKAB", "valve1/0"),
    "SMAP": lambda: recorded("SMAP", "P-2"),
}


def daemon(bootstrap, topic, settings, path, expected, deadline=120):
    """Let a whole service consume the topic; returns rows, delayed scores and transitions of its history by stream."""
    configuration = Configuration(
        source=KafkaSourceSettings(kind="kafka", bootstrap=(bootstrap,)),
        streams=tuple(
            NumericStream(
                **one.model_dump(), topic=topic, message=MessageMapping(), history=HistorySettings(keep="full")
            )
            for one in settings
        ),
        history=HistoryFileSettings(path=path),
        commit=CommitSettings(every=0.1, rows=3000, snapshot_every=1.0),
        http=HttpSettings(enabled=False),
    )
    with History(path) as history:
        service = Service(configuration, KafkaSource([bootstrap], [topic]), history)
        service.start()
        end = time.monotonic() + deadline
        while service.pipeline.statistics.records < expected and not service.wait(0.05):
            if time.monotonic() > end:
                service.stop()
                service.wait(30)
                pytest.fail(f"{service.pipeline.statistics.records} of {expected} records after {deadline} s")
        service.stop()
        assert service.wait(60)
        cursor = history.cursor()
        rows, later, transitions = {}, {}, {}
        for one in settings:
            rows[one.name] = cursor.execute(
                """SELECT epoch_ns(time) AS time, "values", flags, scores, verdict, p_value, threshold, alarm, reason
                FROM samples JOIN streams USING (stream_id) WHERE name = ? AND flags & 8 = 0 ORDER BY time""",
                [one.name],
            ).fetchall()
            later[one.name] = cursor.execute(
                """SELECT delay, epoch_ns(time), score FROM delayed_scores JOIN streams USING (stream_id)
                WHERE name = ? AND score IS NOT NULL ORDER BY ALL""",
                [one.name],
            ).fetchall()
            transitions[one.name] = cursor.execute(
                """SELECT alarm_id, episode_id, transition_seq, kind, stream, asset, state, previous_state, severity,
                epoch_ns(time), epoch_ns(started), score, threshold, p_value, one_in_days, partition, record_offset
                FROM alarm_transitions WHERE stream = ? ORDER BY alarm_id, transition_seq""",
                [one.name],
            ).fetchall()
        return rows, later, transitions


def reals(column):
    return np.array([np.nan if value is None else value for value in column], dtype=np.float64)


@pytest.mark.parametrize("name", RECORDINGS)
def test_the_daemon_stores_what_the_backtest_says(name, kafka_bootstrap, make_topic, produce, tmp_path):
    series, sent = RECORDINGS[name]()
    settings = [
        stream_settings(
            series, [d if isinstance(d, DetectorSettings) else DetectorSettings(name=d) for d in chosen], ALARM
        )
        for chosen in STREAMS.values()
    ]
    settings = [one.model_copy(update={"name": stream}) for stream, one in zip(STREAMS, settings, strict=True)]
    # Close limits, so that there is something to mask.
    close = SensorSettings(stuck_factor=1, spike_factor=1, counters=series.channels[:1])
    settings.append(settings[0].model_copy(update={"name": "sensors", "sensors": close}))
    topic = make_topic(kafka_bootstrap)
    produce(kafka_bootstrap, topic, [(0, value) for value in sent])
    stored, later, alarms = daemon(kafka_bootstrap, topic, settings, tmp_path / "history.duckdb", len(sent))

    raised, masked = 0, False
    for one in settings:
        run = run_causal(series, one)
        times, values, flags, scores, verdict, p_values, thresholds, on, reason = zip(*stored[one.name], strict=True)
        np.testing.assert_array_equal(times, run.times)
        np.testing.assert_array_equal(flags, run.flags)
        np.testing.assert_array_equal(reason, run.reason)
        np.testing.assert_array_equal(np.array([reals(v) for v in values], np.float32), run.values)
        for column, detector in enumerate(run.scores):
            np.testing.assert_array_equal(reals([s[column] for s in scores]), run.scores[detector])
        np.testing.assert_array_equal(reals(verdict), run.verdict)
        np.testing.assert_array_equal(reals(p_values), run.p_values)
        np.testing.assert_array_equal(reals(thresholds), run.thresholds)
        np.testing.assert_array_equal(on, run.on)
        assert later[one.name] == [
            (delay, time, score)
            for delay, said in sorted(run.later.items())
            for time, score in zip(run.times.tolist(), said.tolist(), strict=True)
            if not np.isnan(score)
        ]
        assert bool(later[one.name]) == (one.name == "auto")
        assert alarms[one.name] == [
            (
                t.alarm_id, t.episode_id, t.transition_seq, t.kind, t.stream, t.asset, t.state, t.previous_state,
                t.severity, t.time, t.started, t.score, t.threshold, t.p_value, t.one_in_days, t.partition, t.offset,
            )
            for t in sorted(run.transitions, key=lambda t: (t.alarm_id, t.transition_seq))
        ]  # fmt: skip
        assert np.isfinite(run.verdict).sum() > 100
        raised += len(run.transitions)
        masked |= bool((run.flags & RowFlag.MASKED).any())
        if name == "awkward":
            assert min(astuple(run.origin)) > 0, run.origin
            assert (run.flags & RowFlag.BREAK).any()
    assert masked, "no sensor was masked, so that the masks are equal says nothing"
    assert raised, "no detector raised an alarm, so their equality says nothing"
