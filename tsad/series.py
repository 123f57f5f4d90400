"""The series of a stream: which assets there are and which channel stands in which column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.errors import SnapshotError

__all__ = ["SeriesTable"]


class SeriesTable:
    """Numbers the assets of one stream and the channels of every asset.

    All arrays of the engine are indexed by the numbers given here, so numbers are never reused or changed.

    Parameters
    ----------
    channels
        The channel names when they are the same for all assets; ``None`` when every asset brings its own.

    Examples
    --------
    >>> table = SeriesTable(["flow", "pressure"])
    >>> table.add("plant/pump-1"), table.find("plant/pump-1"), table.find("plant/pump-2")
    (0, 0, -1)
    >>> table.channel_names(0)
    ('flow', 'pressure')
    """

    def __init__(self, channels: Sequence[str] | None = None) -> None:
        self.shared_channels = None if channels is None else tuple(channels)
        self._assets: list[str] = []
        self._index: dict[str, int] = {}
        self._channels: list[dict[str, int]] = []
        self._shared = {name: column for column, name in enumerate(self.shared_channels or ())}
        self.width = max(1, len(self._shared))
        self.version = 0
        """Rises with every new series and channel, and with every restore."""
        self.generation = 0
        """Rises with every restore: numbers may mean others than before."""
        self._counts = np.zeros(0, dtype=np.int32)
        self._counts_version = 0

    def __len__(self) -> int:
        return len(self._assets)

    @property
    def assets(self) -> tuple[str, ...]:
        """Asset names by series number."""
        return tuple(self._assets)

    def find(self, asset: str) -> int:
        """Number of `asset`, or -1."""
        return self._index.get(asset, -1)

    def numbers(self, assets: Sequence[str]) -> npt.NDArray[np.int32]:
        """Numbers of many assets at once, -1 where unknown."""
        get = self._index.get
        return np.array([get(asset, -1) for asset in assets], dtype=np.int32)

    def add(self, asset: str) -> int:
        """Number of `asset`, which is taken in when it is new."""
        number = self._index.get(asset)
        if number is None:
            number = len(self._assets)
            self._index[asset] = number
            self._assets.append(asset)
            self._channels.append(self._shared if self.shared_channels is not None else {})
            self.version += 1
        return number

    def find_channel(self, series: int, channel: str) -> int:
        """Column of `channel` in `series`, or -1."""
        return self._channels[series].get(channel, -1)

    def add_channel(self, series: int, channel: str) -> int:
        """Column of `channel` in `series`, which gets the next free one when it is new."""
        columns = self._channels[series]
        column = columns.get(channel)
        if column is None:
            if self.shared_channels is not None:
                msg = f"the channels of this stream are declared; {channel!r} is not among {self.shared_channels}"
                raise ValueError(msg)
            column = len(columns)
            columns[channel] = column
            self.width = max(self.width, column + 1)
            self.version += 1
        return column

    def channel_names(self, series: int) -> tuple[str, ...]:
        """Channel names of `series` by column."""
        return tuple(self._channels[series])

    def channel_count(self, series: int) -> int:
        """How many channels `series` has."""
        return len(self._channels[series])

    @property
    def channel_counts(self) -> npt.NDArray[np.int32]:
        """How many channels every series has, int32[n_series]."""
        if self._counts_version != self.version:
            self._counts = np.array([len(channels) for channels in self._channels], dtype=np.int32)
            self._counts_version = self.version
        return self._counts

    def state(self) -> dict[str, Any]:
        """What `restore` needs, as JSON-ready values."""
        channels = None if self.shared_channels is not None else [list(names) for names in self._channels]
        return {"shared_channels": self.shared_channels, "assets": list(self._assets), "channels": channels}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a stored table.

        Raises
        ------
        SnapshotError
            The stored table has other declared channels than this one.
        """
        stored = state["shared_channels"]
        if (None if stored is None else tuple(stored)) != self.shared_channels:
            raise SnapshotError(
                f"the snapshot was made with channels {stored}, the configuration declares {self.shared_channels}; "
                "restore the old list, or start with a new history file to learn anew",
            )
        version, generation = self.version, self.generation
        self.__init__(self.shared_channels)  # type: ignore[misc]
        self.version, self.generation = version + 1, generation + 1
        for series, asset in enumerate(state["assets"]):
            self.add(asset)
            if state["channels"] is not None:
                for channel in state["channels"][series]:
                    self.add_channel(series, channel)
