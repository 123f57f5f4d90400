"""Anomalies laid into event sets that have none: seeded, by a named policy, and said in every record.

Source of the replacement rule: T. Chen et al., "Entity Embedding-based Anomaly Detection for Heterogeneous Categorical
Events", IJCAI 2016: artificial anomalies replace c = 1, 2, 3 values of normal test events.
"""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation.datasets.events import LabelledEvents
from evaluation.errors import InvalidInputError

__all__ = ["INJECTED", "REDTEAM_POLICY", "REPLACEMENT_POLICY", "join_redteam", "replace_values"]

INJECTED = 100
"""Events that are laid into a test part."""

REPLACEMENT_POLICY = (
    "injected values, policy 1: copies of {number} random test events, each with {values} values exchanged for those "
    "of other training events (so drawn by frequency), drawn again until the event occurs nowhere; seed {seed}"
)
REDTEAM_POLICY = (
    "injected red team, policy 1: copies of {number} random test events with source user, source host and target host "
    "of random red-team logons, and the target user too where it was the source user; seed {seed}"
)

_ATTEMPTS = 100


def replace_values(events: LabelledEvents, values: int, *, number: int = INJECTED, seed: int = 0) -> LabelledEvents:
    """Lay in copies of test events with some values exchanged.

    Parameters
    ----------
    events
        A set without anomalies in its test part.
    values
        c, how many values of each copy are exchanged.
    number, seed
        Copies, and the source of randomness.

    Returns
    -------
    LabelledEvents
        Each copy stands behind its original, at its time, with label 1.

    Raises
    ------
    InvalidInputError
        There are fewer attributes than values, no training or no test part, or no new combination is found.
    """
    width = events.table.width
    if not 1 <= values <= width:
        raise InvalidInputError(f"{values} values cannot be exchanged in events of {width} attributes")
    if not 0 < events.train_length < len(events.labels):
        raise InvalidInputError(f"{events.dataset}/{events.name} needs a training and a test part to lay anomalies in")
    generator = np.random.default_rng((seed, values))
    codes = np.column_stack([column.to_physical().to_numpy().astype(np.int64) for column in events.table])
    known = {row.tobytes() for row in codes}
    originals = _test_rows(events, number, generator)
    # Row of the recording that each value of each copy comes from.
    sources = np.repeat(originals[:, None], width, axis=1)
    for copy, original in enumerate(originals):
        for _ in range(_ATTEMPTS):
            changed = generator.choice(width, values, replace=False)
            row = np.full(width, original)
            row[changed] = generator.integers(events.train_length, size=values)
            made = codes[row, np.arange(width)]
            if (made != codes[original])[changed].all() and made.tobytes() not in known:
                sources[copy] = row
                break
        else:
            raise InvalidInputError(
                f"{events.dataset}/{events.name}: no new combination of event {original} in {_ATTEMPTS} attempts"
            )
    copies = pl.DataFrame([column.gather(sources[:, place]) for place, column in enumerate(events.table)])
    return _laid_in(events, copies, originals, f"injected-{values}")


def join_redteam(
    events: LabelledEvents, redteam: LabelledEvents, *, number: int = INJECTED, seed: int = 0
) -> LabelledEvents:
    """Lay in copies of test events that hold the user and the hosts of red-team logons.

    Parameters
    ----------
    events, redteam
        ``LANL-AUTH`` and ``LANL-REDTEAM``.
    number, seed
        As in `replace_values`.
    """
    generator = np.random.default_rng((seed, 0))
    originals = _test_rows(events, number, generator)
    logons = redteam.table[generator.choice(redteam.table.height, len(originals), replace=False)]
    copies = events.table[originals]
    own = copies["src_user"] == copies["dst_user"]
    words = {name: logons[name].cast(pl.String) for name in ("src_user", "src_pc", "dst_pc")}
    words["dst_user"] = words["src_user"].zip_with(own, copies["dst_user"].cast(pl.String))
    copies = copies.with_columns(**{name: word.cast(pl.Categorical) for name, word in words.items()})
    return _laid_in(events, copies, originals, "red-team")


def _test_rows(events: LabelledEvents, number: int, generator: np.random.Generator) -> NDArray[np.int64]:
    normal = np.flatnonzero(events.test_labels == 0) + events.train_length
    return np.sort(generator.choice(normal, min(number, len(normal)), replace=False))


def _laid_in(events: LabelledEvents, copies: pl.DataFrame, originals: NDArray[np.int64], name: str) -> LabelledEvents:
    order = np.argsort(np.concatenate((np.arange(len(events.labels)), originals + 0.5)), kind="stable")
    table = pl.concat([events.table, copies.select(events.table.columns)])[order]
    labels = np.concatenate((events.labels, np.ones(len(originals), np.uint8)))[order]
    return replace(
        events,
        name=f"{events.name}/{name}",
        times=np.concatenate((events.times, events.times[originals]))[order],
        table=table,
        labels=labels,
        kinds=pl.Series([name if label else None for label in labels.tolist()], dtype=pl.Categorical),
    )
