"""False alarms of the time before a series is learnt: who watches the first rows, on quiet recordings.

python -m benchmarks cold_start [--detector timercd-nano …] [--detector robust+timercd-nano] [--dataset SKAB …]
"""

import argparse

import numpy as np

from evaluation.backtest.causal import stream_settings
from evaluation.datasets.registry import load_dataset
from evaluation.datasets.schema import LabelledSeries
from tsad.engine import StreamEngine
from tsad.observations import ObservationBatch
from tsad.settings import AlarmSettings, DetectorSettings, EarlySettings
from tsad.simulation import PlantSettings, simulate

SIMULATED = "simulated plant"
DATASETS = ("SKAB", "SMAP", "MSL", "NAB", "SMD", "ASD", "CTN", "TEP", "BATADAL", SIMULATED)
DETECTORS = {
    "robust": DetectorSettings(name="robust"),
    "sub-pca": DetectorSettings(name="sub-pca"),
    "patchbank": DetectorSettings(name="patchbank"),
    "timercd-nano": DetectorSettings(name="timercd-nano", options={"hop": 4}),
}
BUDGETS = (1.0, 10.0)
ROWS, UNTIL = 128, 600


def run(series: LabelledSeries, detector: str, budget: float) -> tuple[int, float] | None:
    """Alarms raised, and days watched, in rows 128 to 600 of a training part; None where it is too short."""
    n = min(series.train_length, UNTIL)
    if n < ROWS + 100:
        return None
    settings = stream_settings(series, (DetectorSettings(name="robust"),)).model_copy(
        update={
            "train_rows": n + 1,
            "early": EarlySettings(detectors=tuple(DETECTORS[name] for name in detector.split("+")), rows=ROWS),
            "alarm": AlarmSettings(false_alarms_per_day=budget),
        }
    )
    engine = StreamEngine(settings)
    engine.table.add("asset")
    zeros = np.zeros(n, np.int64)
    found = engine.process(
        ObservationBatch(
            zeros.astype(np.int32),
            series.times[:n],
            series.values[:n],
            None,
            zeros.astype(np.int32),
            np.arange(n),
            zeros,
        )
    )
    if any(fit.problem for fit in found.fits):
        return None
    return sum(t.kind == "alarm.raised" for t in found.transitions), (n - ROWS) * settings.step / 86_400


def simulated() -> list[LabelledSeries]:
    """Quiet stretches of three simulated plants."""
    start = 1_750_000_000 * 10**9
    found = []
    for seed in range(3):
        plant = simulate(PlantSettings(seed=seed, training_seconds=1_000.0), start, 900.0, [])
        found += [
            LabelledSeries(
                dataset=SIMULATED, name=asset, times=sensor.times,
                values=np.asarray(sensor.values, np.float32), labels=np.zeros(len(sensor.times), np.uint8),
                train_length=len(sensor.times) - 1, step=10**9,
                channels=tuple(f"c{i}" for i in range(sensor.values.shape[1])),
            )
            for asset, sensor in plant.sensors.items()
        ]  # fmt: skip
    return found


def main() -> None:
    """Print realised and accepted false alarms by data set, detector and budget."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--detector", action="append", choices=[*DETECTORS, "robust+timercd-nano"])
    parser.add_argument("--dataset", action="append", choices=DATASETS)
    arguments, _ = parser.parse_known_args()
    columns = [(detector, budget) for detector in arguments.detector or DETECTORS for budget in BUDGETS]
    print("| data set | " + " | ".join(f"{detector}, {budget:g}/day" for detector, budget in columns) + " |")
    print("|---|" + "---:|" * len(columns))
    sums = np.zeros((len(columns), 2))
    for name in arguments.dataset or DATASETS:
        recordings = simulated() if name == SIMULATED else load_dataset(name)
        cells = []
        for place, (detector, budget) in enumerate(columns):
            runs = [one for one in (run(series, detector, budget) for series in recordings) if one]
            alarms, accepted = sum(a for a, _ in runs), sum(d for _, d in runs) * budget
            sums[place] += alarms, accepted
            cells.append(f"{alarms} of {accepted:.1f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    print("| realised / accepted | " + " | ".join(f"{alarms / accepted:.2f}" for alarms, accepted in sums) + " |")


if __name__ == "__main__":
    main()
