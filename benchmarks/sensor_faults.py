"""Sensor alarms on the normal parts of real recordings, and how many injected sensor faults are found."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.datasets.registry import DATASETS, load_dataset
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import InvalidInputError
from tsad.alignment import Aligner
from tsad.engine import StreamEngine
from tsad.errors import NotEnoughDataError
from tsad.observations import ObservationBatch, RowBatch
from tsad.quality.sensors import SensorWatch
from tsad.quality.settings import SensorSettings
from tsad.series import SeriesTable
from tsad.settings import DetectorSettings, StreamSettings

NAMES = ("SKAB", "SMAP", "MSL", "NAB", "SMD", "ASD", "CTN", "TEP", "BATADAL")
KINDS = ("stuck", "spike", "dropout", "unit_change", "counter_reset")
TRAIN_ROWS = 600
Matrix = npt.NDArray[np.float32]


@dataclass(slots=True)
class Watched:
    """One recording: its watch, and the rows behind the training part."""

    watch: SensorWatch
    rows: RowBatch

    def told(self, values: Matrix | None = None) -> list[tuple[int, int, str]]:
        """Row, column and kind of every alarm raised; with other `values` where given."""
        rows = self.rows
        batch = RowBatch(
            rows.series, rows.times, rows.values if values is None else values, rows.flags.copy(), rows.partitions,
            rows.offsets,
        )  # fmt: skip
        names = self.watch_table.channel_names(0)
        fresh = SensorWatch(SensorSettings(), self.watch_table)
        state = {**self.watch.state(1, fitted=True), **self.watch.state(1, fitted=False)}
        fresh.restore({key: array.copy() for key, array in state.items()})
        batch, _ = fresh.judge_declared(batch)
        return [
            (change.row, names.index(change.fault.channel or ""), change.fault.kind)
            for change in fresh.judge(batch, np.arange(len(batch)))
            if change.raised
        ]

    @property
    def watch_table(self) -> SeriesTable:
        """The one series."""
        return self.watch.table


def normal_rows(series: LabelledSeries) -> RowBatch:
    """The recording on its grid up to the first labelled anomaly of the test part."""
    odd = np.flatnonzero(series.labels)
    stop = int(odd[0]) if len(odd) else len(series.times)
    zeros = np.zeros(stop, np.int64)
    batch = ObservationBatch(
        zeros.astype(np.int32), series.times[:stop], series.values[:stop], None, zeros.astype(np.int32),
        np.arange(stop), zeros,
    )  # fmt: skip
    rows, _ = Aligner(series.step).align(batch, np.array([len(series.channels)], np.int32))
    return rows


def watched(series: LabelledSeries) -> Watched | None:
    """Learn the first rows of a recording; None where too few remain."""
    rows = normal_rows(series)
    if len(rows) < TRAIN_ROWS + 200:
        return None
    table = SeriesTable(series.channels)
    table.add(series.name)
    watch = SensorWatch(SensorSettings(), table)
    watch.learn(0, rows.values[:TRAIN_ROWS])
    return Watched(watch, rows.take(np.arange(TRAIN_ROWS, len(rows))))


def stuck(x: Matrix, at: int) -> None:
    """Hold the value from `at` on."""
    x[at:] = x[at]


def spike(x: Matrix, at: int) -> None:
    """One sample, half of the channel's reach above its highest."""
    low, high = np.nanmin(x), np.nanmax(x)
    x[at] = high + 0.5 * (high - low)


def dropout(x: Matrix, at: int) -> None:
    """Two samples are zero."""
    x[at : at + 2] = 0


def fahrenheit(x: Matrix, at: int) -> None:
    """From °C to °F."""
    x[at:] = 1.8 * x[at:] + 32


def thousand(x: Matrix, at: int) -> None:
    """A thousand times as much."""
    x[at:] *= 1000


def bar_to_kpa(x: Matrix, at: int) -> None:
    """A hundred times as much."""
    x[at:] *= 100


INJECTIONS: dict[str, tuple[Callable[[Matrix, int], None], str]] = {
    "stuck": (stuck, "stuck"),
    "spike": (spike, "spike"),
    "drop-out": (dropout, "dropout"),
    "°C to °F": (fahrenheit, "unit_change"),
    "times 1000": (thousand, "unit_change"),
    "bar to kPa": (bar_to_kpa, "unit_change"),
}


def injected(one: Watched, rng: np.random.Generator) -> Iterator[tuple[str, bool, bool]]:
    """Name of every fault put into up to three moving channels, whether the channel is judged for it, and found."""
    values = one.rows.values
    moving = [c for c in range(values.shape[1]) if np.unique(values[~np.isnan(values[:, c]), c]).size > 20]
    for c in rng.permutation(moving)[:3].tolist():
        at = int(rng.integers(50, len(values) - 150))
        for name, (inject, kind) in INJECTIONS.items():
            changed = values[: at + 2_000].copy()
            inject(changed[:, c], at)
            short = Watched(one.watch, one.rows.take(np.arange(len(changed))))
            found = any(r >= at and k == kind for r, column, k in short.told(changed) if column == c)
            yield name, one.watch.judges(0, c, kind), found


def cost(detector: str) -> float:
    """Time of the engine with sensors watched, of that without: medians of 20 batches that take turns."""
    series, channels, rows = 200, 8, 10
    levels = np.random.default_rng(0).standard_normal((600, series, channels)).cumsum(axis=0).astype(np.float32)
    engines, seconds = [], np.zeros((2, 20))
    for sensors in (None, SensorSettings()):
        settings = StreamSettings(
            name="s", step=1, train_rows=200, channels=tuple(map(str, range(channels))), sensors=sensors,
            detectors=(DetectorSettings(name=detector),),
        )  # fmt: skip
        engine = StreamEngine(settings)
        for number in range(series):
            engine.table.add(f"asset-{number}")
        engines.append(engine)

    def batch(start: int, stop: int) -> ObservationBatch:
        n, times = (stop - start) * series, np.repeat(10**18 + np.arange(start, stop) * 10**9, series)
        numbers = np.tile(np.arange(series, dtype=np.int32), stop - start)
        values = levels[start:stop].reshape(n, channels)
        return ObservationBatch(numbers, times, values, None, np.zeros(n, np.int32), np.arange(n), times)

    for engine in engines:
        engine.process(batch(0, 220))
    for turn in range(20):
        for place, engine in enumerate(engines):
            own = batch(220 + rows * turn, 220 + rows * (turn + 1))
            began = time.perf_counter()
            engine.process(own)
            seconds[place, turn] = time.perf_counter() - began
    off, on = np.median(seconds, axis=1)
    return float(on / off)


def alarmed(series: LabelledSeries, sensors: SensorSettings | None) -> npt.NDArray[np.int64] | None:
    """Labelled anomalies, those that an alarm stands in, alarms raised outside; None where there is too little."""
    try:
        settings = stream_settings(series, (DetectorSettings(name="robust"),))
        run = run_causal(series, settings.model_copy(update={"sensors": sensors}))
    except (NotEnoughDataError, InvalidInputError):
        return None
    labels = series.test_labels.astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels, [0]]).astype(np.int8)))
    hits = sum(bool(run.test_on[a:b].any()) for a, b in zip(edges[::2], edges[1::2], strict=True))
    raised = [t.time for t in run.transitions if t.kind == "alarm.raised" and t.time >= series.test_times[0]]
    at = np.searchsorted(series.test_times, raised, side="right") - 1
    return np.array([len(edges) // 2, hits, int(np.count_nonzero(labels[at] == 0))])


def print_harm() -> None:
    """Print what becomes of alarms of the process when sensors are watched."""
    print("\n| data set | anomalies | alarmed without | with | false alarms without | with |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in NAMES:
        if not DATASETS[name].is_present():
            continue
        sums = np.zeros((2, 3), np.int64)
        for series in load_dataset(name):
            both = [alarmed(series, sensors) for sensors in (None, SensorSettings())]
            if both[0] is not None and both[1] is not None:
                sums += np.array(both)
        (n, without, false), (_, with_, false_with) = sums.tolist()
        print(f"| {name} | {n} | {without} | {with_} | {false} | {false_with} |", flush=True)


def main() -> None:
    """Print both tables, what becomes of alarms of the process, and what watching costs."""
    rng = np.random.default_rng(0)
    print("| data set | recordings | channel-days | " + " | ".join(KINDS) + " | a channel-day |")
    print("|---|" + "---:|" * (len(KINDS) + 3))
    found: dict[str, Counter[tuple[str, str]]] = {}
    for name in NAMES:
        if not DATASETS[name].is_present():
            continue
        kinds: Counter[str] = Counter()
        found[name] = Counter()
        days, n = 0.0, 0
        for series in load_dataset(name):
            one = watched(series)
            if one is None:
                continue
            n += 1
            days += len(one.rows) * len(series.channels) * series.step / 86_400e9
            kinds.update(kind for _, _, kind in one.told())
            for what, judged, hit in injected(one, rng):
                found[name][what, "all"] += 1
                found[name][what, "judged"] += judged
                found[name][what, "found"] += hit
        cells = " | ".join(str(kinds[kind]) for kind in KINDS)
        print(f"| {name} | {n} | {days:.1f} | {cells} | {sum(kinds.values()) / days:.3f} |", flush=True)
    print("\n| data set | " + " | ".join(INJECTIONS) + " |")
    print("|---|" + "---:|" * len(INJECTIONS))
    for name, counts in found.items():
        scores = [f"{counts[w, 'found']} of {counts[w, 'judged']} ({counts[w, 'all']})" for w in INJECTIONS]
        print(f"| {name} | " + " | ".join(scores) + " |")
    print_harm()
    print("\nTime with sensors watched, of that without:")
    for detector in ("robust", "sub-pca", "patchbank"):
        print(f"{detector}: {cost(detector):.2f}")


if __name__ == "__main__":
    main()
