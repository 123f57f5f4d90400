"""A uniform sample of everything that was learnt, for learning on without forgetting it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.events.batch import EventBatch
from tsad.events.packing import taken

__all__ = ["ReplayBuffer"]


class ReplayBuffer:
    """Keeps a uniform random sample of the events that were put in.

    Every event gets a random key; the smallest keys stay. Source: reservoir sampling, J. S. Vitter, "Random Sampling
    with a Reservoir", ACM TOMS 11, 1985, in the form with keys.

    Parameters
    ----------
    capacity
        Events kept.

    Examples
    --------
    >>> buffer = ReplayBuffer(2)
    >>> buffer.add(EventBatch(("a",), np.arange(2, 12, dtype=np.int32)[:, None]), np.random.default_rng(0))
    >>> len(buffer.codes)
    2
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.codes = np.zeros((0, 0), np.int32)
        self._keys = np.zeros(0)

    def add(self, events: EventBatch, generator: np.random.Generator) -> None:
        """Put events in."""
        keys = np.concatenate((self._keys, generator.random(len(events))))
        codes = np.concatenate((self.codes, events.codes)) if len(self._keys) else events.codes
        if len(keys) > self.capacity:
            kept = np.sort(np.argpartition(keys, self.capacity)[: self.capacity])
            keys, codes = keys[kept], codes[kept]
        self._keys, self.codes = keys, np.ascontiguousarray(codes)

    def sample(self, count: int, generator: np.random.Generator) -> npt.NDArray[np.int32]:
        """int32[k, m], up to `count` of the events kept, each once."""
        chosen = generator.permutation(len(self.codes))[:count]
        return self.codes[np.sort(chosen)]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The sample as named arrays."""
        return {"replay/codes": self.codes.copy(), "replay/keys": self._keys.copy()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored sample."""
        self.codes, self._keys = taken(state, "replay/codes"), taken(state, "replay/keys")
