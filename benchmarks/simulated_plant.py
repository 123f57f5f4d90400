"""Faults told on the simulator's default plant, which is livelier than that of the demonstration.

``python -m benchmarks.simulated_plant [--detector NAME …] [--train-hours H] [--seeds N]``. Each seed is a plant of one
pump and four nodes with one fault of each kind on the pump and two on each node; the engine learns from the quiet
stretch before them. A fault is told when an alarm on its asset stands at some time between its start and 60 rows after
its end; any other alarm is false. Silence is not counted: no detector sees it.
"""

import argparse

import numpy as np
from rich.console import Console
from rich.table import Table

from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.backtest.measures import alarm_episodes
from evaluation.datasets.schema import SECOND, LabelledSeries
from tsad.settings import AlarmSettings, DetectorSettings
from tsad.simulation import FaultKind, PlantSettings, default_faults, simulate

DETECTORS = ("auto", "patchbank", "sub-pca", "robust")
START = 1_750_000_000 * SECOND
FAULTY_SECONDS = 5400.0
LATE = 60 * SECOND
FALSE_ALARMS_PER_DAY = 10.0


def main() -> None:
    """Simulate, run and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--detector", action="append")
    parser.add_argument("--train-hours", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=8)
    arguments, _ = parser.parse_known_args()
    table = Table("detector", "pump faults told", "node faults told", "false alarms", "accepted", "median delay, s")
    found: dict[str, list[tuple[bool, bool, float]]] = {}
    false: dict[str, int] = {}
    kinds: dict[tuple[str, str], list[bool]] = {}
    days = 0.0
    for seed in range(arguments.seeds):
        settings = PlantSettings(seed=seed, training_seconds=3600 * arguments.train_hours)
        duration = settings.training_seconds + FAULTY_SECONDS
        recording = simulate(settings, START, duration, default_faults(settings, START, duration))
        for asset, sensor in recording.sensors.items():
            there = sensor.present
            labels = np.zeros(len(sensor.times), np.uint8)
            faults = [f for f in recording.faults if f.asset == asset and f.kind != FaultKind.SILENCE]
            for fault in faults:
                labels[(sensor.times >= fault.start) & (sensor.times < fault.end)] = 1
            series = LabelledSeries(
                "simulated", asset, sensor.channels, sensor.times[there], sensor.values[there], labels[there],
                int((sensor.times[there] < recording.training_end).sum()), settings.step(asset),
            )  # fmt: skip
            days += FAULTY_SECONDS / 86_400
            for name in arguments.detector or DETECTORS:
                alarm = AlarmSettings(false_alarms_per_day=FALSE_ALARMS_PER_DAY)
                run = run_causal(series, stream_settings(series, [DetectorSettings(name=name)], alarm))
                episodes = alarm_episodes(run.transitions, series.test_times, series.test_labels)
                matched = set()
                for fault in faults:
                    told = [
                        n for n, e in enumerate(episodes)
                        if e.started <= fault.end + LATE and (e.ended is None or e.ended > fault.start)
                    ]  # fmt: skip
                    matched.update(told)
                    delay = max(0.0, (episodes[told[0]].started - fault.start) / SECOND) if told else float("nan")
                    found.setdefault(name, []).append((asset in settings.pump_assets, bool(told), delay))
                    kinds.setdefault((name, fault.kind.value), []).append(bool(told))
                false[name] = false.get(name, 0) + len(episodes) - len(matched)
    for name, outcomes in found.items():
        pump, node = ([told for is_pump, told, _ in outcomes if is_pump == wanted] for wanted in (True, False))
        delays = [delay for *_, delay in outcomes if not np.isnan(delay)]
        table.add_row(
            name, f"{sum(pump)} of {len(pump)}", f"{sum(node)} of {len(node)}", str(false[name]),
            f"{FALSE_ALARMS_PER_DAY * days / len(arguments.detector or DETECTORS) * len(found):.1f}",
            f"{np.median(delays):.0f}" if delays else "-",
        )  # fmt: skip
    by_kind = Table("kind", *found)
    for kind in dict.fromkeys(kind for _, kind in kinds):
        by_kind.add_row(kind, *(f"{sum(kinds[name, kind])} of {len(kinds[name, kind])}" for name in found))
    console = Console(width=130)
    console.print(table)
    console.print(by_kind)


if __name__ == "__main__":
    main()
