"""Events as whole numbers: one column an attribute, one row an event."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["FIRST_VALUE", "MISSING", "UNSEEN", "EventBatch"]

UNSEEN = 0
"""Code of a value that the vocabulary does not hold."""
MISSING = 1
"""Code of an empty value, an entity of its own in every attribute."""
FIRST_VALUE = 2
"""Code of the first word of an attribute."""


@dataclass(frozen=True, slots=True, eq=False)
class EventBatch:
    """Events of m attributes.

    Attributes
    ----------
    attributes
        Names, m of them.
    codes
        int32[n, m], from `EventVocabulary`: `UNSEEN`, `MISSING`, or the number of a word of that attribute.

    Raises
    ------
    ValueError
        Names and columns differ in number, a name stands twice, or a code is below 0.

    Examples
    --------
    >>> batch = EventBatch(("user", "host"), np.array([[2, 2], [3, 2]], np.int32))
    >>> len(batch), batch.rows(np.array([1])).codes.tolist()
    (2, [[3, 2]])
    """

    attributes: tuple[str, ...]
    codes: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.dtype != np.int32 or self.codes.shape[1] != len(self.attributes):
            raise ValueError(
                f"codes must be int32[n, {len(self.attributes)}] for attributes {', '.join(self.attributes)}; "
                f"they are {self.codes.dtype}{list(self.codes.shape)}",
            )
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError(f"an attribute stands twice among {', '.join(self.attributes)}")
        if self.codes.size and int(self.codes.min()) < 0:
            raise ValueError(f"code {int(self.codes.min())} is below 0; make codes by EventVocabulary.encode")

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, where: npt.NDArray[np.intp] | npt.NDArray[np.bool_] | slice) -> "EventBatch":
        """Some of the events."""
        return EventBatch(self.attributes, np.ascontiguousarray(self.codes[where]))

    def sizes(self) -> npt.NDArray[np.int64]:
        """int64[m], codes that a table of each attribute must have room for to hold this batch."""
        if not len(self):
            return np.full(len(self.attributes), FIRST_VALUE, np.int64)
        sizes: npt.NDArray[np.int64] = np.maximum(self.codes.max(axis=0).astype(np.int64) + 1, FIRST_VALUE)
        return sizes
