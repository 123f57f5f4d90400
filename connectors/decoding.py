"""From bytes to observations: JSON with a configured mapping, wide or long."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from connectors.quality_decoding import QualityMapping, QualityReader
from connectors.sources.base import RecordBatch
from tsad.observations import ObservationBatch
from tsad.series import SeriesTable
from tsad.settings import Frozen

__all__ = ["Decoded", "MessageMapping", "NumericDecoder", "Rejected", "UnknownPolicy", "decode_time"]

TimeUnit = Literal["ns", "us", "ms", "s", "iso"]
_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_TIME = 4_102_444_800_000_000_000  # the year 2100: a later time is a unit error, not a measurement
_Policy = Literal["learn", "ignore", "dead_letter"]


class UnknownPolicy(Frozen):
    """What to do with assets and channels that the configuration does not name.

    ``learn`` takes them in, ``ignore`` passes over them, ``dead_letter`` sets the record aside. Channels default to
    ``learn`` where none is declared, otherwise to ``ignore``.
    """

    asset: _Policy = "learn"
    channel: _Policy | None = None


class MessageMapping(Frozen):
    """Where a message holds what.

    ``wide``: one asset, many channels, ``{"time": …, "asset": …, "values": {"flow": 1.5, …}}``.
    ``long``: one channel, ``{"time": …, "asset": …, "channel": …, "value": 1.5}``; without a channel field the asset
    has one channel, called ``value``.
    """

    layout: Literal["wide", "long"] = "wide"
    time: str = "time"
    time_unit: TimeUnit = "ms"
    asset: str = "asset"
    values: str = "values"
    channel: str | None = None
    value: str = "value"
    unknown: UnknownPolicy = UnknownPolicy()
    assets: tuple[str, ...] = Field(default=(), description="the assets that are known")
    quality: QualityMapping | None = Field(default=None, description="where the quality code of a value stands")

    @model_validator(mode="after")
    def _fields_differ(self) -> "MessageMapping":
        own = (self.values,) if self.layout == "wide" else (self.value, *((self.channel,) if self.channel else ()))
        names = [self.time, self.asset, *own, *((self.quality.field,) if self.quality else ())]
        if len(set(names)) < len(names):
            raise ValueError(f"message fields {names} must differ")
        return self


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that could not be used: its index in the batch, a reason for counting, and what exactly was wrong."""

    index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch of records held. `ignored` counts what the policy told to pass over, and values by quality code."""

    observations: ObservationBatch
    rejected: list[Rejected]
    ignored: Counter[str] = field(default_factory=Counter)


def decode_time(value: Any, unit: TimeUnit) -> int:
    """Event time in ns UTC.

    Raises
    ------
    ValueError
        It is no time, or lies beyond 1970 to 2100, which is what a wrong unit looks like.

    Examples
    --------
    >>> decode_time(1_700_000_000_000, "ms"), decode_time("2023-11-14T22:13:20Z", "iso")
    (1700000000000000000, 1700000000000000000)
    """
    if unit == "iso":
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            raise ValueError(f"time {value!r} is not an ISO 8601 text")
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        since = moment - _EPOCH
        ns = (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"time {value!r} is not a number of {unit}")
    else:
        # A float is taken apart first: nanoseconds since 1970 do not fit into one.
        whole, part = divmod(value, 1)
        ns = int(whole) * _NS[unit] + round(part * _NS[unit])
    if not 0 <= ns < _LAST_TIME:
        raise ValueError(f"time {value!r} is not within 1970 to 2100 as {unit}; check time_unit")
    return ns


class NumericDecoder:
    """Decodes the records of one numeric stream.

    A batch is decoded in one call; only when a record in it is bad is each looked at alone.

    Parameters
    ----------
    mapping
        Where a message holds what.
    table
        The stream's series; new assets and channels are added as the policy allows.
    """

    def __init__(self, mapping: MessageMapping, table: SeriesTable) -> None:
        self._mapping = mapping
        self._table = table
        self._wide = mapping.layout == "wide"
        for asset in mapping.assets:
            table.add(asset)
        self._one_channel_version = -1
        time_type: Any = datetime if mapping.time_unit == "iso" else int | float
        fields: list[Any] = [("time", time_type), ("asset", str)]
        renames = {"time": mapping.time, "asset": mapping.asset}
        declared = table.shared_channels
        self._fixed = self._wide and declared is not None
        if self._fixed:
            assert declared is not None
            columns = {f"c{i}": name for i, name in enumerate(declared)}
            values_type = msgspec.defstruct(
                "Values",
                [(name, float | None, math.nan) for name in columns],
                rename=columns,
                forbid_unknown_fields=mapping.unknown.channel == "dead_letter",
            )
            fields.append(("values", values_type))
            renames["values"] = mapping.values
        elif self._wide:
            fields.append(("values", dict[str, float | None]))
            renames["values"] = mapping.values
        else:
            fields.append(("value", float | None))
            renames["value"] = mapping.value
            if mapping.channel:
                fields.append(("channel", str))
                renames["channel"] = mapping.channel
        self._quality = QualityReader(mapping.quality) if mapping.quality else None
        if mapping.quality and self._quality:
            fields.append(("quality", self._quality.field_type(wide=self._wide), None))
            renames["quality"] = mapping.quality.field
        self._message = msgspec.defstruct("Message", fields, rename=renames)
        self._decoder: Any = msgspec.json.Decoder(self._message)

    def decode(self, batch: RecordBatch) -> Decoded:
        """Decode records; nothing is raised for bad data."""
        rejected: list[Rejected] = []
        ignored: Counter[str] = Counter()
        messages, kept = self._messages(batch.values, rejected)
        times, kept, messages = self._times(messages, kept, rejected)
        series = self._series(messages)
        if (series < 0).any():
            messages, times, series, kept = self._unknown_assets(messages, times, series, kept, rejected, ignored)
        if self._wide:
            values, channels = self._wide_values(messages, series), None
        else:
            columns = self._columns(messages, series, kept, rejected, ignored)
            usable = columns >= 0
            if not usable.all():
                where = np.flatnonzero(usable)
                messages = [messages[i] for i in where]
                times, series, kept, columns = times[where], series[where], kept[where], columns[where]
            with np.errstate(over="ignore"):
                values = np.array([m.value for m in messages], dtype=np.float64).astype(np.float32)[:, None]
            channels = columns
        if self._quality is not None:
            names = [] if channels is not None else [self._table.channel_names(s) for s in series.tolist()]
            self._quality.apply([m.quality for m in messages], values, names, ignored)
        observations = ObservationBatch(
            series=series,
            times=times,
            values=values,
            channels=channels,
            partitions=np.full(len(series), batch.partition, dtype=np.int32),
            offsets=batch.offsets[kept],
            arrivals=batch.arrivals[kept],
        )
        rejected.sort(key=lambda r: r.index)
        return Decoded(observations, rejected, ignored)

    # --------------------------------------------------------------------------------------------- messages

    def _messages(
        self, values: Sequence[bytes | None], rejected: list[Rejected]
    ) -> tuple[list[Any], npt.NDArray[np.int64]]:
        """Decoded messages, and the index of the record of each."""
        n = len(values)
        if n and None not in values:
            joined = b"\n".join(values)  # type: ignore[arg-type]
            # Without a line break inside a record, every line is one record, so nothing can be split or merged.
            if joined.count(b"\n") == n - 1:
                try:
                    messages = self._decoder.decode_lines(joined)
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                    messages = []
                if len(messages) == n:
                    return messages, np.arange(n)
        messages, kept = [], []
        for index, value in enumerate(values):
            try:
                messages.append(self._one(value))
                kept.append(index)
            except _BadRecordError as error:
                rejected.append(Rejected(index, error.reason, str(error)))
        return messages, np.array(kept, dtype=np.int64)

    def _one(self, value: bytes | None) -> Any:
        if not value:
            raise _BadRecordError("empty_message", "the record has no value")
        try:
            return self._decoder.decode(value)
        except msgspec.ValidationError as error:
            raise _BadRecordError(_reason(str(error)), str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # Some producers write NaN and Infinity, which JSON does not have; they mean "no value".
            try:
                return msgspec.convert(_without_nonfinite(json.loads(value)), self._message)
            except msgspec.ValidationError as further:
                raise _BadRecordError(_reason(str(further)), str(further)) from further
            except (ValueError, RecursionError):
                raise _BadRecordError("malformed_json", str(error)) from error

    def _times(
        self, messages: list[Any], kept: npt.NDArray[np.int64], rejected: list[Rejected]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[Any]]:
        unit = self._mapping.time_unit
        raw = [m.time for m in messages]
        if unit != "iso" and raw:
            try:
                array = np.array(raw)
            except OverflowError:
                array = np.empty(0, dtype=object)
            if array.dtype == np.int64 and len(array):
                factor = _NS[unit]
                if array.min() >= 0 and array.max() < _LAST_TIME // factor:
                    return array * factor, kept, messages
        times, good = [], []
        for i, value in enumerate(raw):
            try:
                times.append(decode_time(value, unit))
                good.append(i)
            except (ValueError, OverflowError) as error:
                rejected.append(Rejected(int(kept[i]), "bad_time", str(error)))
        return np.array(times, dtype=np.int64), kept[good], [messages[i] for i in good]

    # --------------------------------------------------------------------------------------------- series

    def _series(self, messages: list[Any]) -> npt.NDArray[np.int32]:
        return self._table.numbers([m.asset for m in messages])

    def _unknown_assets(
        self,
        messages: list[Any],
        times: npt.NDArray[np.int64],
        series: npt.NDArray[np.int32],
        kept: npt.NDArray[np.int64],
        rejected: list[Rejected],
        ignored: Counter[str],
    ) -> tuple[list[Any], npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        policy = self._mapping.unknown.asset
        unknown = np.flatnonzero(series < 0)
        if policy == "learn":
            for i in unknown:
                name = messages[i].asset
                if name:
                    series[i] = self._table.add(name)
                else:
                    rejected.append(Rejected(int(kept[i]), "missing_field", "the asset is an empty text"))
        elif policy == "ignore":
            ignored["unknown_asset"] += len(unknown)
        else:
            rejected += [
                Rejected(int(kept[i]), "unknown_asset", f"asset {messages[i].asset!r} is not declared") for i in unknown
            ]
        where = np.flatnonzero(series >= 0)
        return [messages[i] for i in where], times[where], series[where], kept[where]

    # --------------------------------------------------------------------------------------------- values

    def _wide_values(self, messages: list[Any], series: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        if self._fixed:
            rows = [msgspec.structs.astuple(m.values) for m in messages]
            flat = np.array(rows, dtype=np.float64).reshape(len(rows), -1 if rows else self._table.width)
            with np.errstate(over="ignore"):
                return flat.astype(np.float32)
        table = self._table
        placed: list[tuple[list[int], list[float | None]]] = []
        for message, number in zip(messages, series, strict=True):
            columns = [table.add_channel(int(number), name) for name in message.values]
            placed.append((columns, list(message.values.values())))
        values = np.full((len(messages), table.width), np.nan, dtype=np.float32)
        with np.errstate(over="ignore"):
            for row, (columns, numbers) in enumerate(placed):
                values[row, columns] = np.array(numbers, dtype=np.float64)
        return values

    def _columns(
        self,
        messages: list[Any],
        series: npt.NDArray[np.int32],
        kept: npt.NDArray[np.int64],
        rejected: list[Rejected],
        ignored: Counter[str],
    ) -> npt.NDArray[np.int32]:
        """Column of every long message, -1 where the policy keeps it out."""
        table, policy = self._table, self._mapping.unknown.channel
        if not self._mapping.channel:
            if table.shared_channels is None and self._one_channel_version != table.version:
                for number in range(len(table)):
                    table.add_channel(number, "value")
                self._one_channel_version = table.version
            return np.zeros(len(messages), dtype=np.int32)
        columns = np.array(
            [table.find_channel(s, m.channel) for s, m in zip(series.tolist(), messages, strict=True)], dtype=np.int32
        )
        for i in np.flatnonzero(columns < 0):
            name = messages[i].channel
            if table.shared_channels is None:
                columns[i] = table.add_channel(int(series[i]), name)
            elif policy == "ignore":
                ignored["unknown_channel"] += 1
            else:
                rejected.append(Rejected(int(kept[i]), "unknown_channel", f"channel {name!r} is not declared"))
        return columns


class _BadRecordError(Exception):
    """A record that goes to the dead letters; `reason` is what it is counted under."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _reason(detail: str) -> str:
    if "missing required field" in detail:
        return "missing_field"
    if "unknown field" in detail:
        return "unknown_channel"
    return "wrong_type"


def _without_nonfinite(value: Any) -> Any:
    """`value` with every NaN and infinity replaced by None."""
    if isinstance(value, dict):
        return {key: _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
