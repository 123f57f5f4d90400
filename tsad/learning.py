"""Which series of a stream are learnt when: rows are gathered until there are enough, then the tiers learn."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.calibration.tail import CalibrationFit
from tsad.errors import NotEnoughDataError, StoppedError
from tsad.observations import RowBatch, RowFlag
from tsad.quality.sensors import SensorWatch
from tsad.series import SeriesTable
from tsad.series_arrays import Field, SeriesArrays, by_series
from tsad.stream_output import FitReport
from tsad.tiers import Tiers
from tsad.warm_up import WarmUp

__all__ = ["SeriesLearning"]


class SeriesLearning:
    """Takes rows of new series aside and lets the tiers learn them.

    Parameters
    ----------
    train_rows
        Rows from which a series is learnt.
    tiers, sensors, table
        Who learns, and the series.
    """

    def __init__(self, train_rows: int, tiers: Tiers, sensors: SensorWatch | None, table: SeriesTable) -> None:
        self._tiers = tiers
        self._sensors = sensors
        self._table = table
        self._warm_up = WarmUp(train_rows)
        self._series = SeriesArrays({"early_tried": Field(np.bool_)})
        self.is_stopping: Callable[[], bool] = lambda: False
        """Whether nothing more is to be learnt; asked before each series, since learning many takes long."""
        self.fit_count = 0
        """Series that were learnt."""
        self.model_count = 0
        """Models that were learnt, those of the first time among them."""

    def reserve(self, n_series: int) -> None:
        """Have room for `n_series` series."""
        self._series.reserve(n_series)

    def take(self, rows: RowBatch) -> tuple[list[FitReport], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Take in rows, in order; returns what was learnt, and the rows that the first and the own tier score.

        Raises
        ------
        StoppedError
            `is_stopping` said so.
        """
        none = np.zeros(0, np.intp)
        fitted = self._tiers.own.fitted
        waiting = ~fitted[rows.series]
        if not waiting.any():
            return [], none, np.arange(len(rows))
        reports: list[FitReport] = []
        early, late = [none], [np.flatnonzero(~waiting)]
        # Rows of maintenance are passed over like rows without values.
        values = np.where((rows.flags & RowFlag.MAINTENANCE)[:, None] != 0, np.float32(np.nan), rows.values)
        positions = np.flatnonzero(waiting)
        for series, own in by_series(rows.series[positions]):
            rest = positions[own]
            while len(rest) and not fitted[series]:
                watched = self._tiers.is_watched(series)
                first = None if watched or self._series.early_tried[series] else self._tiers.early_rows
                taken = self._warm_up.take(
                    series, values[rest], rows.times[rest], self._table.channel_count(series), until=first
                )
                if watched:
                    early.append(rest[:taken])
                time = int(rows.times[rest[taken - 1]])
                if first is not None and self._warm_up.count(series) >= first:
                    reports.append(self._fit_early(series, time))
                elif self._warm_up.is_full(series):
                    reports.append(self._fit(series, time))
                rest = rest[taken:]
            late.append(rest)
        return reports, np.sort(np.concatenate(early)), np.sort(np.concatenate(late))

    def _fit_early(self, series: int, time: int) -> FitReport:
        """Learn a series from its first rows, for the time until there are enough."""
        self._go_on()
        tier = self._tiers.early
        assert tier is not None
        train, times = self._warm_up.rows(series)
        asset = self._table.assets[series]
        self._series.early_tried[series] = True
        try:
            calibration = tier.fit(series, train, times)
        except NotEnoughDataError as error:
            return FitReport(asset, time, len(train), None, f"from its first rows: {error}")
        self.model_count += 1
        flags = ("early", *calibration.flags)
        return FitReport(asset, time, len(train), replace(calibration, flags=flags), None, tier.choices(series))

    def _fit(self, series: int, time: int) -> FitReport:
        self._go_on()
        train, times = self._warm_up.rows(series)
        asset = self._table.assets[series]
        try:
            calibration = self.fit(series, train, times)
        except NotEnoughDataError as error:
            self._warm_up.forget_oldest(series)
            return FitReport(asset, time, len(train), None, str(error))
        self._warm_up.drop(series)
        return FitReport(asset, time, len(train), calibration, None, self._tiers.own.choices(series))

    def _go_on(self) -> None:
        if self.is_stopping():
            raise StoppedError("learning was broken off; the batch is to be processed anew")

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> CalibrationFit:
        """Learn `series` from a quiet prefix; the next row is scored. See `tsad.engine.StreamEngine.fit`."""
        calibration = self._tiers.own.fit(series, train, times)
        if self._sensors is not None:
            self._sensors.learn(series, train)
        self.fit_count += 1
        self.model_count += 1
        return calibration

    def forget(self, series: int, start: int, end: int) -> int:
        """Take a bad period out of the rows that are gathered; returns how many."""
        return self._warm_up.forget(series, start, end)

    def adopted(self, series: Sequence[int]) -> None:
        """Note series that somebody else learnt."""
        self._series.early_tried[list(series)] = True
        self.fit_count += len(series)
        self.model_count += len(series)

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """Rows that are gathered, and what was tried of the first series, by ``part|name``."""
        parts = {"engine": self._series.state(n_series, fitted=fitted)}
        if not fitted:
            parts["warm_up"] = self._warm_up.state()
        return {f"{part}|{name}": array for part, values in parts.items() for name, array in values.items()}

    def restore(self, parts: dict[str, dict[str, npt.NDArray[Any]]], fits: int, models: int) -> None:
        """Continue from the union of both states, by part."""
        self._series.restore(parts.get("engine", {}))
        self._warm_up.restore(parts.get("warm_up", {}))
        self.fit_count, self.model_count = fits, models
