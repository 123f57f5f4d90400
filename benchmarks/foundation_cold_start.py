"""Little history: causal scores after the last 100, 500 and 2,000 rows of a training part alone.

``python -m benchmarks foundation_cold_start``; labels are used by the metric alone. Of NAB the half that validation of
the shipped weights does not use.
"""

from dataclasses import replace

import numpy as np

from evaluation.backtest.cell import run_cell
from evaluation.backtest.plan import Plan, plan_cells
from evaluation.datasets.registry import load_dataset
from evaluation.datasets.schema import LabelledSeries
from tsad_cli.pretrain_validation import VALIDATION_SERIES

DATASETS = ("NAB", "MSL", "SMAP", "ASD", "CTN", "BATADAL")
HISTORIES = (100, 500, 2000)
DETECTORS = (("timercd-nano",), ("patchbank",), ("sub-pca",), ("robust",))
OPTIONS = {"timercd-nano": {"hop": 16}}


def shortened(series: LabelledSeries, rows: int) -> LabelledSeries:
    """The recording from `rows` rows before its test part on."""
    cut = series.train_length - rows
    severity = None if series.severity is None else series.severity[cut:]
    return replace(
        series,
        times=series.times[cut:],
        values=series.values[cut:],
        labels=series.labels[cut:],
        severity=severity,
        train_length=rows,
    )


def main() -> None:
    """Print mean VUS-PR by data set, history and detector, over series that every detector could learn."""
    cells = [cell for cell in plan_cells(Plan(DETECTORS, options=OPTIONS)) if not cell.is_trivial]
    print("| data set | history | series | " + " | ".join(cell.name for cell in cells) + " |")
    print("|---|" + "---:|" * (len(cells) + 2))
    for dataset in DATASETS:
        recordings = [one for one in load_dataset(dataset) if one.name not in VALIDATION_SERIES]
        for rows in HISTORIES:
            found = []
            for series in recordings:
                if series.train_length < rows:
                    continue
                records = [run_cell(cell, shortened(series, rows)).record for cell in cells]
                values = [record["metrics"].get("vus_pr", np.nan) for record in records]
                if not any(record["error"] for record in records) and np.isfinite(values).all():
                    found.append(values)
            means = np.mean(found, axis=0) if found else np.full(len(cells), np.nan)
            figures = " | ".join(f"{value:.3f}" for value in means)
            print(f"| {dataset} | {rows} | {len(found)} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
