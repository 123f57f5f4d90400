"""What is told of parts, in order of arrival, and what the joiner makes of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

__all__ = ["JoinedParts", "PartEventKind", "PartEvents"]


class PartEventKind(IntEnum):
    """What an event tells."""

    INTERVAL = 0  # a part was at a step from `first` to `last`
    IMAGE = 1  # an image of a part was taken at `first`
    ROW = 2  # a row of the process of a step at `first`


@dataclass(frozen=True, slots=True)
class PartEvents:
    """n events, a struct of arrays; what does not apply holds anything.

    Attributes
    ----------
    kind
        uint8[n] of `PartEventKind`.
    arrival
        int64[n], ns UTC, when it came to be known; the joiner's only clock.
    stream
        int32[n], number among `PartSettings.streams`.
    part
        n part ids; None where an image has none.
    first, last
        int64[n], ns UTC, event time.
    score
        float64[n], of an image or a row; higher is odder, NaN where a row has none.
    detail
        int32[n]: model version of an image, worst channel of a row (-1 for none), parts that share an interval.
    """

    kind: npt.NDArray[np.uint8]
    arrival: npt.NDArray[np.int64]
    stream: npt.NDArray[np.int32]
    part: Sequence[str | None]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    detail: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, where: npt.NDArray[np.intp]) -> "PartEvents":
        """Events at some places, in that order."""
        part = [self.part[i] for i in where.tolist()]
        return PartEvents(
            self.kind[where], self.arrival[where], self.stream[where], part, self.first[where], self.last[where],
            self.score[where], self.detail[where],
        )  # fmt: skip

    @classmethod
    def joined(cls, batches: Sequence["PartEvents"]) -> "PartEvents":
        """One batch of many, in their order."""
        if len(batches) == 1:
            return batches[0]
        kinds = {"kind": np.uint8, "arrival": np.int64, "stream": np.int32, "first": np.int64, "last": np.int64,
                 "score": np.float64, "detail": np.int32}  # fmt: skip
        columns = {n: np.concatenate([np.zeros(0, t), *(getattr(b, n) for b in batches)]) for n, t in kinds.items()}
        return cls(part=[part for batch in batches for part in batch.part], **columns)


@dataclass(slots=True)
class JoinedParts:
    """What is known of m parts at m moments; a part stands here again with each amendment.

    Attributes
    ----------
    part
        Their ids.
    amendment
        int32[m], 1 for the first, and one more each time.
    final
        bool[m], nothing more will be waited for.
    time
        int64[m], event time of the newest evidence.
    score, version, when, detail
        float64[m, k], int32[m, k], int64[m, k], int32[m, k] by stream: the score (NaN where missing), the model version
        (-1 where missing), event time of the image or of the worst row, and its channel.
    shared
        int32[m, k], how many parts share the evidence.
    counts
        How often each thing happened.
    """

    part: list[str]
    amendment: npt.NDArray[np.int32]
    final: npt.NDArray[np.bool_]
    time: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    version: npt.NDArray[np.int32]
    when: npt.NDArray[np.int64]
    detail: npt.NDArray[np.int32]
    shared: npt.NDArray[np.int32]
    counts: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.part)
