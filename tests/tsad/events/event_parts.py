"""Small event sets for tests."""

import numpy as np

from tsad.events.batch import FIRST_VALUE, EventBatch

ATTRIBUTES = ("user", "process", "host", "zone")
PER_CLIQUE = 6


def cliques(n, seed=0, attributes=ATTRIBUTES):
    """Events of two groups that share no value."""
    rng = np.random.default_rng(seed)
    clique = rng.integers(0, 2, n)
    values = rng.integers(0, PER_CLIQUE, (n, len(attributes)))
    return EventBatch(attributes, (FIRST_VALUE + clique[:, None] * PER_CLIQUE + values).astype(np.int32))


def mixed(events, place=0):
    """The same events with one value of the other group."""
    codes = events.codes.copy()
    own = codes[:, place] - FIRST_VALUE
    codes[:, place] = FIRST_VALUE + (own + PER_CLIQUE) % (2 * PER_CLIQUE)
    return EventBatch(events.attributes, codes)


def auc(odd, normal):
    """Chance that an odd score is higher; ties count one half."""
    return float((odd[:, None] > normal).mean() + 0.5 * (odd[:, None] == normal).mean())
