"""Isolation forest over how frequent the values of an event are."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from tsad.events.base import EventDetector, EventScores, Explanation
from tsad.events.batch import EventBatch
from tsad.events.entities import EntityCounts, check_half_life, decay
from tsad.events.packing import pack_json, taken, unpack_json
from tsad.events.replay import ReplayBuffer
from tsad.kernels.ape_baselines import isolation_depths

__all__ = ["EventIsolationForestDetector"]

_TREES = ("roots", "left", "right", "feature", "threshold", "leaf_depth")


class EventIsolationForestDetector(EventDetector):
    """Isolation forest of scikit-learn on columns that hold the log-frequency of each value.

    The trees are kept as plain arrays and walked by a compiled loop, so that a state needs no pickle. It sees rare
    values and odd mixtures of rare and frequent ones, but not which value it is.

    Source: F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation Forest", ICDM 2008.

    Parameters
    ----------
    trees, samples
        Number of trees, and events that each is grown on.
    seed
        Of the forest and of the replay buffer.
    half_life
        Events after which a count weighs half in `partial_fit`; None forgets nothing.
    replay
        Events kept to grow the forest again in `partial_fit`.
    """

    name: ClassVar[str] = "isolation-forest"
    summary: ClassVar[str] = "isolation forest over the frequencies of an event's values (Liu et al. 2008)"

    def __init__(
        self,
        *,
        trees: int = 100,
        samples: int = 256,
        seed: int = 0,
        half_life: float | None = None,
        replay: int = 20_000,
    ) -> None:
        super().__init__()
        if min(trees, samples - 1, replay) < 1:
            raise ValueError(f"trees {trees}, samples {samples}, replay {replay}: at least 1, 2 and 1 are needed")
        self._n_trees = trees
        self._samples = samples
        self._seed = seed
        self._half_life = check_half_life(self.name, half_life)
        self._replay = ReplayBuffer(replay)
        self._updates = 0
        self._entities = EntityCounts(np.zeros(1, np.int64), np.zeros(0))
        self._trees: dict[str, npt.NDArray[Any]] = {}
        self._norm = 1.0

    def _learn(self, training: EventBatch, judging: EventBatch) -> None:  # noqa: ARG002
        self._entities = EntityCounts.of(training)
        self._updates = 0
        self._replay = ReplayBuffer(self._replay.capacity)
        self._replay.add(training, np.random.default_rng((self._seed, self._updates)))
        self._grow(training)

    def _grow(self, events: EventBatch) -> None:
        # Here, because importing it takes longer than everything else of this package.
        from sklearn.ensemble import IsolationForest  # noqa: PLC0415

        forest = IsolationForest(
            n_estimators=self._n_trees, max_samples=min(self._samples, len(events)), random_state=self._seed, n_jobs=1
        )
        forest.fit(self._features(events))
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _TREES}
        start = 0
        for estimator in forest.estimators_:
            tree = estimator.tree_
            left, right = tree.children_left.astype(np.int64), tree.children_right.astype(np.int64)
            depth = np.zeros(len(left))
            for node in range(len(left)):  # a parent stands before its children
                if left[node] >= 0:
                    depth[left[node]] = depth[right[node]] = depth[node] + 1.0
            parts["roots"].append(np.array([start]))
            parts["left"].append(np.where(left >= 0, left + start, -1))
            parts["right"].append(np.where(right >= 0, right + start, -1))
            parts["feature"].append(tree.feature.astype(np.int64))
            parts["threshold"].append(tree.threshold.astype(np.float64))
            parts["leaf_depth"].append(depth + _average_path(tree.n_node_samples.astype(np.float64)))
            start += len(left)
        self._trees = {name: np.concatenate(found) for name, found in parts.items()}
        self._norm = float(_average_path(np.array([float(min(self._samples, len(events)))]))[0])

    def _features(self, events: EventBatch) -> npt.NDArray[np.float32]:
        """float32[n, m], log-frequency of every value."""
        shares = (self._entities.at(events) + 1.0) / (self._entities.totals() + 1.0)
        return np.asarray(np.log(shares), dtype=np.float32)

    def _scores(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        depths = np.empty(len(features))
        t = self._trees
        isolation_depths(
            np.ascontiguousarray(features), t["roots"], t["left"], t["right"], t["feature"], t["threshold"],
            t["leaf_depth"], depths,
        )  # fmt: skip
        return np.asarray(2.0 ** (-depths / self._norm))

    def score(self, events: EventBatch) -> EventScores:
        """Score events; see `EventDetector.score`."""
        return EventScores(self._scores(self._features(self.checked(events))), self._entities.unseen(events))

    def explain(self, events: EventBatch, count: int = 3) -> Explanation:
        """Name the value without which the event would score lowest; the most frequent values are expected."""
        features = self._features(self.checked(events))
        n, m = events.codes.shape
        whole = self._scores(features)
        surprise = np.zeros((n, m))
        expected = np.full((n, m, count), -1, np.int32)
        totals = self._entities.totals()
        for place in range(m):
            likely = self._entities.frequent(place, count)
            expected[:, place, : len(likely)] = likely
            usual = features.copy()
            usual[:, place] = np.log((self._entities.of_attribute(place)[likely[0]] + 1.0) / (totals[place] + 1.0))
            surprise[:, place] = whole - self._scores(usual)
        return Explanation(surprise, expected, np.full((n, m, count), np.nan))

    def partial_fit(self, events: EventBatch) -> None:
        """Count newer events, and grow the forest again on a sample of all; see `EventDetector.partial_fit`."""
        self._entities = self._entities.plus(self.checked(events), decay(self._half_life, len(events)))
        self._updates += 1
        self._replay.add(events, np.random.default_rng((self._seed, self._updates)))
        self._grow(EventBatch(self.attributes, self._replay.codes))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Counts, trees and replay buffer."""
        description = {
            "attributes": self.attributes, "report": self.report, "updates": self._updates, "norm": self._norm,
        }  # fmt: skip
        return {
            "description": pack_json(description),
            "offsets": self._entities.offsets.copy(),
            "counts": self._entities.counts.copy(),
            **{f"trees/{name}": array.copy() for name, array in self._trees.items()},
            **self._replay.state(),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state; see `EventDetector.restore`."""
        description = unpack_json(taken(state, "description"))
        self._entities = EntityCounts(taken(state, "offsets"), taken(state, "counts"))
        self._trees = {name: taken(state, f"trees/{name}") for name in _TREES}
        self._replay.restore(state)
        self._updates, self._norm = int(description["updates"]), float(description["norm"])
        self.attributes, self.report = tuple(description["attributes"]), description["report"]


def _average_path(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean path length of an unsuccessful search among n samples (Liu et al. 2008, equation 1).

    Examples
    --------
    >>> _average_path(np.array([1.0, 2.0, 256.0])).round(3).tolist()
    [0.0, 1.0, 10.245]
    """
    many = np.maximum(samples, 3.0)
    long = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(samples <= 1.0, 0.0, np.where(samples == 2.0, 1.0, long))
