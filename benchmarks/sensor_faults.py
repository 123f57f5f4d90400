"""Sensor alarms on the normal parts of real recordings, and how many injected sensor faults are found."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.datasets.registry import DATASETS, load_dataset
from evaluation.datasets.schema import LabelledSeries
from tsad.alignment import Aligner
from tsad.observations import ObservationBatch, RowBatch
from tsad.quality.sensors import SensorWatch
from tsad.quality.settings import SensorSettings
from tsad.series import SeriesTable

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


def main() -> None:
    """Print both tables."""
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


if __name__ == "__main__":
    main()
