"""What labels are worth: false alarms a day and event recall with and without a simulated operator.

``python -m benchmarks.operator_loop [--dataset skab|smd|simulated …] [--limit N] [--delay 120]``. Each
recording goes through the daemon's own engine in pieces. Behind every alarm a simulated operator says, after a delay
in rows, whether it overlapped a labelled event (``true``) or not (``false``); the engine heeds that before the next
piece. Nothing but this answer is taken from the labels. A day is 1,440 rows whatever the step; quiet are test rows at
least 100 rows from any event; an alarm raised there is false; an event is found where an alarm stands inside it.

Four operators: one who says nothing; one who answers all; one who answers all true ones, or all false ones, alone.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.false_alarms import quiet_rows
from evaluation.backtest.causal import stream_settings
from evaluation.backtest.plan import load_series
from evaluation.datasets.schema import SECOND, LabelledSeries
from evaluation.errors import EvaluationError
from evaluation.metrics.segments import event_bounds
from tsad.engine import StreamEngine
from tsad.errors import TsadError
from tsad.interventions import Intervention, InterventionKind
from tsad.observations import ObservationBatch
from tsad.settings import AlarmSettings, DetectorSettings, StreamSettings
from tsad.simulation import FaultKind, PlantSettings, default_faults, simulate

OPERATORS = {"nobody": (), "answers all": ("true", "false"), "true only": ("true",), "false only": ("false",)}
ROWS_A_DAY = 1440
PIECE_ROWS = 32
LATE_ROWS = 32
START = 1_750_000_000 * SECOND


@dataclass(frozen=True)
class Found:
    """One recording with one operator."""

    false: int
    quiet_rows: int
    events: int
    hit: int
    labels: int
    alarmed_quiet: int


def pieces(series: LabelledSeries) -> Iterator[tuple[int, ObservationBatch]]:
    """The recording as observations, the test part in small pieces, with the row behind each."""
    n = len(series.times)
    cuts = [0, *range(series.train_length, n, PIECE_ROWS), n]
    for start, stop in pairwise(cuts):
        m = stop - start
        zeros = np.zeros(m, np.int32)
        yield (
            stop,
            ObservationBatch(
                zeros, series.times[start:stop], series.values[start:stop], None, zeros,
                np.arange(start, stop, dtype=np.int64), np.zeros(m, np.int64),
            ),
        )  # fmt: skip


def overlaps(series: LabelledSeries, start: int, end: int) -> bool:
    """What the operator finds: whether an event lies in the period of an alarm, or ended just before it."""
    first, last = np.searchsorted(series.test_times, [start, end + 1])
    return bool(series.test_labels[max(0, first - LATE_ROWS) : last].any())


def replay(series: LabelledSeries, settings: StreamSettings, answers: tuple[str, ...], delay: int) -> Found:
    """Send a recording through the engine, with an operator beside it."""
    engine = StreamEngine(settings)
    engine.table.add(series.name)
    open_since: int | None = None
    spans: list[tuple[int, int]] = []
    waiting: list[tuple[int, int, int]] = []
    said = 0
    for behind, batch in pieces(series):
        for due in [one for one in waiting if one[0] <= behind - len(batch)]:
            waiting.remove(due)
            label = "true" if overlaps(series, due[1], due[2]) else "false"
            if label in answers:
                said += 1
                kind: InterventionKind = "bad" if label == "true" else "false_alarm"
                engine.learn(Intervention(kind, series.name, due[1], due[2], said, episode=True))
        for transition in engine.process(batch).transitions:
            if transition.kind == "alarm.raised":
                open_since = transition.time
            elif transition.kind == "alarm.cleared" and open_since is not None:
                spans.append((open_since, transition.time))
                waiting.append((behind + delay, open_since, transition.time))
                open_since = None
    if open_since is not None:
        spans.append((open_since, int(series.test_times[-1])))
    return judged(series, spans, said)


def judged(series: LabelledSeries, spans: list[tuple[int, int]], said: int) -> Found:
    """False alarms in quiet rows, and events that an alarm stood in."""
    on = np.zeros(len(series.test_labels), np.bool_)
    quiet = quiet_rows(series.test_labels)
    false = 0
    for start, end in spans:
        first, last = np.searchsorted(series.test_times, [start, end + 1])
        on[first:last] = True
        false += bool(first < len(quiet) and quiet[first])
    starts, ends = event_bounds(series.test_labels)
    hits = [on[a : z + 1].any() for a, z in zip(starts, ends, strict=True)]
    return Found(false, int(quiet.sum()), len(hits), int(np.sum(hits)), said, int((on & quiet).sum()))


def joined(recordings: list[LabelledSeries]) -> list[LabelledSeries]:
    """Recordings of one process one behind the other, as an operator who stays would meet them.

    SKAB's are short runs of one test bed: the first gives the training part, the test parts follow one another.
    """
    first = recordings[0]
    values, labels, times = [first.train_values], [], [first.times[: first.train_length]]
    at = int(times[0][-1])
    for one in recordings:
        if one.channels != first.channels or one.step != first.step:
            continue
        shifted = one.test_times - one.test_times[0] + at + first.step * 100
        at = int(shifted[-1])
        times.append(shifted)
        values.append(one.test_values)
        labels.append(one.test_labels)
    found: NDArray[np.uint8] = np.concatenate(labels)
    return [
        replace(first, name="joined", times=np.concatenate(times), values=np.concatenate(values),
                labels=np.concatenate([np.zeros(first.train_length, np.uint8), found]))
    ]  # fmt: skip


def simulated(seeds: int) -> list[LabelledSeries]:
    """All assets of the simulator's default plant over six hours, with its default faults."""
    found = []
    for seed in range(seeds):
        plant = PlantSettings(seed=seed, training_seconds=1800.0)
        duration = plant.training_seconds + 21_600.0
        recording = simulate(plant, START, duration, default_faults(plant, START, duration))
        for asset, sensor in recording.sensors.items():
            there = sensor.present
            labels = np.zeros(len(sensor.times), np.uint8)
            for fault in recording.faults:
                if fault.asset == asset and fault.kind != FaultKind.SILENCE:
                    labels[(sensor.times >= fault.start) & (sensor.times < fault.end)] = 1
            found.append(
                LabelledSeries(
                    "simulated", f"{seed}-{asset}", sensor.channels, sensor.times[there], sensor.values[there],
                    labels[there], int((sensor.times[there] < recording.training_end).sum()), plant.step(asset),
                )
            )  # fmt: skip
    return found


def recordings_of(dataset: str, limit: int) -> list[LabelledSeries]:
    """What is replayed of a data set."""
    if dataset == "simulated":
        return simulated(max(1, limit // 5))
    found = list(load_series([dataset]))
    return joined(found) if dataset == "skab" else found[:limit]


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", action="append")
    parser.add_argument("--detector", default="patchbank")
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--delay", type=int, default=120, help="rows until the operator has answered")
    parser.add_argument("--budget", type=float, default=1.0, help="accepted false alarms in 1,440 rows")
    arguments, _ = parser.parse_known_args()
    table = Table("data set", "operator", "recordings", "labels", "false alarms a day", "accepted", "events found",
                  "quiet rows alarmed")  # fmt: skip
    for dataset in arguments.dataset or ["skab", "smd", "simulated"]:
        recordings = recordings_of(dataset, arguments.limit)
        for operator, answers in OPERATORS.items():
            found = []
            for series in track(recordings, description=f"{dataset}, {operator}", console=Console(stderr=True)):
                rows_a_day = 86_400e9 / series.step
                alarm = AlarmSettings(false_alarms_per_day=arguments.budget * rows_a_day / ROWS_A_DAY)
                try:
                    settings = stream_settings(series, [DetectorSettings(name=arguments.detector)], alarm)
                except (TsadError, EvaluationError):
                    continue
                found.append(replay(series, settings, answers, arguments.delay))
            quiet = sum(one.quiet_rows for one in found)
            events = sum(one.events for one in found)
            hit = sum(one.hit for one in found)
            table.add_row(
                dataset, operator, str(len(found)), str(sum(one.labels for one in found)),
                f"{sum(one.false for one in found) / quiet * ROWS_A_DAY:.2f}" if quiet else "-",
                f"{arguments.budget:g}", f"{hit} of {events}",
                f"{sum(one.alarmed_quiet for one in found) / quiet:.3f}" if quiet else "-",
            )  # fmt: skip
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
