"""The nano as one voice among others, with hindsight: ``python -m benchmarks foundation_members``.

Whole recordings, the training part known; every score in units of its 0.99 quantile in the training part (that of the
nano, a probability, at least 0.1), combinations add them up. Measured on the test part.
"""

import argparse
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from evaluation.backtest.measures import ranking_scores
from evaluation.datasets.registry import load_dataset
from evaluation.datasets.schema import LabelledSeries
from evaluation.metrics.pate import pate
from evaluation.metrics.vus import vus_pr
from tsad.detectors.registry import create_detector
from tsad_cli.pretrain_validation import VALIDATION_SERIES

DATASETS = ("NAB", "MSL", "ASD", "CTN", "BATADAL", "SKAB", "TEP", "SMD", "SMAP")
NANO = "timercd-nano"
MEMBERS = (NANO, "sub-pca", "patchbank")
COMBINATIONS = ((NANO,), ("sub-pca",), ("patchbank",), (NANO, "sub-pca"), ("patchbank", NANO), ("patchbank", "sub-pca"))
_QUANTILE, _LEAST_PROBABILITY, _LEAST = 0.99, 0.1, 1e-9


def ratios(series: LabelledSeries) -> Mapping[str, npt.NDArray[np.float64]]:
    """Scores of the test part by member, each in its own units."""
    found = {}
    for name in MEMBERS:
        scores = create_detector(name, {}).score_all(series.values, series.times, series.train_length)
        known = scores[: series.train_length]
        known = known[np.isfinite(known)]
        usual = float(np.quantile(known, _QUANTILE)) if len(known) else 0.0
        found[name] = scores[series.train_length :] / max(usual, _LEAST_PROBABILITY if name == NANO else _LEAST)
    return found


def main() -> None:
    """Print VUS-PR and PATE (step) by data set and combination, means over series."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", action="append", choices=DATASETS)
    arguments, _ = parser.parse_known_args()
    print("| data set | series | " + " | ".join(" + ".join(names) for names in COMBINATIONS) + " |")
    print("|---|" + "---:|" * (len(COMBINATIONS) + 1))
    for dataset in arguments.dataset or DATASETS:
        found = []
        for series in load_dataset(dataset):
            labels = series.test_labels
            if series.name in VALIDATION_SERIES or not labels.any() or labels.all():
                continue
            members = ratios(series)
            sums = [ranking_scores(np.sum([members[name] for name in names], axis=0)) for names in COMBINATIONS]
            found.append([(vus_pr(labels, one, window=100), pate(labels, one, interpolation="step")) for one in sums])
        means = np.mean(found, axis=0)
        figures = " | ".join(f"{vus:.3f} / {step:.3f}" for vus, step in means)
        print(f"| {dataset} | {len(found)} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
