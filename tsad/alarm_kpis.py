"""Figures by which an alarm system is judged: rate, floods, bad actors, chattering, fleeting and standing alarms.

Source: the measures and aims of ISA-18.2 and IEC 62682, clause on monitoring and assessment, as commonly quoted.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["AlarmKpis", "alarm_kpis"]

_SECOND = 10**9
BUCKET = 600 * _SECOND
FLOOD_BEGINS, FLOOD_ENDS = 10, 5
CHATTER_TIMES, CHATTER_WITHIN = 3, 60 * _SECOND
FLEETING = 10 * _SECOND
STANDING = 86_400 * _SECOND
_TOP = 10


@dataclass(frozen=True, slots=True)
class AlarmKpis:
    """How operators were troubled over a stretch of time.

    Attributes
    ----------
    alarms
        Episodes that began.
    average_per_10_minutes, most_in_10_minutes
        About 1 is the aim, 2 the limit of what a person can handle; over stretches of 10 minutes from the beginning.
    flood_share
        Share of the 10-minute stretches in a flood: from one with more than 10 alarms until one with fewer than 5.
    top_10_share
        Share of the ten most frequent alarms; NaN without any.
    chattering
        Alarms that were raised three times or more within a minute.
    fleeting
        Episodes that were over within 10 s.
    standing
        Episodes that lasted, or have lasted at the end, more than a day.
    """

    alarms: int
    average_per_10_minutes: float
    most_in_10_minutes: int
    flood_share: float
    top_10_share: float
    chattering: int
    fleeting: int
    standing: int


def alarm_kpis(
    alarms: npt.NDArray[np.int64],
    started: npt.NDArray[np.int64],
    ended: npt.NDArray[np.int64],
    since: int,
    until: int,
) -> AlarmKpis:
    """Judge the episodes that began in a stretch of time.

    Parameters
    ----------
    alarms
        int64[n], a number for each alarm, the same for all its episodes.
    started, ended
        int64[n], ns UTC; `ended` is -1 where the episode still stands.
    since, until
        The stretch, ns UTC.

    Raises
    ------
    ValueError
        The stretch is empty.

    Examples
    --------
    >>> minute = 60 * 10**9
    >>> started = np.arange(12) * minute // 4
    >>> found = alarm_kpis(np.zeros(12, int), started, started + minute, 0, 20 * minute)
    >>> found.alarms, found.most_in_10_minutes, found.flood_share, found.chattering
    (12, 12, 0.5, 1)
    """
    if not since < until:
        raise ValueError(f"the stretch from {since} to {until} is empty")
    inside = (started >= since) & (started < until)
    alarms, started, ended = alarms[inside], started[inside], ended[inside]
    buckets = -(-(until - since) // BUCKET)
    counts = np.bincount((started - since) // BUCKET, minlength=buckets)
    flood, floods = False, 0
    for count in counts.tolist():
        flood = count > FLOOD_BEGINS or (flood and count >= FLOOD_ENDS)
        floods += flood
    frequent = np.sort(np.unique(alarms, return_counts=True)[1])[::-1]
    last = np.where(ended < 0, until, ended) - started
    return AlarmKpis(
        alarms=len(started),
        average_per_10_minutes=len(started) * BUCKET / (until - since),
        most_in_10_minutes=int(counts.max()),
        flood_share=floods / buckets,
        top_10_share=float(frequent[:_TOP].sum() / len(started)) if len(started) else float("nan"),
        chattering=sum(_chatters(np.sort(started[alarms == one])) for one in np.unique(alarms)),
        fleeting=int(((ended >= 0) & (last <= FLEETING)).sum()),
        standing=int((last > STANDING).sum()),
    )


def _chatters(started: npt.NDArray[np.int64]) -> bool:
    apart = started[CHATTER_TIMES - 1 :] - started[: len(started) - CHATTER_TIMES + 1]
    return bool((apart <= CHATTER_WITHIN).any())
