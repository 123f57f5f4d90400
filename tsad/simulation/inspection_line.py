"""A line of stations and cameras: parts whose defects begin upstream, in the process, and are seen later in images.

Each part passes the stations one after another and is then looked at by every camera. A defect has a cause at one
station, in one channel, at one moment. How well it shows depends on its kind: strongly in both, weakly in both
(``subtle``), or in only one of them. What parts have in common besides (the lot of their material) moves process and
images of good parts together, by `dependence`.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsad.errors import ConfigurationError
from tsad.fusion.part_events import PartEventKind, PartEvents
from tsad.fusion.part_settings import PartSettings, ViewSettings
from tsad.simulation.signals import NANOSECONDS_PER_SECOND, generator

__all__ = ["DefectKind", "InspectionLine", "InspectionLineSettings", "line_events", "line_settings", "simulate_line"]

_START = 1_750_000_000 * NANOSECONDS_PER_SECOND
_LOT = 50  # parts of one lot


class DefectKind(StrEnum):
    """How a defect shows."""

    BOTH = "both"
    SUBTLE = "subtle"
    IMAGE_ONLY = "image-only"
    PROCESS_ONLY = "process-only"


@dataclass(frozen=True)
class InspectionLineSettings:
    """The line and its defects.

    Attributes
    ----------
    seed, parts
        Seed of everything random, and number of parts.
    stations, cameras, channels
        Names of stations, number of cameras, and of channels at each station.
    part_seconds
        Time of a part at each station; rows come every second.
    transport_seconds
        Mean delay from the last station to the cameras.
    defect_share, kind_shares
        Share of parts with a defect after `clean_parts`, and of its kinds in the order of `DefectKind`.
    clean_parts
        Parts in the beginning without any defect.
    dependence
        How much the lot moves process and images of good parts together: 0 for not at all, 1 for strongly.
    degraded
        ``image`` or ``process``: that side says nothing but noise. Empty for none.
    missing_images, late_images
        Share of images that never come, and of those that come a quarter of an hour late.

    Raises
    ------
    ConfigurationError
        A value is out of its range.
    """

    seed: int = 0
    parts: int = 20_000
    stations: tuple[str, ...] = ("mixer", "press", "oven")
    cameras: int = 2
    channels: int = 3
    part_seconds: int = 8
    transport_seconds: float = 20.0
    defect_share: float = 0.03
    kind_shares: tuple[float, ...] = (0.4, 0.3, 0.15, 0.15)
    clean_parts: int = 4_000
    dependence: float = 0.5
    degraded: str = ""
    missing_images: float = 0.0
    late_images: float = 0.0

    def __post_init__(self) -> None:
        for name in ("parts", "cameras", "channels", "part_seconds"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} {getattr(self, name)} must be at least 1")
        if not self.stations:
            raise ConfigurationError("stations are empty; name at least one")
        for name in ("defect_share", "dependence", "missing_images", "late_images"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigurationError(f"{name} {getattr(self, name)} must be in [0, 1]")
        if len(self.kind_shares) != len(DefectKind) or not math.isclose(sum(self.kind_shares), 1.0):
            raise ConfigurationError(f"kind_shares {self.kind_shares} must be {len(DefectKind)} shares that sum to 1")
        if self.degraded not in {"", "image", "process"}:
            raise ConfigurationError(f"degraded {self.degraded!r} must be image, process or empty")


@dataclass(frozen=True)
class InspectionLine:
    """What was simulated: n parts, s stations, c cameras, r rows.

    Attributes
    ----------
    part
        n ids.
    row_times
        int64[r], ns UTC, of every station's rows.
    values
        float32[s, r, channels].
    started, ended
        int64[n, s], the interval of each part at each station, ns UTC, both ends inside.
    captured
        int64[n, c], ns UTC.
    image_score
        float64[n, c], raw scores.
    image_arrival
        int64[n, c], ns UTC; -1 for images that never come.
    defect, kind
        bool[n], and int8[n]: place in `DefectKind`, -1 for good parts.
    cause_station, cause_channel, cause_time
        int64[n] each, -1 for good parts and for defects that the process does not show.
    """

    settings: InspectionLineSettings
    part: list[str]
    row_times: NDArray[np.int64]
    values: NDArray[np.float32]
    started: NDArray[np.int64]
    ended: NDArray[np.int64]
    captured: NDArray[np.int64]
    image_score: NDArray[np.float64]
    image_arrival: NDArray[np.int64]
    defect: NDArray[np.bool_]
    kind: NDArray[np.int8]
    cause_station: NDArray[np.int64]
    cause_channel: NDArray[np.int64]
    cause_time: NDArray[np.int64]

    def row_scores(self) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Distance of every row from usual in robust deviations, and its worst channel: float64[s, r], int32[s, r].

        Usual is what the rows of the first quarter of `clean_parts` were like.
        """
        first = self.values[:, : self.settings.clean_parts * self.settings.part_seconds // 4]
        middle = np.median(first, axis=1, keepdims=True)
        spread = 1.4826 * np.median(np.abs(first - middle), axis=1, keepdims=True)
        far = np.abs(self.values - middle) / spread
        return far.max(axis=2).astype(np.float64), far.argmax(axis=2).astype(np.int32)

    def part_scores(self) -> NDArray[np.float64]:
        """What a joiner finds of parts: float64[n, s + c], the worst row of each station, and the images' scores."""
        n, hold = len(self.part), self.settings.part_seconds
        scores, _ = self.row_scores()
        first = (np.arange(n)[:, None] + np.arange(len(scores))[None, :]) * hold
        worst = [scores[s][first[:, s, None] + np.arange(hold)].max(axis=1) for s in range(len(scores))]
        images = np.where(self.image_arrival >= 0, self.image_score, np.nan)
        return np.concatenate([np.stack(worst, axis=1), images], axis=1)


def simulate_line(settings: InspectionLineSettings) -> InspectionLine:
    """Simulate a line.

    Examples
    --------
    >>> line = simulate_line(InspectionLineSettings(parts=50, clean_parts=10))
    >>> line.values.shape, line.image_score.shape
    ((3, 416, 3), (50, 2))
    """
    n, s, c = settings.parts, len(settings.stations), settings.cameras
    second, hold = NANOSECONDS_PER_SECOND, settings.part_seconds

    def draw(*name: str) -> np.random.Generator:
        return generator(settings.seed, "inspection line", *name)

    rows = (n + s - 1) * hold
    row_times = _START + np.arange(rows, dtype=np.int64) * second
    first_row = (np.arange(n)[:, None] + np.arange(s)[None, :]) * hold
    lot = np.repeat(draw("lot").standard_normal(n // _LOT + 1), _LOT)[:n]
    # Half of what parts have in common is of the lot, half of the part itself.
    common = (lot + draw("part").standard_normal(n)) / math.sqrt(2.0)
    values = draw("rows").standard_normal((s, rows, settings.channels)).astype(np.float32)
    pull = 2.0 * settings.dependence * np.maximum(common, 0.0)
    for place in range(s):
        held = first_row[:, place, None] + np.arange(hold)[None, :]
        values[place, held, 0] += pull[:, None].astype(np.float32)

    random = draw("defects")
    defect = (random.random(n) < settings.defect_share) & (np.arange(n) >= settings.clean_parts)
    kind = np.where(defect, random.choice(len(DefectKind), n, p=settings.kind_shares), -1).astype(np.int8)
    station, channel = random.integers(0, s, n), random.integers(0, settings.channels, n)
    moment = random.integers(0, hold, n)
    strength = random.gamma(6.0, 1.0 / 6.0, n)
    # By kind: both, subtle, image-only, process-only; in deviations.
    in_process = np.array([6.0, 3.6, 0.0, 6.0, 0.0])[kind] * strength
    in_image = np.array([5.0, 2.4, 5.0, 0.0, 0.0])[kind] * strength
    where = first_row[np.arange(n), station] + moment
    values[station, where, channel] += in_process.astype(np.float32)
    shown = defect & (in_process > 0)

    texture = draw("texture").standard_normal(n)
    own = draw("images").standard_normal((n, c))
    noise = 0.6 * texture[:, None] + 0.8 * own + 2.0 * settings.dependence * np.maximum(common, 0.0)[:, None]
    image = np.exp(0.3 * (noise + in_image[:, None]))
    if settings.degraded == "image":
        image = np.exp(0.3 * draw("noise").standard_normal((n, c)))
    elif settings.degraded == "process":
        values = draw("noise").standard_normal(values.shape).astype(np.float32)
    started = row_times[first_row]
    ended = row_times[first_row + hold - 1]
    travel = settings.transport_seconds + draw("travel").normal(0.0, 0.2, (n, 1)) + 0.02 * np.arange(c)
    captured = ended[:, -1:] + np.round(travel * 1e9).astype(np.int64)
    random = draw("arrivals")
    lag = second + (random.random((n, c)) < settings.late_images) * 900 * second
    gone = random.random((n, c)) < settings.missing_images
    return InspectionLine(
        settings, [f"part-{i:06d}" for i in range(n)], row_times, values, started, ended, captured, image,
        np.where(gone, -1, captured + lag), defect, kind, np.where(shown, station, -1), np.where(shown, channel, -1),
        np.where(shown, row_times[where], -1),
    )  # fmt: skip


def line_settings(settings: InspectionLineSettings, **changes: object) -> PartSettings:
    """Settings of a part engine for a line."""
    views = tuple(
        ViewSettings(station="inspection", camera=f"camera-{c + 1}", after=settings.stations[-1])
        for c in range(settings.cameras)
    )
    return PartSettings.model_validate({"steps": settings.stations, "views": views, **changes})


def line_events(line: InspectionLine) -> PartEvents:
    """Everything that is told of a line's parts, in order of arrival: rows and intervals half a second late."""
    n, s = line.started.shape
    scores, channels = line.row_scores()
    lag = NANOSECONDS_PER_SECOND // 2
    every, parts = np.arange(n), np.full(len(line.row_times), -1)
    columns: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("kind", "arrival", "stream", "part", "first", "last", "score", "detail")
    }

    def add(kind: PartEventKind, stream: int, **values: NDArray[Any]) -> None:
        m = len(values["arrival"])
        given: dict[str, NDArray[Any]] = {
            "kind": np.full(m, kind, np.uint8), "stream": np.full(m, stream, np.int32), "score": np.zeros(m),
            "detail": np.ones(m, np.int32),
        }  # fmt: skip
        for name, array in {**given, **values}.items():
            columns[name].append(array)

    for station in range(s):
        times, start, end = line.row_times, line.started[:, station], line.ended[:, station]
        add(
            PartEventKind.ROW, station, arrival=times + lag, part=parts, first=times, last=times,
            score=scores[station], detail=channels[station],
        )  # fmt: skip
        add(PartEventKind.INTERVAL, station, arrival=end + lag, part=every, first=start, last=end)
    for camera in range(line.captured.shape[1]):
        there = line.image_arrival[:, camera] >= 0
        taken = line.captured[there, camera]
        add(
            PartEventKind.IMAGE, s + camera, arrival=line.image_arrival[there, camera], part=every[there], first=taken,
            last=taken, score=line.image_score[there, camera], detail=np.zeros(len(taken), np.int32),
        )  # fmt: skip
    joined = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    order = np.argsort(joined["arrival"], kind="stable")
    ids = [line.part[i] if i >= 0 else None for i in joined.pop("part")[order].tolist()]
    return PartEvents(part=ids, **{name: array[order] for name, array in joined.items()})
