"""What the simulator hands back: columnar recordings with labels, all arrays read-only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tsad.simulation.faults import Fault

__all__ = ["AccessRecording", "InspectionRecording", "PlantRecording", "SensorRecording", "read_only"]

Scalar = TypeVar("Scalar", bound=np.generic)


def read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Mark an array read-only, so that recordings can share it, and return it."""
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class SensorRecording:
    """The channels of one asset on one time grid.

    Attributes
    ----------
    asset : str
        Path of the asset.
    channels : tuple of str
        Names of the columns, units included.
    times : int64[rows]
        Event times, nanoseconds UTC, strictly increasing.
    values : float32[rows, channels]
        The readings; NaN where nothing was sent.
    present : bool[rows]
        False where the asset was silent: the row has no message.
    """

    asset: str
    channels: tuple[str, ...]
    times: NDArray[np.int64]
    values: NDArray[np.float32]
    present: NDArray[np.bool_]

    def column(self, channel: str) -> NDArray[np.float32]:
        """Return float32[rows] of one channel; `ValueError` when there is no such channel."""
        return self.values[:, self.channels.index(channel)]


@dataclass(frozen=True, eq=False)
class AccessRecording:
    """Categorical access events as columns, one row an event, in time order.

    Attributes
    ----------
    times : int64[events]
        Event times, nanoseconds UTC, whole milliseconds.
    user, host, process, action, source_zone : str[events]
        Who did what, where, from which network zone.
    odd : bool[events]
        Label: the event was planted. Never part of a message.
    reason : str[events]
        Label: what is odd about it (`unseen_user`, `foreign_host`, `foreign_process` or `foreign_zone`), else empty.
    """

    times: NDArray[np.int64]
    user: NDArray[np.str_]
    host: NDArray[np.str_]
    process: NDArray[np.str_]
    action: NDArray[np.str_]
    source_zone: NDArray[np.str_]
    odd: NDArray[np.bool_]
    reason: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class InspectionRecording:
    """Scored images of parts as columns, one row an image, in order of capture.

    Attributes
    ----------
    times : int64[images]
        Capture times, nanoseconds UTC, whole milliseconds.
    processed_at : int64[images]
        Label: when the plant worked on the part, before its transport to the station. Never part of a message.
    part : int64[images]
        Running number of the part; several cameras look at one part.
    part_known : bool[images]
        False where the part's code could not be read: the message says `null`.
    camera : int64[images]
        Which camera, from 0.
    raw_score : float32[images]
        The model's unclipped score; higher is odder.
    pred_score : float32[images]
        The score normalised to [0, 1] as the inspection software does; 0.5 is its decision point.
    pred_label : bool[images]
        The software's own verdict: raw score at or above the threshold.
    bbox : int64[images, 4]
        Left, top, width, height of the oddest region, pixels; zeros where there is none.
    defect : bool[images]
        Label: the part is defective, whether or not this camera can see it. Never part of a message.
    threshold : float
        Threshold on the raw score.
    station : str
        Asset path of the station.
    model : Mapping of str to str
        Name, version and calibration id of the scoring model.
    """

    times: NDArray[np.int64]
    processed_at: NDArray[np.int64]
    part: NDArray[np.int64]
    part_known: NDArray[np.bool_]
    camera: NDArray[np.int64]
    raw_score: NDArray[np.float32]
    pred_score: NDArray[np.float32]
    pred_label: NDArray[np.bool_]
    bbox: NDArray[np.int64]
    defect: NDArray[np.bool_]
    threshold: float
    station: str
    model: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class PlantRecording:
    """A stretch of the whole plant's life, with everything a backtest needs to know about it.

    Attributes
    ----------
    start : int
        First event time, nanoseconds UTC.
    duration_seconds : float
        Length of the recording.
    training_end : int
        Nothing odd happens before this event time, nanoseconds UTC.
    sensors : Mapping of str to SensorRecording
        By asset, faults applied.
    clean_sensors : Mapping of str to SensorRecording
        By asset, the twin without any fault; the same object where the asset has none.
    regimes : Mapping of str to int8[rows]
        By HPC node, the index of the running job's kind in `hpc_node.REGIMES`.
    access : AccessRecording
        The access events.
    inspections : InspectionRecording
        The inspected images.
    faults : tuple of Fault
        The applied faults in order of start, their times snapped to the first row changed and the first row
        no longer changed.
    """

    start: int
    duration_seconds: float
    training_end: int
    sensors: Mapping[str, SensorRecording]
    clean_sensors: Mapping[str, SensorRecording]
    regimes: Mapping[str, NDArray[np.int8]]
    access: AccessRecording
    inspections: InspectionRecording
    faults: tuple[Fault, ...]

    def labels(self, asset: str) -> NDArray[np.bool_]:
        """Return bool[rows]: the rows of `asset` that lie in a fault of it; `KeyError` for an unknown asset."""
        return np.asarray(self.channel_labels(asset).any(axis=1), dtype=np.bool_)

    def channel_labels(self, asset: str) -> NDArray[np.bool_]:
        """Return bool[rows, channels]: which readings of `asset` a fault touches; `KeyError` for an unknown asset."""
        recording = self.sensors[asset]
        result = np.zeros(recording.values.shape, dtype=np.bool_)
        for fault in self.faults:
            if fault.asset == asset:
                first, last = np.searchsorted(recording.times, [fault.start, fault.end])
                columns = [recording.channels.index(name) for name in fault.channels]
                result[first:last, columns] = True
        return result
