"""One value a series and detector: the units that a comparison is made over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SeedSpread", "Units", "seed_spread", "units"]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The values of one metric.

    Attributes
    ----------
    series
        Data set and name, sorted: the order of cells changes no result.
    detectors
        Names, in the order of the cells.
    values : ndarray of float64, shape (series, detectors)
        Means over seeds; NaN where a series does not define the metric or the cell has an error.
    """

    series: tuple[tuple[str, str], ...]
    detectors: tuple[str, ...]
    values: NDArray[np.float64]

    def column(self, detector: str) -> NDArray[np.float64]:
        """Values of one detector, shape (series,)."""
        return self.values[:, self.detectors.index(detector)]

    def of_dataset(self, dataset: str) -> "Units":
        """The series of one data set."""
        rows = [row for row, (name, _) in enumerate(self.series) if name == dataset]
        return Units(tuple(self.series[row] for row in rows), self.detectors, self.values[rows])


def units(cells: Sequence[Mapping[str, Any]], metric: str) -> Units:
    """Return the values of a metric, several seeds averaged first.

    Parameters
    ----------
    cells
        Records of a backtest.
    metric
        A key of their ``metrics``.

    Examples
    --------
    >>> def cell(seed, value):
    ...     return {"dataset": "A", "series": "one", "detector": "x", "seed": seed, "metrics": {"f1": value}}
    >>> units([cell(0, 0.5), cell(1, 0.7)], "f1").values
    array([[0.6]])
    """
    series = sorted({(str(cell["dataset"]), str(cell["series"])) for cell in cells})
    detectors = list(dict.fromkeys(str(cell["detector"]) for cell in cells))
    found: dict[tuple[tuple[str, str], str], list[float]] = {}
    for cell in cells:
        value = cell["metrics"].get(metric)
        # None is what a value without a number becomes in JSON.
        if value is not None and np.isfinite(value):
            key = (str(cell["dataset"]), str(cell["series"])), str(cell["detector"])
            found.setdefault(key, []).append(float(value))
    values = np.full((len(series), len(detectors)), np.nan)
    for row, one in enumerate(series):
        for column, detector in enumerate(detectors):
            if (one, detector) in found:
                # Sorted: a sum must not depend on which seed came first.
                values[row, column] = np.mean(sorted(found[one, detector]))
    return Units(tuple(series), tuple(detectors), values)


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """How far the mean over series moves from seed to seed.

    Attributes
    ----------
    seeds
        How many were run; 1 where nothing is random.
    series
        Series with a value for every seed: only they are compared.
    deviation
        Standard deviation over seeds of the mean over these series; None for fewer than two seeds, or no such series.
    """

    seeds: int
    series: int
    deviation: float | None


def seed_spread(cells: Sequence[Mapping[str, Any]], detector: str, metric: str) -> SeedSpread:
    """Return the spread over seeds of one detector; see `SeedSpread`."""
    own = [cell for cell in cells if cell["detector"] == detector]
    seeds = sorted({cell["seed"] for cell in own}, key=str)
    per_seed = [units([cell for cell in own if cell["seed"] == seed], metric) for seed in seeds]
    columns = [
        {one: value for one, value in zip(part.series, part.values[:, 0], strict=True) if np.isfinite(value)}
        for part in per_seed
    ]
    common = sorted(set.intersection(*(set(column) for column in columns))) if columns else []
    deviation = None
    if len(seeds) > 1 and common:
        deviation = float(np.std([np.mean([column[one] for one in common]) for column in columns], ddof=1))
    return SeedSpread(len(seeds), len(common), deviation)
