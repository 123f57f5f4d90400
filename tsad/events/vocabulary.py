"""The words of every attribute, numbered in the order in which they came."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tsad.events.batch import FIRST_VALUE, MISSING, UNSEEN, EventBatch
from tsad.events.binning import Binning
from tsad.events.errors import EventFormatError
from tsad.events.packing import pack_json, pack_words, taken, unpack_json, unpack_words

__all__ = ["LARGEST_VOCABULARY", "EventVocabulary", "MixedTypesWarning"]

LARGEST_VOCABULARY = 5_000_000
"""Words of one attribute, unless asked otherwise."""

_NAMES = {UNSEEN: "(unseen)", MISSING: "(missing)"}


class MixedTypesWarning(UserWarning):
    """A column holds values of several types, or lists; they were taken as text."""


class EventVocabulary:
    """Turns columns of values into codes, and codes back into words. Grows with what comes.

    Values are compared as text: 3 and "3" are one word. Null, NaN and "" are `MISSING`.

    Parameters
    ----------
    attributes
        Names of the attributes, in order.
    missing
        ``entity`` makes an empty value an entity of its own, ``raise`` refuses it.
    strict
        Refuse a column of mixed types or of lists, instead of taking it as text with one warning.
    limit, overflow
        Words of one attribute at most; further ones are refused, or count as `UNSEEN`.
    binnings
        By attribute of numbers or times: how they become words. Stored with the words.

    Examples
    --------
    >>> words = EventVocabulary(("user", "host"))
    >>> words.encode({"user": ["ann", "bob", None], "host": ["a", "a", "b"]}).codes.tolist()
    [[2, 2], [3, 2], [1, 3]]
    >>> words.encode({"user": ["eve"], "host": ["a"]}, grow=False).codes.tolist()
    [[0, 2]]
    >>> words.words("user", [3, 1, 0])
    ['bob', '(missing)', '(unseen)']
    """

    def __init__(
        self,
        attributes: Sequence[str],
        *,
        missing: Literal["entity", "raise"] = "entity",
        strict: bool = False,
        limit: int = LARGEST_VOCABULARY,
        overflow: Literal["raise", "unseen"] = "raise",
        binnings: Mapping[str, Binning] | None = None,
    ) -> None:
        self.attributes = tuple(attributes)
        if not self.attributes or len(set(self.attributes)) < len(self.attributes):
            raise EventFormatError(f"attributes are {list(self.attributes)}; give at least one, and each once")
        if missing not in {"entity", "raise"}:
            raise EventFormatError(f"missing is {missing!r}; choose entity or raise")
        self._missing = missing
        self._strict = strict
        if overflow not in {"raise", "unseen"}:
            raise EventFormatError(f"overflow is {overflow!r}; choose raise or unseen")
        self._limit = limit
        self._overflow = overflow
        self._binnings = dict(binnings or {})
        unknown = sorted(set(self._binnings) - set(self.attributes))
        if unknown:
            raise EventFormatError(f"bins are given for {unknown[0]!r}, which is no attribute")
        self._words: list[list[str]] = [[] for _ in self.attributes]
        self._codes: list[dict[str, int]] = [{} for _ in self.attributes]

    def sizes(self) -> tuple[int, ...]:
        """Words known of each attribute, the two reserved codes not counted."""
        return tuple(len(words) for words in self._words)

    def encode(self, columns: Mapping[str, Any], *, grow: bool = True) -> EventBatch:
        """Turn columns into a batch.

        Parameters
        ----------
        columns
            By attribute: a sequence, a NumPy array, or an Arrow array of n values.
        grow
            Number new words; else they are `UNSEEN`.

        Raises
        ------
        EventFormatError
            The columns are not those declared, differ in length, hold an empty value with ``missing="raise"``, mix
            types under `strict`, or have more words than the limit.
        """
        if set(columns) != set(self.attributes):
            raise EventFormatError(
                f"events need the attributes {', '.join(self.attributes)}; given are {', '.join(map(str, columns))}",
            )
        parts = [self._column(place, columns[name], grow) for place, name in enumerate(self.attributes)]
        if len({len(part) for part in parts}) > 1:
            lengths = ", ".join(f"{name} {len(part)}" for name, part in zip(self.attributes, parts, strict=True))
            raise EventFormatError(f"columns differ in length: {lengths}")
        return EventBatch(self.attributes, np.ascontiguousarray(np.column_stack(parts), dtype=np.int32))

    def _column(self, place: int, values: Any, grow: bool) -> npt.NDArray[np.int32]:
        name = self.attributes[place]
        text = self._text(name, self._binnings[name].bins(values) if name in self._binnings else values)
        empty = pc.fill_null(pc.equal(text, ""), fill_value=True)
        if self._missing == "raise" and pc.any(empty).as_py():
            raise EventFormatError(f"attribute {name!r} is empty in event {pc.index(empty, value=True).as_py()}")
        encoded = text.dictionary_encode()
        dictionary, table = encoded.dictionary.to_pylist(), self._codes[place]
        codes = np.empty(len(dictionary) + 1, np.int32)
        codes[-1] = MISSING
        for number, word in enumerate(dictionary):
            code = MISSING if not word else table.get(word)
            if code is None:
                code = self._new(place, word) if grow else UNSEEN
            codes[number] = code
        positions = pc.fill_null(encoded.indices, len(dictionary)).to_numpy(zero_copy_only=False)
        found: npt.NDArray[np.int32] = codes[positions]
        return found

    def _new(self, place: int, word: str) -> int:
        words = self._words[place]
        if len(words) >= self._limit:
            if self._overflow == "unseen":
                return UNSEEN
            raise EventFormatError(
                f"attribute {self.attributes[place]!r} has more than {self._limit} words; hash or bin its values",
            )
        words.append(word)
        self._codes[place][word] = code = FIRST_VALUE + len(words) - 1
        return code

    def _text(self, name: str, values: Any) -> Any:
        """The column as an Arrow array of text, null where a value is missing."""
        try:
            array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, from_pandas=True)
            if isinstance(array, pa.ChunkedArray):
                array = array.combine_chunks()
            if pa.types.is_dictionary(array.type):
                array = array.dictionary_decode()
            if pa.types.is_boolean(array.type) or not pa.types.is_nested(array.type):
                return array.cast(pa.string())
            problem = f"holds {array.type}"
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            problem = f"mixes types ({error})"
        if self._strict:
            raise EventFormatError(f"attribute {name!r} {problem}; give it one type, or leave strict out")
        warnings.warn(f"attribute {name!r} {problem}; its values are taken as text", MixedTypesWarning, stacklevel=4)
        plain = values.to_pylist() if isinstance(values, pa.Array | pa.ChunkedArray) else list(values)
        return pa.array([None if _is_empty(value) else str(value) for value in plain], pa.string())

    def words(self, attribute: str, codes: Sequence[int] | npt.NDArray[np.int32]) -> list[str]:
        """Return the words of codes; the two reserved ones in brackets.

        Raises
        ------
        EventFormatError
            There is no such attribute.
        """
        if attribute not in self.attributes:
            raise EventFormatError(f"there is no attribute {attribute!r}; there are {', '.join(self.attributes)}")
        words = self._words[self.attributes.index(attribute)]
        return [_NAMES[code] if code in _NAMES else words[code - FIRST_VALUE] for code in map(int, codes)]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The words as named arrays."""
        binnings = {name: [bins.kind, bins.edges] for name, bins in self._binnings.items()}
        state: dict[str, npt.NDArray[Any]] = {
            "attributes": pack_json(list(self.attributes)), "binnings": pack_json(binnings),
        }  # fmt: skip
        for place, words in enumerate(self._words):
            state[f"{place}/text"], state[f"{place}/ends"] = pack_words(words)
        return state

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state.

        Raises
        ------
        SnapshotError
            It is damaged.
        EventFormatError
            It is of other attributes.
        """
        stored = tuple(unpack_json(taken(state, "attributes")))
        if stored != self.attributes:
            raise EventFormatError(
                f"the stored words are of {', '.join(stored)}; declared are {', '.join(self.attributes)}"
            )
        binnings = unpack_json(taken(state, "binnings"))
        self._binnings = {name: Binning(kind, tuple(edges)) for name, (kind, edges) in binnings.items()}
        for place in range(len(self.attributes)):
            words = unpack_words(taken(state, f"{place}/text"), taken(state, f"{place}/ends"))
            self._words[place] = words
            self._codes[place] = {word: FIRST_VALUE + number for number, word in enumerate(words)}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))
