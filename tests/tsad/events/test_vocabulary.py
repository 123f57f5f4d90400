import warnings
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsad.errors import SnapshotError
from tsad.events.batch import FIRST_VALUE, MISSING, UNSEEN, EventBatch
from tsad.events.errors import EventFormatError
from tsad.events.vocabulary import EventVocabulary, MixedTypesWarning

VALUES = st.one_of(st.none(), st.text(max_size=4))


def plain_codes(columns, known):
    """Codes by a loop over values."""
    found = []
    for i, column in enumerate(columns):
        codes = []
        for value in column:
            if value is None or value == "":
                codes.append(MISSING)
            else:
                codes.append(known[i].setdefault(value, FIRST_VALUE + len(known[i])))
        found.append(codes)
    return np.array(found, np.int32).T.reshape(-1, len(columns))


@given(batches=st.lists(st.lists(st.tuples(VALUES, VALUES), max_size=8), max_size=4))
def test_codes_equal_a_plain_loop_over_batches_and_restarts(batches):
    words, known = EventVocabulary(("a", "b")), ({}, {})
    for rows in batches:
        columns = ([row[0] for row in rows], [row[1] for row in rows])
        batch = words.encode({"a": columns[0], "b": columns[1]})
        np.testing.assert_array_equal(batch.codes, plain_codes(columns, known))
        for place, name in enumerate(("a", "b")):
            back = words.words(name, batch.codes[:, place])
            assert back == [v or "(missing)" for v in columns[place]]
        other = EventVocabulary(("a", "b"))
        other.restore(words.state())
        words = other


@pytest.mark.parametrize(
    "column",
    [
        [3, 4, 3],
        np.array([3, 4, 3], np.uint8),
        ["3", "4", "3"],
        pa.array(["3", "4", "3"]).dictionary_encode(),
        pa.chunked_array([["3"], ["4", "3"]]),
    ],
    ids=["int", "numpy", "text", "categorical", "chunks"],
)
def test_columns_of_all_kinds_have_the_same_words(column):
    words = EventVocabulary(("a",))
    assert words.encode({"a": column}).codes.ravel().tolist() == [2, 3, 2]
    assert words.words("a", [2, 3]) == ["3", "4"]
    assert words.sizes() == (2,)


def test_nan_and_null_and_empty_are_missing():
    codes = EventVocabulary(("a",)).encode({"a": [float("nan"), None, 1.5]}).codes.ravel()
    assert codes.tolist() == [MISSING, MISSING, 2]
    assert EventVocabulary(("a",)).encode({"a": ["", "x"]}).codes.ravel().tolist() == [MISSING, 2]


def test_unknown_words_are_unseen_without_growing():
    words = EventVocabulary(("a",))
    words.encode({"a": ["x"]})
    assert words.encode({"a": ["y", "x"]}, grow=False).codes.ravel().tolist() == [UNSEEN, 2]
    assert words.sizes() == (1,)


def test_a_missing_column_lists_expected_and_given():
    words = EventVocabulary(("user", "host"))
    for columns in ({"user": ["a"]}, {"user": ["a"], "host": ["b"], "zone": ["c"]}):
        with pytest.raises(EventFormatError, match=f"need the attributes user, host; given are {', '.join(columns)}"):
            words.encode(columns)
    with pytest.raises(EventFormatError, match="differ in length: user 1, host 2"):
        words.encode({"user": ["a"], "host": ["b", "c"]})


@pytest.mark.parametrize("column", [["x", 3], [["x"], ["y"]], [{"k": 1}, None]], ids=["mixed", "lists", "records"])
def test_mixed_types_become_text_with_one_warning(column):
    words = EventVocabulary(("a",))
    with pytest.warns(MixedTypesWarning, match="attribute 'a'") as told:
        codes = words.encode({"a": column}).codes.ravel()
    assert len(told) == 1
    assert codes[0] == 2
    assert words.words("a", [2]) == [str(column[0])]
    assert (codes[1] == MISSING) == (column[1] is None)
    with pytest.raises(EventFormatError, match="leave strict out"):
        EventVocabulary(("a",), strict=True).encode({"a": column})


def test_empty_values_can_be_refused():
    with pytest.raises(EventFormatError, match="attribute 'a' is empty in event 1"):
        EventVocabulary(("a",), missing="raise").encode({"a": ["x", None]})


def test_too_many_words_are_told():
    words = EventVocabulary(("a",), limit=2)
    with pytest.raises(EventFormatError, match="'a' has more than 2 words; hash or bin"):
        words.encode({"a": ["x", "y", "z"]})


def test_dates_are_words():
    words = EventVocabulary(("day",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert words.encode({"day": [date(2024, 1, 2)]}).codes.tolist() == [[2]]


def test_a_state_of_other_attributes_is_refused():
    words = EventVocabulary(("a",))
    with pytest.raises(EventFormatError, match="of a; declared are b"):
        EventVocabulary(("b",)).restore(words.state())
    with pytest.raises(SnapshotError, match="lacks '0/text'"):
        EventVocabulary(("a",)).restore({key: words.state()[key] for key in ("attributes", "binnings")})


@pytest.mark.parametrize("attributes", [(), ("a", "a")])
def test_attributes_must_be_told_once(attributes):
    with pytest.raises(EventFormatError, match="at least one, and each once"):
        EventVocabulary(attributes)


@pytest.mark.parametrize(
    ("attributes", "codes", "message"),
    [
        (("a",), np.zeros((2, 2), np.int32), r"int32\[n, 1\]"),
        (("a",), np.zeros((2, 1), np.int64), "int64"),
        (("a", "a"), np.zeros((2, 2), np.int32), "stands twice"),
        (("a",), np.full((2, 1), -1, np.int32), "below 0"),
    ],
)
def test_batches_that_make_no_sense_are_refused(attributes, codes, message):
    with pytest.raises(ValueError, match=message):
        EventBatch(attributes, codes)
