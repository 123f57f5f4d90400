"""The telemetry of one node, and what is done about rows and features that are not as they should be."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["NodeTelemetry", "TelemetryWarning", "matched", "ordered", "resampled"]

_LONGEST_BRIDGE = 3


class TelemetryWarning(UserWarning):
    """Telemetry was not as it should be, and could be used nevertheless; the message says how."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeTelemetry:
    """What one node reported.

    Attributes
    ----------
    node
        Its name.
    features
        Names of the columns.
    times
        int64[t], ns UTC.
    values
        float32[t, n], NaN where missing; never filled with 0, which after scaling would be an extreme value.
    """

    node: str
    features: tuple[str, ...]
    times: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.times), len(self.features)):
            raise ValueError(
                f"node {self.node!r}: values of shape {self.values.shape} for {len(self.times)} times and "
                f"{len(self.features)} features"
            )
        repeated = sorted({name for name in self.features if self.features.count(name) > 1})
        if repeated:
            raise ValueError(f"node {self.node!r}: feature {repeated[0]!r} is there twice; rename one")

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, where: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> "NodeTelemetry":
        """Some of its rows."""
        return replace(self, times=self.times[where], values=self.values[where])


def ordered(telemetry: NodeTelemetry) -> NodeTelemetry:
    """Rows in order of time, one a time: of several with the same time the last is kept.

    Warns
    -----
    TelemetryWarning
        Rows were out of order, or times were there twice; with their number.
    """
    steps = np.diff(telemetry.times)
    if (steps > 0).all():
        return telemetry
    if (steps < 0).any():
        warnings.warn(
            f"node {telemetry.node!r}: {int((steps < 0).sum())} rows are earlier than the one above; sorted by time",
            TelemetryWarning,
            stacklevel=2,
        )
    order = np.argsort(telemetry.times, kind="stable")
    times = telemetry.times[order]
    last = np.append(times[1:] != times[:-1], True)
    if not last.all():
        warnings.warn(
            f"node {telemetry.node!r}: {int((~last).sum())} rows repeat the time of another; the last of each is kept",
            TelemetryWarning,
            stacklevel=2,
        )
    return telemetry.rows(order[last])


def matched(
    telemetry: NodeTelemetry, features: Sequence[str], *, impute: bool = False
) -> tuple[NodeTelemetry, tuple[str, ...]]:
    """The features that a model knows, in its order.

    Parameters
    ----------
    telemetry, features
        What is there, and what is wanted.
    impute
        Missing features become columns of NaN instead of an error.

    Returns
    -------
    NodeTelemetry, tuple of str
        And the names of the features that were missing.

    Raises
    ------
    ValueError
        A feature is missing.

    Warns
    -----
    TelemetryWarning
        There are features that the model does not know; they are ignored.
    """
    if telemetry.features == tuple(features):
        return telemetry, ()
    missing = tuple(name for name in features if name not in telemetry.features)
    if missing and not impute:
        raise ValueError(
            f"node {telemetry.node!r}: feature {missing[0]!r} is missing ({len(missing)} in all); give it, or set "
            f"missing='impute' to put its training median in its place"
        )
    extra = sorted(set(telemetry.features) - set(features))
    if extra:
        warnings.warn(
            f"node {telemetry.node!r}: {len(extra)} features were not there in training and are ignored: "
            f"{', '.join(extra[:5])}",
            TelemetryWarning,
            stacklevel=2,
        )
    place = {name: column for column, name in enumerate(telemetry.features)}
    values = np.full((len(telemetry), len(features)), np.nan, np.float32)
    for column, name in enumerate(features):
        if name in place:
            values[:, column] = telemetry.values[:, place[name]]
    return replace(telemetry, features=tuple(features), values=values), missing


def resampled(telemetry: NodeTelemetry, step: int) -> NodeTelemetry:
    """Means over the cells of a time grid; done only where it is asked for.

    Gaps of up to 3 cells between two known ones are bridged by straight lines, longer ones stay NaN. Cells before the
    first and after the last row are not made.

    Parameters
    ----------
    telemetry
        Rows in order of time.
    step
        Width of a cell in ns, for example 300e9 for five minutes; cells begin at multiples of it.

    Examples
    --------
    >>> rows = NodeTelemetry("a", ("x",), np.array([0, 1, 2, 8]), np.array([[1], [3], [4], [7]], np.float32))
    >>> resampled(rows, 2).values.ravel()
    array([2., 4., 5., 6., 7.], dtype=float32)
    """
    if not len(telemetry):
        return telemetry
    cells = telemetry.times // step
    first, count = int(cells[0]), int(cells[-1] - cells[0]) + 1
    at = cells - first
    known = ~np.isnan(telemetry.values)
    sums, counts = (np.zeros((count, len(telemetry.features))) for _ in range(2))
    np.add.at(sums, at, np.where(known, telemetry.values, 0.0))
    np.add.at(counts, at, known)
    values = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    for column in values.T:
        _bridge(column)
    times = (first + np.arange(count, dtype=np.int64)) * step
    return replace(telemetry, times=times, values=values.astype(np.float32))


def _bridge(column: npt.NDArray[np.float64]) -> None:
    """Fill gaps of up to 3 cells in place."""
    there = np.flatnonzero(~np.isnan(column))
    gaps = np.diff(there)
    for left, width in zip(there[:-1][gaps > 1], gaps[gaps > 1], strict=True):
        if width - 1 <= _LONGEST_BRIDGE:
            inside = np.arange(left + 1, left + width)
            column[inside] = np.interp(inside, [left, left + width], [column[left], column[left + width]])
