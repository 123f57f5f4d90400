"""Numbers and times as words: bins that are kept with the vocabulary, so that a model never meets other bins."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from tsad.events.errors import EventFormatError

__all__ = ["BinKind", "Binning", "fit_quantile_bins"]

BinKind = Literal["powers-of-two", "edges", "hour-of-day", "day-of-week"]

_HOUR_NS = 3_600 * 10**9
_DAY_NS = 24 * _HOUR_NS
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True, slots=True)
class Binning:
    """How numbers of one attribute become bins.

    Attributes
    ----------
    kind
        ``powers-of-two``: the power of two below 1 + |x|, with its sign, for sizes and counts. ``edges``: how many
        edges are at or below x. ``hour-of-day`` and ``day-of-week`` (Monday 0): of int64 nanoseconds UTC.
    edges
        Of ``edges``, rising.

    Raises
    ------
    EventFormatError
        The kind is unknown, or edges are missing, given without need, or not rising.

    Examples
    --------
    >>> Binning("powers-of-two").bins([0, 1, 2, 3, 1500]).tolist()
    ['0', '1', '1', '2', '10']
    >>> Binning("edges", (0.0, 10.0)).bins([-1.0, 5.0, 10.0, None]).tolist()
    ['0', '1', '2', None]
    """

    kind: BinKind
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(BinKind):
            raise EventFormatError(f"bins of kind {self.kind!r} do not exist; choose {', '.join(get_args(BinKind))}")
        if (self.kind == "edges") != bool(self.edges):
            raise EventFormatError(f"bins of kind {self.kind} with {len(self.edges)} edges; only kind edges has them")
        if not (np.isfinite(self.edges).all() and (np.diff(self.edges) > 0).all()):
            raise EventFormatError(f"edges {list(self.edges)} must be finite and rising")

    def bins(self, values: Any) -> npt.NDArray[np.object_]:
        """Return the bin of every value as a word, None where it is missing or NaN.

        Raises
        ------
        EventFormatError
            A value is no number, or is infinite.
        """
        try:
            numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise EventFormatError(f"bins of kind {self.kind} need numbers: {error}") from error
        if np.isinf(numbers).any():
            raise EventFormatError(f"value {int(np.argmax(np.isinf(numbers)))} is infinite; bins need finite numbers")
        missing = np.isnan(numbers)
        if self.kind == "powers-of-two":
            powers = np.floor(np.log2(1.0 + np.abs(np.nan_to_num(numbers))))
            found = np.where(np.nan_to_num(numbers) < 0, -powers, powers).astype(np.int64)
        elif self.kind == "edges":
            found = np.searchsorted(np.array(self.edges), numbers, side="right").astype(np.int64)
        elif self.kind == "hour-of-day":
            found = _whole(values, missing) % _DAY_NS // _HOUR_NS
        else:
            found = (_whole(values, missing) // _DAY_NS + _EPOCH_WEEKDAY) % 7
        words = found.astype(str).astype(object)
        words[missing] = None
        return words


def _whole(values: Any, missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Whole numbers, 0 where missing: nanoseconds since 1970 have more digits than a float64."""
    return np.array([0 if gone else int(value) for value, gone in zip(values, missing, strict=True)], dtype=np.int64)


def fit_quantile_bins(values: npt.NDArray[np.float64], bins: int = 10) -> Binning:
    """Return bins that hold about as many values each; fewer where values are equal.

    Parameters
    ----------
    values
        float64[n]; NaN is left out.
    bins
        How many.

    Raises
    ------
    EventFormatError
        There are fewer than two different values.

    Examples
    --------
    >>> fit_quantile_bins(np.arange(100.0), 4).edges
    (24.75, 49.5, 74.25)
    """
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins)) if len(known) else known
    edges = edges[edges > known.min()] if len(known) else edges
    if not len(edges):
        raise EventFormatError("fewer than two different values: there is nothing to bin; leave the attribute out")
    return Binning("edges", tuple(float(edge) for edge in edges))
