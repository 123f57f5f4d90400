"""Quality codes that senders give with their values, by coding."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["CODINGS", "Coding", "Quality", "judge_numbers", "judge_texts"]

Coding = Literal["opc_ua", "opc_da", "sparkplug", "text"]
CODINGS: tuple[Coding, ...] = ("opc_ua", "opc_da", "sparkplug", "text")


class Quality(IntEnum):
    """What a code says of its value. All but the first two make the value missing."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2
    STALE = 3
    UNKNOWN = 4  # not a code of this coding


_TEXTS = {"good": Quality.GOOD, "uncertain": Quality.UNCERTAIN, "bad": Quality.BAD, "stale": Quality.STALE}
_BY_TOP_BITS = np.array([Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.BAD], np.uint8)
_BY_DA_BITS = np.array([Quality.BAD, Quality.UNCERTAIN, Quality.UNKNOWN, Quality.GOOD], np.uint8)
_SPARKPLUG = {0: Quality.BAD, 192: Quality.GOOD, 500: Quality.STALE}


def judge_numbers(codes: npt.NDArray[np.int64], coding: Coding) -> npt.NDArray[np.uint8]:
    """`Quality` of numeric codes.

    ``opc_ua``: the status code, uint32; the two highest bits are the severity, and the reserved fourth counts as bad
    (OPC UA Part 4, 7.39). Info bits without an info type are not allowed there: such a code is one of another coding,
    mostly a classic 192 or 64, and says nothing. ``opc_da``: bits 6 and 7 of the lower byte, up to 16 bits (OPC DA
    3.0, 6.8). ``sparkplug``: 0, 192 and 500 alone (Sparkplug 3.0, property Quality).

    Parameters
    ----------
    codes
        int64[n].
    coding
        One with numbers.

    Returns
    -------
    uint8[n]

    Examples
    --------
    >>> judge_numbers(np.array([0, 0x40000000, 0x80000000, 192]), "opc_ua").tolist()
    [0, 1, 2, 4]
    >>> judge_numbers(np.array([192, 64, 0, 128]), "opc_da").tolist()
    [0, 1, 2, 4]
    """
    if coding == "opc_ua":
        found = _BY_TOP_BITS[(codes >> 30) & 3]
        foreign = (codes < 0) | (codes >= 1 << 32) | (((codes & 0xC00) == 0) & ((codes & 0x3FF) != 0))
    elif coding == "opc_da":
        found = _BY_DA_BITS[(codes >> 6) & 3]
        foreign = (codes < 0) | (codes >= 1 << 16)
    else:
        found = np.full(len(codes), Quality.UNKNOWN, np.uint8)
        for code, quality in _SPARKPLUG.items():
            found[codes == code] = quality
        return found
    return np.where(foreign, np.uint8(Quality.UNKNOWN), found)


def judge_texts(codes: Sequence[str]) -> npt.NDArray[np.uint8]:
    """`Quality` of codes in words: good, uncertain, bad, stale, in any case of letters.

    Examples
    --------
    >>> judge_texts(["Good", "BAD", "fine"]).tolist()
    [0, 2, 4]
    """
    return np.array([_TEXTS.get(code.strip().lower(), Quality.UNKNOWN) for code in codes], np.uint8)
