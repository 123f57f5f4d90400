"""Quality codes in messages: what they make of the values they stand beside."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.quality.codes import Coding, Quality, judge_numbers, judge_texts
from tsad.settings import Frozen

__all__ = ["QualityMapping", "QualityReader"]

_FURTHEST = 1 << 62


class QualityMapping(Frozen):
    """Where a message holds the quality of its values, and how it is coded.

    In a wide message the field holds one code for all values, or an object of codes by channel. No code, null, or a
    channel that the object does not name: nothing was said against the value, so it is good.
    """

    field: str = "quality"
    coding: Coding


class QualityReader:
    """Takes out what senders call bad, and counts by quality.

    Parameters
    ----------
    mapping
        Where the codes stand.
    """

    def __init__(self, mapping: QualityMapping) -> None:
        self._coding: Coding = mapping.coding

    def field_type(self, *, wide: bool) -> Any:
        """Type of the field in a message; a code of another type is a dead letter of reason ``wrong_type``."""
        code: Any = str if self._coding == "text" else int
        return code | dict[str, code | None] | None if wide else code | None

    def apply(
        self,
        codes: Sequence[Any],
        values: npt.NDArray[np.float32],
        names: Sequence[Sequence[str]],
        counts: Counter[str],
    ) -> None:
        """Make values missing that are bad, stale, or of a code that this coding does not have; in place.

        Parameters
        ----------
        codes
            Of n messages: a code, codes by channel, or None.
        values
            float32[n, k].
        names
            Channel names by column of every message; none for long ones.
        counts
            Gets ``quality_good``, ``quality_uncertain`` and so on, a value each.
        """
        judged = self._judged([None if isinstance(code, Mapping) else code for code in codes])
        found = np.repeat(judged[:, None], values.shape[1], axis=1)
        for row, code in enumerate(codes):
            if isinstance(code, Mapping):
                given = dict(zip(code, self._judged(list(code.values())), strict=True))
                for column, name in enumerate(names[row]):
                    found[row, column] = given.get(name, Quality.GOOD)
        there = ~np.isnan(values)
        for quality, count in zip(*np.unique(found[there], return_counts=True), strict=True):
            counts[f"quality_{Quality(quality).name.lower()}"] += int(count)
        values[found > Quality.UNCERTAIN] = np.nan

    def _judged(self, codes: Sequence[Any]) -> npt.NDArray[np.uint8]:
        said = np.array([code is not None for code in codes], np.bool_)
        found = np.zeros(len(codes), np.uint8)
        given = [code for code in codes if code is not None]
        if self._coding == "text":
            found[said] = judge_texts(given)
        else:
            # A number beyond 64 bits is a code of no coding.
            whole = np.array([max(-1, min(code, _FURTHEST)) for code in given], np.int64)
            found[said] = judge_numbers(whole, self._coding)
        return found
