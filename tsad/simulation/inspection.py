"""The image-inspection station: parts leave the process, travel, and are scored by a model for each camera.

Scores follow the usual shape of anomaly scores on images: a skewed bulk of good parts, defective parts higher, some
defects hidden from a camera. Parts that were processed while a pump had a process fault are defective more often;
that is what joining inspection and process can find.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsad.errors import ConfigurationError
from tsad.simulation.recording import InspectionRecording, read_only
from tsad.simulation.signals import NANOSECONDS_PER_SECOND, generator

__all__ = ["InspectionSettings", "simulate_inspections"]

_MILLISECOND = 1_000_000
_IMAGE_PIXELS = 1_024


@dataclass(frozen=True)
class InspectionSettings:
    """The station, its cameras and its model.

    Attributes
    ----------
    station : str
        Asset path of the station.
    cameras : int
        Cameras that look at each part.
    part_seconds : float
        Time between parts, seconds.
    transport_seconds : float
        Mean delay from the process to the station, seconds.
    threshold : float
        The model's threshold on the raw score; good parts centre on 1.
    defect_share : float
        Chance of a part being defective after the training stretch while the process is well.
    disturbed_defect_share : float
        The same while the process is disturbed.
    unreadable_share : float
        Chance of a part's code being unreadable.

    Raises
    ------
    ConfigurationError
        When a value is out of its range.
    """

    station: str = "plant/inspection/station-1"
    cameras: int = 2
    part_seconds: float = 10.0
    transport_seconds: float = 45.0
    threshold: float = 2.2
    defect_share: float = 0.01
    disturbed_defect_share: float = 0.35
    unreadable_share: float = 0.02

    def __post_init__(self) -> None:
        if not self.station:
            raise ConfigurationError("inspection.station is empty; give the asset path of the station")
        if self.cameras < 1:
            raise ConfigurationError(f"inspection.cameras {self.cameras} must be at least 1")
        for name in ("part_seconds", "transport_seconds", "threshold"):
            if not getattr(self, name) > 0.0:
                raise ConfigurationError(f"inspection.{name} {getattr(self, name)} must be above 0")
        for name in ("defect_share", "disturbed_defect_share", "unreadable_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigurationError(f"inspection.{name} {getattr(self, name)} must be in [0, 1]")


def simulate_inspections(
    settings: InspectionSettings,
    seed: int,
    start: int,
    duration_seconds: float,
    training_end: int,
    disturbances: Sequence[tuple[int, int]],
) -> InspectionRecording:
    """Simulate the inspected parts whose processing lies in the stretch and whose images were taken in it.

    Parameters
    ----------
    settings : InspectionSettings
        The station.
    seed : int
        The plant's seed.
    start : int
        Event time of the first part's processing, nanoseconds UTC, whole milliseconds.
    duration_seconds : float
        Length of the stretch, seconds.
    training_end : int
        Parts processed before this time are never defective, nanoseconds UTC.
    disturbances : sequence of (int, int)
        Stretches `start <= time < end` in which the process was disturbed, nanoseconds UTC.

    Returns
    -------
    InspectionRecording
        Images in order of capture.
    """
    parts = math.ceil(duration_seconds / settings.part_seconds)
    interval = round(settings.part_seconds * 1_000) * _MILLISECOND
    processed = start + np.arange(parts, dtype=np.int64) * interval
    disturbed = np.zeros(parts, dtype=np.bool_)
    for first, last in disturbances:
        disturbed |= (processed >= first) & (processed < last)
    chance = np.where(disturbed, settings.disturbed_defect_share, settings.defect_share)
    # One uniform draw a part: disturbing the process turns good parts bad, and leaves every other part as it was.
    defect = (generator(seed, "inspection", "defect").random(parts) < chance) & (processed >= training_end)
    known = generator(seed, "inspection", "code").random(parts) >= settings.unreadable_share
    surface = generator(seed, "inspection", "surface").standard_normal(parts)
    size = generator(seed, "inspection", "size").gamma(4.0, 0.5, parts)
    travel = settings.transport_seconds + generator(seed, "inspection", "travel").normal(0.0, 0.5, parts)

    captures, scores, boxes = [], [], []
    for camera in range(settings.cameras):
        own = generator(seed, "inspection", "own", str(camera)).standard_normal(parts)
        place = generator(seed, "inspection", "place", str(camera)).random((parts, 4))
        # Cameras agree by the part's surface; one defect in six is out of a camera's sight.
        seen = defect & (place[:, 3] > 1.0 / 6.0)
        scores.append(np.exp(0.16 * surface + 0.16 * own) + np.where(seen, size, 0.0))
        late = np.maximum(travel, 0.0) + 0.02 * camera
        captures.append(processed + (late * 1_000).astype(np.int64) * _MILLISECOND)
        side = (20.0 + 25.0 * np.minimum(size, 4.0)).astype(np.int64)
        corner = (place[:, :2] * (_IMAGE_PIXELS - side)[:, None]).astype(np.int64)
        boxes.append(np.column_stack([corner, side, (side * (0.6 + 0.4 * place[:, 2])).astype(np.int64)]))

    times = np.concatenate(captures)
    order = np.argsort(times, kind="stable")
    order = order[times[order] < start + int(duration_seconds * NANOSECONDS_PER_SECOND)]
    raw = np.concatenate(scores).astype(np.float32)[order]
    verdict = raw >= settings.threshold
    # Normalised as inspection software does it: the range of its validation set maps to a width of one.
    normalised = np.clip((raw - np.float32(settings.threshold)) / np.float32(4.0) + np.float32(0.5), 0.0, 1.0)
    part = order % parts
    return InspectionRecording(
        times=read_only(times[order]),
        processed_at=read_only(processed[part]),
        part=read_only(part.astype(np.int64)),
        part_known=read_only(known[part]),
        camera=read_only((order // parts).astype(np.int64)),
        raw_score=read_only(raw),
        pred_score=read_only(normalised.astype(np.float32)),
        pred_label=read_only(verdict),
        bbox=read_only(np.where(verdict[:, None], np.concatenate(boxes)[order], 0)),
        defect=read_only(defect[part]),
        threshold=settings.threshold,
        station=settings.station,
        model={"name": "patchcore", "version": "1.0.0", "calibration_id": "validation-1"},
    )
