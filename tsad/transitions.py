"""From calibrated rows to alarm transitions with their explanation."""

from typing import Protocol

import numpy as np

from tsad.alarms import ANOMALY_RULE, SEVERITIES, AlarmBook, AlarmTransition, Verdict
from tsad.detectors.base import Scores
from tsad.explanation import leading_channels, number, severity_of
from tsad.kernels.episodes import CLEAR, RAISE
from tsad.observations import RowBatch
from tsad.quality.alarms import masked_channels
from tsad.scoring_tier import TierScores
from tsad.series import SeriesTable
from tsad.settings import AlarmSettings

__all__ = ["Budgeted", "alarm_transitions"]


class Budgeted(Protocol):
    """Settings of whoever raises alarms."""

    @property
    def alarm(self) -> AlarmSettings:
        """The accepted false alarms a day."""

    @property
    def rows_per_day(self) -> float:
        """Steps in a day."""


def alarm_transitions(
    book: AlarmBook, table: SeriesTable, rows: RowBatch, found: TierScores, settings: Budgeted
) -> list[AlarmTransition]:
    """Enter what rows raise, change and clear.

    Parameters
    ----------
    book, table
        The stream's alarms, and its series.
    rows, found
        m rows, and what a tier said of them.
    settings
        Of the stream.
    """
    transitions = []
    calibrated = found.calibrated
    budget = settings.alarm.false_alarms_per_day / settings.rows_per_day
    for i in np.flatnonzero(calibrated.events):
        event = calibrated.events[i]
        series = int(rows.series[i])
        rate = calibrated.rates[i]
        verdicts = tuple(
            Verdict(name, number(s.score[i]), number(found.p_values(name)[i])) for name, s in found.said.items()
        )
        # The detector that found the row oddest explains it.
        leader = min(verdicts, key=lambda v: 2.0 if v.p_value is None else v.p_value).detector
        transitions.append(
            book.step(
                "alarm.raised" if event == RAISE else "alarm.cleared" if event == CLEAR else "alarm.updated",
                table.assets[series],
                ANOMALY_RULE,
                int(rows.times[i]),
                (int(rows.partitions[i]), int(rows.offsets[i])),
                severity=SEVERITIES[0] if event == CLEAR else severity_of(rate, budget),
                details={
                    "score": number(found.verdict[i]),
                    "threshold": number(calibrated.thresholds[i]),
                    "p_value": number(calibrated.p_values[i]),
                    "one_in_days": number(1.0 / (rate * settings.rows_per_day)),
                    "contributions": leading_channels(
                        table.channel_names(series), rows.values[i], found.said[leader], int(i)
                    ),
                    "verdicts": verdicts,
                    "nearest_normal": _nearest(found.said[leader], int(i)),
                    "masked": masked_channels(table, rows, int(i)),
                },
            ),
        )
    return transitions


def _nearest(scores: Scores, row: int) -> int | None:
    """When the normal window ended that is nearest to the one that ends at a row."""
    time = 0 if scores.nearest is None else int(scores.nearest[row])
    return time or None
