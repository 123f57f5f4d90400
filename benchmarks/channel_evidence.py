"""How should the channels of `timercd-nano` add up? Chosen on one half of every set, reported on the other.

    python -m benchmarks channel_evidence [--dataset SKAB …] [--cache DIR]

Log odds of the test part with hindsight, above a quantile of their own channel, cut at nothing, under a norm. The rule
with the best mean over sets on the even-numbered of the series that hold anomalies is shown on the odd-numbered,
beside the largest probability.
"""

import argparse
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from evaluation.backtest.measures import ranking_scores
from evaluation.datasets.registry import load_dataset
from evaluation.datasets.schema import LabelledSeries
from evaluation.metrics.vus import vus_pr
from tsad.detectors.registry import detector_options
from tsad.foundation.aggregation import aggregated
from tsad.foundation.runtime import nano_runner
from tsad.foundation.scoring import label_recording
from tsad.scaling import fit_scaling

DATASETS = ("BATADAL", "SKAB", "TEP", "ASD", "CTN", "MSL", "SMD")
_LEAST_SPREAD = 0.5


class Rule(NamedTuple):
    """Which evidence a channel gives above its quantile, in its own spread or not, and the norm over channels."""

    quantile: float
    cut: Literal["soft", "sharp"]
    per_spread: bool
    norm: int

    def scores(self, logits: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """One score a row, float64[t], of log odds [t, c]; a channel that says nothing adds nothing."""
        above = logits - np.nanquantile(logits, self.quantile, axis=0)
        if self.per_spread:
            low, high = np.nanquantile(logits, (0.25, 0.75), axis=0)
            above /= np.maximum(high - low, _LEAST_SPREAD)
        found = np.maximum(above, 0.0)
        if self.cut == "soft":
            found += np.log1p(np.exp(-np.abs(above)))
        score = ((weight * np.nan_to_num(found)) ** self.norm).sum(axis=1) ** (1 / self.norm)
        return np.where(np.isnan(logits).all(axis=1), np.nan, score)

    def __str__(self) -> str:
        return f"{self.quantile:g}, {self.cut}{', per spread' if self.per_spread else ''}, norm {self.norm}"


RULES = tuple(Rule(*one) for one in product((0.5, 0.75, 0.9, 0.95), ("soft", "sharp"), (False, True), (1, 2, 3)))
SHIPPED = Rule(0.9, "soft", per_spread=False, norm=2)
LARGEST = "largest probability"


def is_tuning(place: int) -> bool:
    """Whether the series at this place, among those of its set that hold anomalies, is one that is chosen on."""
    return place % 2 == 0


def moving(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The channels that do not stand still."""
    return np.ascontiguousarray(values[:, [np.unique(one[~np.isnan(one)]).size > 1 for one in values.T]])


def log_odds(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the shipped network says of every row and channel, as mode full hears it."""
    runner, config = nano_runner()
    options = detector_options("timercd-nano")
    return label_recording(
        runner, values, window=config.window, scales=options["scales"], stride=options["stride"],
        longest_gap=config.patch,
    ).astype(np.float32)  # fmt: skip


def judged(dataset: str, cache: Path | None) -> Iterator[tuple[LabelledSeries, npt.NDArray[np.float64]]]:
    """Series of a set that hold anomalies, and their log odds, which are kept in `cache` from run to run."""
    for series in load_dataset(dataset):
        if not series.test_labels.any() or series.test_labels.all():
            continue
        stored = None if cache is None else cache / f"{dataset}_{series.name.replace('/', '_')}.npy"
        if stored is not None and stored.is_file():
            logits = np.load(stored, allow_pickle=False)
        else:
            logits = log_odds(moving(series.test_values))
            if stored is not None:
                stored.parent.mkdir(parents=True, exist_ok=True)
                np.save(stored, logits, allow_pickle=False)
        yield series, logits.astype(np.float64)


def figures(dataset: str, cache: Path | None) -> npt.NDArray[np.float64]:
    """VUS-PR of every series, by each rule and by the largest probability, float64[n, rules + 1]."""
    found = []
    for series, logits in judged(dataset, cache):
        weight = fit_scaling(moving(series.test_values)).weight
        scores = [rule.scores(logits, weight) for rule in RULES]
        scores.append(aggregated(1 / (1 + np.exp(-logits)), "max", weight)[0])
        found.append([vus_pr(series.test_labels, ranking_scores(one), window=100) for one in scores])
    return np.array(found)


def halves(found: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Means of the half that is chosen on and of the other, float64[rules + 1] each."""
    tuning = np.array([is_tuning(place) for place in range(len(found))])
    return found[tuning].mean(axis=0), found[~tuning].mean(axis=0)


def main() -> None:
    """Print the tuning half's table, and the chosen rule, the shipped one and the largest on the other half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", action="append", choices=DATASETS)
    parser.add_argument("--cache", type=Path)
    arguments, _ = parser.parse_known_args()
    names = arguments.dataset or DATASETS
    found = [halves(figures(dataset, arguments.cache)) for dataset in names]
    tuning, reported = (np.array(half) for half in zip(*found, strict=True))
    tried = (*map(str, RULES), LARGEST)
    best = int(tuning.mean(axis=0)[:-1].argmax())
    for title, half, places in (
        ("chosen on", tuning, np.argsort(-tuning.mean(axis=0))),
        ("reported on", reported, dict.fromkeys((best, RULES.index(SHIPPED), len(RULES)))),
    ):
        print(f"\n| VUS-PR of the half {title} | mean | " + " | ".join(names) + " |")
        print("|---|" + "---:|" * (len(names) + 1))
        for place in places:
            own = " | ".join(f"{value:.3f}" for value in half[:, place])
            print(f"| {tried[place]} | {half[:, place].mean():.3f} | {own} |", flush=True)


if __name__ == "__main__":
    main()
