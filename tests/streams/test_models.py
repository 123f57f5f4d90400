"""Models of `tsad fit` in the daemon: as if the daemon had learnt the series itself."""

import json

import numpy as np
import polars as pl
import pytest

from connectors.history.database import History
from connectors.sources.base import RecordBatch
from streams.configuration import Configuration, load_configuration
from streams.errors import StateMismatchError
from streams.pipeline import Pipeline
from tests.streams.plant import CHANNELS, START, contents, document, stream
from tests.tsad_cli.command_line import tsad
from tsad.errors import SnapshotError

TRAIN = 300


def values(rows=420, assets=3):
    rng = np.random.default_rng(5)
    t = np.arange(rows)
    common = np.sin(t[:, None, None] / 9) * np.arange(1, 3)
    found = (common + 0.2 * rng.standard_normal((rows, assets, 2))).astype(np.float32)
    found[360:380, 1, 0] += 4
    return found


def messages(recording, start, assets):
    return [
        json.dumps(
            {
                "time": START + 1000 * (start + row),
                "asset": f"pump-{asset}",
                "values": {name: float(str(recording[start + row, asset, c])) for c, name in enumerate(CHANNELS)},
            }
        ).encode()
        for row in range(len(recording) - start)
        for asset in assets
    ]


def records(payloads, offset=0):
    n = len(payloads)
    offsets = np.arange(offset, offset + n, dtype=np.int64)
    return RecordBatch("plant", 0, payloads, offsets, np.full(n, (START + 10**6) * 10**6, np.int64))


def learnt(folder, recording, asset, detector, *, timed=True):
    table = {name: [float(str(v)) for v in recording[:TRAIN, asset, c]] for c, name in enumerate(CHANNELS)}
    if timed:
        times = (START + 1000 * np.arange(TRAIN)).astype("datetime64[ms]")
        table = {"timestamp": times, **table}
    train = folder / f"train-{asset}.csv"
    pl.DataFrame(table).write_csv(train)
    out = folder / f"model-{asset}"
    result = tsad("fit", "--train", str(train), "--out", str(out), "--detector", detector)
    assert result.exit_code == 0, result.output
    return out


def pipeline(history, models, detector, **changes):
    settings = stream(
        detectors=detector.split("+"), train_rows=TRAIN, alarm={"false_alarms_per_day": 20}, models=models, **changes
    )
    return Pipeline(Configuration.model_validate(document(history.path, streams=[settings])), history)


def scores(history, asset, after):
    with history.cursor() as cursor:
        return cursor.execute(
            "SELECT x.scores, x.p_value FROM samples x JOIN series r USING (stream_id, series) "
            "WHERE r.asset = ? AND epoch_ms(x.time) >= ? ORDER BY x.time",
            [asset, START + 1000 * after],
        ).fetchall()


@pytest.mark.parametrize("detector", ["auto", "robust+sub-pca", "autoencoder", "matrix-profile"])
def test_an_adopted_series_is_scored_as_one_that_was_learnt_here(tmp_path, detector):
    recording = values()
    with History(tmp_path / "own.duckdb") as history:
        worker = pipeline(history, {}, detector)
        # The time between training and live rows is missing there too.
        early = messages(recording[:TRAIN], 0, [0, 1])
        late = messages(recording, 320, [0, 1])
        worker.handle([records(early), records(late, len(early))])
        worker.commit(snapshot=True)
        expected = [scores(history, f"pump-{asset}", 320) for asset in (0, 1)]
    models = {f"pump-{asset}": learnt(tmp_path, recording, asset, detector) for asset in (0, 1)}
    with History(tmp_path / "adopted.duckdb") as history:
        worker = pipeline(history, models, detector)
        worker.handle([records(messages(recording, 320, [1, 0]))])
        worker.commit(snapshot=True)
        found = [scores(history, f"pump-{asset}", 320) for asset in (0, 1)]
        counts = dict(history.cursor().execute("SELECT name, count FROM counters").fetchall())

    assert counts["accepted"] == 200
    assert "scored_early" not in counts
    for own, adopted in zip(expected, found, strict=True):
        assert len(own) == len(adopted) == 100
        assert any(row[0][0] is not None for row in adopted)
        assert adopted == own


def test_what_was_adopted_is_kept_and_not_adopted_again(tmp_path):
    recording = values()
    folder = learnt(tmp_path, recording, 0, "robust")
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history, {"pump-0": folder}, "robust")
        worker.handle([records(messages(recording[:360], 320, [0, 2]))])
        worker.commit(snapshot=True)
    for file in folder.iterdir():
        file.unlink()
    with History(path) as history:
        worker = pipeline(history, {"pump-0": folder}, "robust")
        worker.handle([records(messages(recording, 360, [0, 2]), 80)])
        worker.commit(snapshot=True)
        assert worker.statistics.fitted == {"pumps": 1}
        assert len(scores(history, "pump-0", 360)) == 60
        assert len(contents(history)["samples"]) == 200


def test_a_model_joins_series_that_are_known_already(tmp_path):
    recording = values()
    path = tmp_path / "h.duckdb"
    with History(path) as history:
        worker = pipeline(history, {}, "auto")
        worker.handle([records(messages(recording[:350], 0, [1, 2]))])
        worker.commit(snapshot=True)
    outputs = []
    for models in ({}, {"pump-0": learnt(tmp_path, recording, 0, "auto")}):
        copy = tmp_path / f"copy-{len(outputs)}.duckdb"
        copy.write_bytes(path.read_bytes())
        with History(copy) as history:
            worker = pipeline(history, models, "auto")
            worker.handle([records(messages(recording, 350, [0, 1, 2]), 700)])
            worker.commit(snapshot=True)
            outputs.append([scores(history, f"pump-{asset}", 350) for asset in range(3)])

    assert outputs[0][1:] == outputs[1][1:]
    assert all(row[1] is None for row in outputs[0][0])
    assert any(row[1] is not None for row in outputs[1][0])


@pytest.mark.parametrize(
    ("changes", "timed", "message"),
    [
        ({"step": 2}, True, "learnt with step 1.0, the stream has 2.0"),
        ({"channels": ["pressure", "flow"]}, True, "learnt with channels"),
        ({}, False, "rows without times"),
    ],
)
def test_a_model_that_does_not_fit_stops_the_start(tmp_path, changes, timed, message):
    folder = learnt(tmp_path, values(), 0, "robust", timed=timed)
    with History(tmp_path / "h.duckdb") as history, pytest.raises(StateMismatchError, match=message):
        pipeline(history, {"pump-0": folder}, "robust", **changes)


def test_other_detectors_and_missing_folders_stop_the_start(tmp_path):
    folder = learnt(tmp_path, values(), 0, "robust")
    with History(tmp_path / "h.duckdb") as history:
        with pytest.raises(StateMismatchError, match="learnt with detectors"):
            pipeline(history, {"pump-0": folder}, "sub-pca")
        with pytest.raises(SnapshotError, match="holds no model that can be read"):
            pipeline(history, {"pump-0": tmp_path / "nowhere"}, "robust")


def test_fit_takes_detectors_and_delays_from_the_daemons_configuration(tmp_path):
    recording = values()
    file = tmp_path / "plant.yaml"
    own = stream(detectors=["sub-pca"], train_rows=TRAIN, alarm={"off_delay": 10, "min_samples": 2})
    file.write_text(json.dumps(document("h.duckdb", streams=[own])))
    learnt(tmp_path, recording, 0, "robust")
    out = tmp_path / "model"
    arguments = ["--train", str(tmp_path / "train-0.csv"), "--out", str(out), "--config", str(file)]
    assert tsad("fit", *arguments, "--stream", "pumps").exit_code == 0
    wrong = tsad("fit", *arguments[:3], str(tmp_path / "other"), *arguments[4:], "--stream", "boilers")

    assert wrong.exit_code == 2
    assert "the numeric streams of" in wrong.stderr
    with History(tmp_path / "h.duckdb") as history:
        Pipeline(
            Configuration.model_validate(
                document(history.path, streams=[{**own, "models": {"pump-0": out}}])
            ), history,
        )  # fmt: skip


def test_sensors_are_adopted_with_their_series(tmp_path):
    recording = values()
    recording[350:, 0, 0] *= 1000
    own = stream(detectors=["robust"], train_rows=TRAIN, sensors={"spike_factor": 2})
    file = tmp_path / "plant.yaml"
    file.write_text(json.dumps(document("h.duckdb", streams=[own])))
    plain = learnt(tmp_path, recording, 0, "robust")
    out = tmp_path / "model"
    arguments = ["--train", str(tmp_path / "train-0.csv"), "--out", str(out), "--config", str(file)]
    assert tsad("fit", *arguments, "--stream", "pumps").exit_code == 0

    def transitions(models, start):
        path = tmp_path / f"{start}.duckdb"
        with History(path) as history:
            settings = document(path, streams=[{**own, "models": models}])
            worker = Pipeline(Configuration.model_validate(settings), history)
            worker.handle([records(messages(recording, start, [0, 2]))])
            worker.commit(snapshot=True)
            cursor = history.cursor()
            return cursor.execute(
                "SELECT epoch_ms(time), kind FROM alarm_transitions WHERE asset = 'pump-0'"
            ).fetchall()

    found = transitions({"pump-0": out}, 320)
    assert [kind for _, kind in found].count("sensor.fault") == 1
    assert found == [row for row in transitions({}, 0) if row[0] >= START + 320_000]
    with pytest.raises(StateMismatchError, match="learnt with sensors None"):
        transitions({"pump-0": plain}, 330)


def test_folders_are_looked_for_beside_the_configuration(tmp_path):
    file = tmp_path / "plant.yaml"
    lines = document("h.duckdb", streams=[stream(models={"pump-0": "models/pump-0"})])
    file.write_text(json.dumps(lines))
    assert load_configuration(file).numeric_streams[0].models == {"pump-0": tmp_path / "models/pump-0"}
