"""What the forms of ``patchbank`` are worth: ``python -m benchmarks patchbank_forms [--dataset NAME …] [--repeated]``.

Whole recordings, the training part known, settled scores; mean VUS-PR of the test part. ``--repeated`` plants the
first labelled event of every series of one channel five more times, 300 rows apart, which a ring that takes everything
in soon holds to be usual.
"""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from evaluation.backtest.measures import ranking_scores
from evaluation.datasets.registry import load_dataset
from evaluation.datasets.schema import LabelledSeries
from evaluation.metrics.vus import vus_pr
from tsad.detectors.registry import create_detector
from tsad.errors import NotEnoughDataError

DATASETS = ("SKAB", "SMAP", "MSL", "NAB", "SMD", "ASD", "CTN", "TEP", "BATADAL", "TSB-AD-U")
FORMS: Mapping[str, Mapping[str, Any]] = {
    "as it is": {},
    "no clusters": {"clusters": "never"},
    "clusters always": {"clusters": "always"},
    "lite": {"lite": True},
    "clean training": {"clean_training": True},
    "held 1,000 rows": {"hold": 1000},
    "held, 200 at most": {"hold": 1000, "most_held": 200},
}
_COPIES, _APART = 5, 300


def repeated(series: LabelledSeries) -> LabelledSeries:
    """The series with its first labelled event again, in normal rows after it, as often as there is room."""
    inside = np.flatnonzero(np.diff(np.concatenate([[0], series.labels, [0]])))
    start, stop = (int(i) for i in inside[:2])
    values, labels = series.values.copy(), series.labels.copy()
    for copy in range(1, _COPIES + 1):
        at = start + copy * max(_APART, 2 * (stop - start))
        if at + stop - start > len(labels) or series.labels[at : at + stop - start].any():
            break
        values[at : at + stop - start] = series.values[start:stop]
        labels[at : at + stop - start] = 1
    return dataclasses.replace(series, values=values, labels=labels)


def measured(series: LabelledSeries) -> Iterator[float]:
    """VUS-PR of every form."""
    for options in FORMS.values():
        scores = create_detector("patchbank", options).score_all(series.values, series.times, series.train_length)
        yield vus_pr(series.test_labels, ranking_scores(scores[series.train_length :]), window=100)


def main() -> None:
    """Print a row a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", action="append", choices=DATASETS)
    parser.add_argument("--repeated", action="store_true")
    arguments, _ = parser.parse_known_args()
    print("| data set | series | " + " | ".join(FORMS) + " |")
    print("|---|" + "---:|" * (len(FORMS) + 1))
    for dataset in arguments.dataset or DATASETS:
        found = []
        for series in load_dataset(dataset):
            one = series
            if not series.test_labels.any() or series.test_labels.all() or series.labels[: series.train_length].any():
                continue
            if arguments.repeated:
                if len(series.channels) > 1:
                    continue
                one = repeated(series)
                if one.labels.sum() == series.labels.sum():
                    continue
            try:
                found.append(list(measured(one)))
            except NotEnoughDataError:
                continue
        if found:
            figures = " | ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
            print(f"| {dataset} | {len(found)} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
