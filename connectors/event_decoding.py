"""From bytes to categorical events: JSON with a time field and declared attributes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from connectors.decoding import Rejected, TimeUnit, decode_time
from connectors.sources.base import RecordBatch

__all__ = ["DecodedEvents", "EventDecoder"]


@dataclass(frozen=True, slots=True)
class DecodedEvents:
    """What a batch of records held.

    Attributes
    ----------
    kept
        int64[n], index of the record of each event.
    times
        int64[n], ns UTC.
    columns
        Values by attribute as texts, None where an event has none.
    payloads
        The records as texts.
    rejected
        Records that could not be used.
    """

    kept: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    columns: dict[str, list[str | None]]
    payloads: list[str]
    rejected: list[Rejected]


class EventDecoder:
    """Decodes the events of one stream.

    Parameters
    ----------
    time, time_unit
        The field of the event time, and its unit.
    attributes
        Fields that are taken as categorical values. One that is missing or null is an empty value; texts, numbers and
        booleans are values; a list or an object makes the record bad.
    max_ahead
        How far the event time may lie ahead of the record's arrival, in ns.

    Examples
    --------
    >>> decoder = EventDecoder("time", "s", ("user", "port"))
    >>> batch = RecordBatch("t", 0, [b'{"time": 1, "user": "ann", "port": 22}', b"[]"], np.arange(2), np.zeros(2, int))
    >>> events = decoder.decode(batch)
    >>> events.columns, events.rejected[0].reason
    ({'user': ['ann'], 'port': ['22']}, 'wrong_type')
    """

    def __init__(
        self, time: str, time_unit: TimeUnit, attributes: Sequence[str] = (), *, max_ahead: int = 300 * 10**9
    ) -> None:
        self._time = time
        self._unit = time_unit
        self._attributes = tuple(attributes)
        self._max_ahead = max_ahead
        self._decoder = msgspec.json.Decoder()

    def decode(self, batch: RecordBatch) -> DecodedEvents:
        """Decode records; nothing is raised for bad data."""
        kept: list[int] = []
        times: list[int] = []
        payloads: list[str] = []
        values: list[list[str | None]] = []
        rejected: list[Rejected] = []
        arrivals = batch.arrivals.tolist()
        for index, record in enumerate(batch.values):
            try:
                document = self._document(record)
                time = self._time_of(document, arrivals[index])
                words = [self._word(name, document.get(name)) for name in self._attributes]
                payload = bytes(record or b"").decode()
            except _BadEventError as error:
                rejected.append(Rejected(index, error.reason, str(error)))
                continue
            kept.append(index)
            times.append(time)
            payloads.append(payload)
            values.append(words)
        columns = {name: [words[place] for words in values] for place, name in enumerate(self._attributes)}
        return DecodedEvents(np.array(kept, np.int64), np.array(times, np.int64), columns, payloads, rejected)

    def _document(self, record: bytes | None) -> dict[str, Any]:
        if not record:
            raise _BadEventError("empty_message", "the record has no value")
        try:
            document = self._decoder.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _BadEventError("malformed_json", str(error)) from error
        if not isinstance(document, dict):
            raise _BadEventError("wrong_type", "the record is not a JSON object")
        return document

    def _time_of(self, document: dict[str, Any], arrival: int) -> int:
        if self._time not in document:
            raise _BadEventError("missing_field", f"the field {self._time!r} is missing")
        try:
            time = decode_time(document[self._time], self._unit)
        except (ValueError, OverflowError) as error:
            raise _BadEventError("bad_time", str(error)) from error
        if arrival > 0 and time > arrival + self._max_ahead:
            ahead = (time - arrival) / 1e9
            raise _BadEventError("time_in_future", f"the event time lies {ahead:.0f} s ahead of the arrival")
        return time

    @staticmethod
    def _word(name: str, value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return str(value)
        kind = "list" if isinstance(value, list) else "object"
        raise _BadEventError("wrong_type", f"attribute {name!r} is a JSON {kind}; it must be a text, number or boolean")


class _BadEventError(Exception):
    """A record that goes to the dead letters; `reason` is what it is counted under."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
