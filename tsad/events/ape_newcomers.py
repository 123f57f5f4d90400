"""Where the vector of a new value starts."""

import numpy as np
import numpy.typing as npt

from tsad.events.batch import UNSEEN, EventBatch

__all__ = ["expected_vectors"]

_EVENTS_EACH = 64
_CELLS = 20_000_000  # of a table of events times values


def expected_vectors(
    events: EventBatch,
    offsets: npt.NDArray[np.int64],
    known: npt.NDArray[np.bool_],
    vectors: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    prior: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Return vectors in which each new value has the mean vector of the values that its contexts expect.

    A new user who works like an accountant starts as the mean of the accountants. The mean is over the values of that
    attribute, each weighted by its probability given the rest of the event, and over the value's first 64 events.

    Parameters
    ----------
    events
        That hold the new values.
    offsets
        int64[m + 1], of tables with room for them.
    known
        bool[e], values with a vector.
    vectors, weights, prior
        float32[e, d], float64[m, m], and float64[e] by which probabilities are multiplied.

    Returns
    -------
    float32[e, d]
    """
    found = vectors.copy()
    rows = events.codes + offsets[:-1]
    fresh = ~known[rows] & (events.codes != UNSEEN)
    stranger = offsets[:-1]
    context_rows = np.where(fresh, stranger, rows)
    for place in range(rows.shape[1]):
        where = _first_of_each(rows[:, place], fresh[:, place])
        start, stop = int(offsets[place]), int(offsets[place + 1])
        usable = known[start:stop] & (prior[start:stop] > 0)
        usable[UNSEEN] = False
        if not len(where) or not usable.any():
            continue
        table = vectors[start:stop][usable].astype(np.float64)
        log_prior = np.log(prior[start:stop][usable])
        sums = np.zeros((stop - start, vectors.shape[1]))
        numbers = np.zeros(stop - start)
        piece = max(1, _CELLS // len(table))
        for first in range(0, len(where), piece):
            chosen = where[first : first + piece]
            context = np.einsum("j,rjd->rd", weights[place], vectors[context_rows[chosen]].astype(np.float64))
            logits = context @ table.T + log_prior
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            expected = (shares / shares.sum(axis=1, keepdims=True)) @ table
            np.add.at(sums, rows[chosen, place] - start, expected)
            np.add.at(numbers, rows[chosen, place] - start, 1.0)
        new = np.flatnonzero(numbers)
        found[start + new] = sums[new] / numbers[new, None]
    return found


def _first_of_each(rows: npt.NDArray[np.int64], fresh: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Positions of the first events of each new value, at most 64 a value, in order."""
    where = np.flatnonzero(fresh)
    order = np.argsort(rows[where], kind="stable")
    sorted_rows = rows[where][order]
    _, first, counts = np.unique(sorted_rows, return_index=True, return_counts=True)
    rank = np.arange(len(sorted_rows)) - np.repeat(first, counts)
    return np.sort(where[order][rank < _EVENTS_EACH])
