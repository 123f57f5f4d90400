"""Little history: causal scores after the last 100, 500 and 2,000 rows of a training part alone.

    python -m benchmarks foundation_cold_start [--dataset NAB …] [--history 100 …] [--series N] [--cache DIR]

Mean VUS-PR of the test part; labels are used by the metric alone. Of NAB the half that validation of the shipped
weights does not use. With ``--cache`` every figure is kept as soon as it is there, in one file a detector: delete that
of a detector which has changed.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.backtest.cell import one_thread
from evaluation.backtest.measures import ranking_scores
from evaluation.datasets.registry import load_dataset
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import EvaluationError
from evaluation.metrics.vus import vus_pr
from tsad.errors import TsadError
from tsad.settings import DetectorSettings
from tsad_cli.pretrain_validation import VALIDATION_SERIES

DATASETS = ("NAB", "SKAB", "BATADAL", "TEP", "ASD", "CTN", "MSL", "SMD", "SMAP")
HISTORIES = (100, 500, 2000)
DETECTORS = {
    "timercd-nano": DetectorSettings(name="timercd-nano", options={"hop": 16}),
    "patchbank": DetectorSettings(name="patchbank"),
    "sub-pca": DetectorSettings(name="sub-pca"),
    "robust": DetectorSettings(name="robust"),
}


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


def sample(dataset: str, limit: int | None) -> Sequence[LabelledSeries]:
    """Series that hold anomalies and at least the shortest history; of too many the same ones always."""
    usable = [
        series
        for series in load_dataset(dataset)
        if series.name not in VALIDATION_SERIES
        and series.train_length >= HISTORIES[0]
        and series.test_labels.any()
        and not series.test_labels.all()
    ]
    if limit is None or limit >= len(usable):
        return usable
    return [usable[place] for place in sorted(np.random.default_rng(0).permutation(len(usable))[:limit])]


def figure(series: LabelledSeries, detector: DetectorSettings) -> float | None:
    """VUS-PR of causal scores; None where the detector cannot learn the series."""
    try:
        with one_thread():
            scores = run_causal(series, stream_settings(series, (detector,))).test_scores
    except (TsadError, EvaluationError):
        return None
    return vus_pr(series.test_labels, ranking_scores(scores), window=100)


class Figures:
    """Figures by detector, and by data set, history and series, kept in a folder where there is one."""

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._known: dict[str, dict[str, float | None]] = {}

    def of(self, detector: str, series: LabelledSeries, rows: int) -> float | None:
        """The figure after `rows` rows of history."""
        known, key = self._read(detector), f"{series.dataset}/{series.name}/{rows}"
        if key not in known:
            known[key] = figure(shortened(series, rows), DETECTORS[detector])
            if self._cache is not None:
                self._cache.mkdir(parents=True, exist_ok=True)
                self._file(self._cache, detector).write_text(json.dumps(known, indent=0), "utf-8")
        return known[key]

    def _read(self, detector: str) -> dict[str, float | None]:
        if detector not in self._known:
            stored = None if self._cache is None else self._file(self._cache, detector)
            self._known[detector] = json.loads(stored.read_text("utf-8")) if stored and stored.is_file() else {}
        return self._known[detector]

    @staticmethod
    def _file(cache: Path, detector: str) -> Path:
        return cache / f"{detector}.json"


def row(figures: Figures, recordings: Sequence[LabelledSeries], rows: int) -> list[list[float]]:
    """Figures by series that every detector could learn; who is quick comes first, so that little is in vain."""
    found = []
    for series in recordings:
        own: dict[str, float] = {}
        for name in reversed(DETECTORS):
            value = figures.of(name, series, rows) if series.train_length >= rows else None
            if value is None or not np.isfinite(value):
                break
            own[name] = value
        else:
            found.append([own[name] for name in DETECTORS])
    return found


def main() -> None:
    """Print mean VUS-PR by data set, history and detector, over series that every detector could learn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", action="append", choices=DATASETS)
    parser.add_argument("--history", action="append", type=int, choices=HISTORIES)
    parser.add_argument("--series", type=int, help="of each data set so many at most, the same ones always")
    parser.add_argument("--cache", type=Path)
    arguments, _ = parser.parse_known_args()
    figures = Figures(arguments.cache)
    print("| data set | history | series | " + " | ".join(DETECTORS) + " |")
    print("|---|" + "---:|" * (len(DETECTORS) + 2))
    for dataset in arguments.dataset or DATASETS:
        recordings = sample(dataset, arguments.series)
        for rows in arguments.history or HISTORIES:
            found = row(figures, recordings, rows)
            if not found:
                continue
            means = " | ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
            print(f"| {dataset} | {rows} | {len(found)} of {len(recordings)} | {means} |", flush=True)


if __name__ == "__main__":
    main()
