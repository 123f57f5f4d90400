"""A labelled recording instead of the simulated plant: moved to end now, published and scored in the same way."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.registry import DATASETS, load_dataset
from evaluation.datasets.schema import LabelledSeries
from tsad_cli.demo_errors import DemoError
from tsad_cli.demo_feed import DEAD_LETTERS, NANOSECONDS, Feed, Outgoing, Planted

__all__ = ["labelled_segments", "load_recording", "replayed"]

TOPIC = "plant.recording"

# A handful that a minute of publishing can carry.
_DEFAULT_SERIES = {
    "SKAB": ("valve1/0", "valve1/1", "valve1/2", "valve1/3"),
    "SMAP": ("P-1",),
    "MSL": ("M-6",),
}
# Accepted false alarms a day and series, for steps of seconds and of minutes.
_PER_DAY_SECONDS, _PER_DAY_MINUTES = 10.0, 1.0
_MILLISECOND = 1_000_000
_LEAST_TRAIN_ROWS = 80
_ENCODER = msgspec.json.Encoder()


def load_recording(name: str, series: Sequence[str] | None) -> list[LabelledSeries]:
    """Load series of a data set.

    Parameters
    ----------
    name : str
        A numeric data set of `evaluation.datasets.registry`.
    series : sequence of str or None
        Names of series; None takes a handful.

    Raises
    ------
    DemoError
        There is no such data set, no series was named where none is usual, or one has too short a training part.
    DatasetNotFoundError
        Its files are not there.
    """
    if name.upper() not in DATASETS:
        raise DemoError(f"--replay {name}: choose one of {', '.join(DATASETS).lower()}")
    if series is None and name.upper() not in _DEFAULT_SERIES:
        raise DemoError(
            f"--replay {name}: say which series with --series, a few of one time step; "
            f"`tsad backtest --dataset {name}` runs them all"
        )
    loaded = load_dataset(name, select=list(series or _DEFAULT_SERIES[name.upper()]))
    for one in loaded:
        if one.train_length < _LEAST_TRAIN_ROWS:
            raise DemoError(
                f"{one.dataset}/{one.name} has {one.train_length} training rows; {_LEAST_TRAIN_ROWS} are needed"
            )
    steps = sorted({one.step for one in loaded})
    if len(steps) > 1:
        told = ", ".join(f"{step / NANOSECONDS:g}" for step in steps)
        raise DemoError(f"the series have steps of {told} s; replay those of one step")
    return loaded


def replayed(recording: Sequence[LabelledSeries], end: int) -> Feed:
    """Make a feed of a recording; every series ends at `end`.

    Parameters
    ----------
    recording : sequence of LabelledSeries
        At least one, all of one step.
    end : int
        Event time of the end, nanoseconds UTC.
    """
    step = recording[0].step
    end = end // step * step
    moved = [(one, one.times - one.times[-1] + end - step) for one in recording]
    records = sorted((record for one, times in moved for record in _records(one, times)), key=lambda one: one.time)
    per_day = _PER_DAY_SECONDS if step <= NANOSECONDS else _PER_DAY_MINUTES
    names = ", ".join(one.name for one in recording)
    stream: dict[str, Any] = {
        "name": recording[0].dataset.lower(),
        "topic": TOPIC,
        "step": step / NANOSECONDS,
        "train_rows": min(one.train_length for one in recording),
        "detectors": ["auto"],
        "alarm": {"false_alarms_per_day": per_day, "off_delay": 10 * step / NANOSECONDS},
    }
    return Feed(
        title=f"recording {recording[0].dataset}: {names}",
        streams=[stream],
        topics=(TOPIC, DEAD_LETTERS),
        records=records,
        planted=[fault for one, times in moved for fault in _labelled(one, times)],
        start=records[0].time,
        end=end,
        training_end=min(int(times[one.train_length - 1]) for one, times in moved),
        scored_days=sum(len(one.values) - one.train_length for one in recording) * step / NANOSECONDS / 86_400.0,
        false_alarms_per_day=per_day,
        series=len(recording),
        strict=False,
    )


def labelled_segments(labels: NDArray[np.uint8], first: int) -> list[tuple[int, int]]:
    """Return the stretches of ones from row `first` on, as (first row, row after the last).

    Examples
    --------
    >>> labelled_segments(np.array([1, 0, 1, 1, 0, 1], np.uint8), first=1)
    [(2, 4), (5, 6)]
    """
    anomalous = np.concatenate(([0], labels[first:], [0])).astype(np.int8)
    edges = np.flatnonzero(np.diff(anomalous)) + first
    return [(int(begin), int(stop)) for begin, stop in edges.reshape(-1, 2)]


def _asset(series: LabelledSeries) -> str:
    return f"{series.dataset.lower()}/{series.name}"


def _labelled(series: LabelledSeries, times: NDArray[np.int64]) -> list[Planted]:
    return [
        Planted(
            kind="labelled anomaly",
            asset=_asset(series),
            channels=(),
            start=int(times[begin]),
            end=int(times[stop - 1]) + series.step,
            severity=None,
            step=series.step,
        )
        for begin, stop in labelled_segments(series.labels, series.train_length)
    ]


def _records(series: LabelledSeries, times: NDArray[np.int64]) -> Iterator[Outgoing]:
    """Encode rows as wide messages; a missing value is left out."""
    asset = _asset(series)
    for time, row in zip(times.tolist(), series.values.tolist(), strict=True):
        values = {name: value for name, value in zip(series.channels, row, strict=True) if value == value}  # noqa: PLR0124 - NaN
        document = {"time": time // _MILLISECOND, "asset": asset, "values": values}
        yield Outgoing(TOPIC, asset.encode(), _ENCODER.encode(document), time)
