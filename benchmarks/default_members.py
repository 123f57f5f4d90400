"""Which voices should the default have? Chosen on one half of every set, reported on the other.

    python -m benchmarks.default_members [--dataset SKAB …] [--cache DIR]

Causal scores of the test part, each in units of its 0.99 quantile in training; a combination is their weighted mean.
The combination with the best mean over sets on the tuning half is shown on the reported half, beside today's default.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.backtest.causal import run_causal, stream_settings
from evaluation.backtest.measures import ranking_scores
from evaluation.datasets.registry import load_dataset
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import EvaluationError
from evaluation.metrics.pate import pate
from evaluation.metrics.vus import vus_pr
from tsad.errors import TsadError
from tsad.settings import DetectorSettings

DATASETS = ("SKAB", "SMAP", "MSL", "NAB", "SMD", "ASD", "CTN", "TEP", "BATADAL")
MEMBERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "patchbank": ("patchbank", {"ring_rows": 500}),
    "patchbank, ring 2000": ("patchbank", {"ring_rows": 2_000}),
    "patchbank, ring 8000": ("patchbank", {"ring_rows": 8_000}),
    "sub-pca": ("sub-pca", {}),
    "robust": ("robust", {}),
    "poly": ("poly", {}),
    "kmeans": ("kmeans", {}),
    "matrix-profile": ("matrix-profile", {}),
    "spectral-residual": ("spectral-residual", {}),
}
DEFAULT = {"patchbank": 2.0, "sub-pca": 1.0}
_THIRD_WEIGHTS = (0.25, 0.5, 1.0)
_QUANTILE, _LEAST = 0.99, 1e-9


def is_tuning(place: int) -> bool:
    """Whether the series at this place of its set belongs to the half that choices are made on."""
    return place % 2 == 0


def combinations() -> list[dict[str, float]]:
    """What is tried: single voices, two of them in several proportions, and each other one as a third."""
    found = [{name: 1.0} for name in MEMBERS]
    found += [{"patchbank": weight, "sub-pca": 1.0} for weight in (1.0, 2.0, 3.0, 4.0)]
    found += [{name: 2.0, "sub-pca": 1.0} for name in MEMBERS if name.startswith("patchbank,")]
    for third in ("robust", "poly", "kmeans", "matrix-profile", "spectral-residual"):
        found += [{**DEFAULT, third: weight} for weight in _THIRD_WEIGHTS]
    return found


def ratios(series: LabelledSeries) -> dict[str, npt.NDArray[np.float64]] | None:
    """Scores of the test part by member, each in its own units; None where one of them cannot learn the series."""
    found = {}
    for name, (detector, options) in MEMBERS.items():
        try:
            run = run_causal(series, stream_settings(series, (DetectorSettings(name=detector, options=options),)))
        except (TsadError, EvaluationError):
            return None
        found[name] = run.test_scores / max(float(np.quantile(run.prefix_scores, _QUANTILE)), _LEAST)
    return found


def combined(members: Mapping[str, npt.NDArray[np.float64]], weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Weighted mean over those that speak in each row."""
    values = np.stack([members[name] for name in weights])
    weight = np.array(list(weights.values()))[:, None] * ~np.isnan(values)
    whole = weight.sum(axis=0)
    mean = np.nansum(values * weight, axis=0) / np.where(whole > 0, whole, 1.0)
    return ranking_scores(np.where(whole > 0, mean, np.nan))


def figures(dataset: str, cache: Path | None) -> npt.NDArray[np.float64]:
    """VUS-PR and PATE (step) of every series and combination, float64[n, combinations, 2], after its half (0 or 1)."""
    stored = None if cache is None else cache / f"{dataset}.npz"
    if stored is not None and stored.is_file():
        return np.asarray(np.load(stored)["figures"])
    found = []
    for place, series in enumerate(load_dataset(dataset)):
        labels = series.test_labels
        members = ratios(series) if labels.any() and not labels.all() else None
        if members is None:
            continue
        scores = [combined(members, weights) for weights in combinations()]
        own = [(vus_pr(labels, one, window=100), pate(labels, one, interpolation="step")) for one in scores]
        half = np.full((1, 2), 0.0 if is_tuning(place) else 1.0)
        found.append(np.concatenate([half, np.array(own)]))
    result = np.array(found)
    if stored is not None:
        np.savez(stored, figures=result)
    return result


def main() -> None:
    """Print the tuning half's table, and the chosen combination beside the default on the reported half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", action="append", choices=DATASETS)
    parser.add_argument("--cache", type=Path)
    arguments, _ = parser.parse_known_args()
    tried = combinations()
    tuning, reported, counts = [], [], []
    names = arguments.dataset or DATASETS
    for dataset in names:
        found = figures(dataset, arguments.cache)
        halves = [found[found[:, 0, 0] == half, 1:] for half in (0.0, 1.0)]
        counts.append([len(half) for half in halves])
        tuning.append(halves[0].mean(axis=0))
        reported.append(halves[1].mean(axis=0) if len(halves[1]) else np.full_like(halves[0][0], np.nan))
    by_set, means = np.array(tuning), np.array(tuning).mean(axis=0)
    print("tuning half, VUS-PR; series: " + ", ".join(f"{n} {c[0]}" for n, c in zip(names, counts, strict=True)))
    print("| combination | mean: VUS-PR / PATE step | " + " | ".join(names) + " |")
    print("|---|" + "---:|" * (len(names) + 1))
    for place in np.argsort(-means[:, 0]):
        own = " | ".join(f"{value:.3f}" for value in by_set[:, place, 0])
        print(f"| {_text(tried[place])} | {means[place, 0]:.3f} / {means[place, 1]:.3f} | {own} |")
    best, default = int(np.argmax(means[:, 0])), tried.index(DEFAULT)
    rest = np.array(reported)
    print("\nreported half; series: " + ", ".join(f"{n} {c[1]}" for n, c in zip(names, counts, strict=True)))
    for place in dict.fromkeys((best, default)):
        own = " | ".join(f"{value:.3f}" for value in rest[:, place, 0])
        mean = np.nanmean(rest[:, place], axis=0)
        print(f"| {_text(tried[place])} | {mean[0]:.3f} / {mean[1]:.3f} | {own} |")


def _text(weights: Mapping[str, float]) -> str:
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items())


if __name__ == "__main__":
    main()
