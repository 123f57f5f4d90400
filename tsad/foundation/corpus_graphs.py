"""Several channels of one plant: signals that drive each other with lags, and faults in them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsad.foundation.corpus_anomalies import inject
from tsad.foundation.corpus_signals import normal_series

__all__ = ["CausalGraph", "faulty_plant"]

Series = npt.NDArray[np.float64]
Generator = np.random.Generator

_LEAST_RESIDUAL = 3.0


@dataclass(frozen=True, slots=True)
class CausalGraph:
    """Channels in causal order; every one is driven by some of those before it.

    Attributes
    ----------
    weights
        float64[c, c], of parent j in channel i; 0 where there is no edge.
    lags
        int64[c, c], steps from parent to child.
    shapes
        int64[c, c], 0 linear, 1 saturating, 2 rectified, 3 smoothed.
    own
        float64[c, n], what every channel adds of its own: all of a root, a little of the others.
    """

    weights: npt.NDArray[np.float64]
    lags: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.int64]
    own: Series

    @classmethod
    def draw(cls, rng: Generator, channels: int, n: int) -> "CausalGraph":
        """Draw a graph of `channels` with one to three roots, and its roots' signals over n steps."""
        roots = min(channels, int(rng.integers(1, 4)))
        shape = (channels, channels)
        weights = np.zeros(shape)
        for i in range(roots, channels):
            parents = rng.choice(i, min(i, int(rng.integers(1, 4))), replace=False)
            weights[i, parents] = rng.choice([-1, 1], len(parents)) * rng.uniform(0.3, 1, len(parents))
        lags = np.where(rng.random(shape) < 0.5, 0, rng.integers(0, 17, shape))
        own = np.stack([_standard(normal_series(rng, n)) for _ in range(channels)])
        size = np.exp(rng.uniform(np.log(0.02), np.log(0.7), channels))
        # What a driven channel adds is noise, or another signal of its own.
        for i in range(roots, channels):
            own[i] = size[i] * (rng.standard_normal(n) if rng.random() < 0.7 else own[i])
        return cls(weights, lags, rng.integers(0, 4, shape), own)

    def driven(self, i: int, values: Series) -> Series:
        """What the parents of channel `i` make of it, float64[n], given the values of all channels before it."""
        total = np.zeros(values.shape[1])
        for j in np.flatnonzero(self.weights[i]):
            lag = int(self.lags[i, j])
            signal = np.concatenate([np.full(lag, values[j, 0]), values[j, : values.shape[1] - lag]])
            shape = self.shapes[i, j]
            if shape == 1:
                signal = np.tanh(1.5 * signal)
            elif shape == 2:
                signal = np.maximum(signal, 0.0)
            elif shape == 3:
                signal = np.convolve(np.pad(signal, (7, 0), mode="edge"), np.full(8, 0.125), "valid")
            total += self.weights[i, j] * signal
        return total

    def run(self, faults: dict[int, Series] | None = None) -> Series:
        """Values of all channels, float64[c, n].

        Parameters
        ----------
        faults
            What is added to a channel before it drives others (a fault of the process).
        """
        values = np.empty_like(self.own)
        for i in range(len(values)):
            values[i] = self.own[i] + self.driven(i, values)
            if faults and i in faults:
                values[i] += faults[i]
        return values


def faulty_plant(
    rng: Generator,
    channels: int,
    n: int,
    low: int,
    high: int,
    longest: int,
    *,
    most_faults: int = 2,
    common: float = 0.0,
) -> tuple[Series, Series, npt.NDArray[np.uint8]]:
    """Draw a plant with, or (one time in four) without, faults.

    A fault is *exogenous* (one channel's sensor; nobody else notices), *endogenous* (it happens in the process and its
    effects reach the children), a *broken tie* (a channel goes on as usual, but no longer with its parents), or, for
    a share `common` of them, one of a *unit*: several channels change at the same time, each in its way.

    Returns
    -------
    values, clean, labels
        float64[c, n] twice and uint8[c, n].
    """
    graph = CausalGraph.draw(rng, channels, n)
    clean = graph.run()
    values, labels = clean.copy(), np.zeros(clean.shape, np.uint8)
    if rng.random() < 0.25:
        return values, clean, labels
    for _ in range(rng.integers(1, most_faults + 1)):
        # Without common faults nothing is drawn here: the plants of earlier trainings stay what they were.
        if common and rng.random() < common:
            _fail_together(rng, values, labels, low, high, longest)
            continue
        i, kind = int(rng.integers(channels)), rng.random()
        if kind < 0.3 and graph.weights[i].any():
            _break_tie(rng, graph, i, values, labels, low, high, longest)
            continue
        found = inject(rng, values[i], low, high, longest)
        if found is None:
            continue
        changed, a, b, _ = found
        if kind < 0.65:
            values[i] = changed
            labels[i, a:b] = 1
            continue
        effect = graph.run({i: changed - values[i]}) - clean
        for c in np.flatnonzero(np.abs(effect).max(axis=1) > 0):
            noticed = np.abs(effect[c]) > _LEAST_RESIDUAL * _quick(values[c])
            # Lags and smoothing keep an effect for a while; it is an anomaly where it clearly exceeds what is usual.
            if c == i:
                noticed[:] = False
                noticed[a:b] = True
            values[c] += effect[c]
            labels[c] |= noticed
    return values, clean, labels


def _fail_together(
    rng: Generator, values: Series, labels: npt.NDArray[np.uint8], low: int, high: int, longest: int
) -> None:
    """Change two channels up to half of them in one stretch; labelled where each shows it by itself."""
    channels = len(values)
    length = round(np.exp(rng.uniform(np.log(6), np.log(max(7, longest)))))
    a = int(rng.integers(low, max(low + 1, high - length + 1)))
    b = min(a + length, high)
    for i in rng.choice(channels, int(rng.integers(2, max(2, channels // 2) + 1)), replace=False):
        found = inject(rng, values[i], a, b, b - a)
        if found is not None:
            values[i], start, end, _ = found
            labels[i, start:end] = 1


def _break_tie(
    rng: Generator,
    graph: CausalGraph,
    i: int,
    values: Series,
    labels: npt.NDArray[np.uint8],
    low: int,
    high: int,
    longest: int,
) -> None:
    """Let channel `i` follow its parents of another time for a while; labelled where its residual shows that."""
    length = int(np.exp(rng.uniform(np.log(12), np.log(max(13, longest)))))
    a = int(rng.integers(low, max(low + 1, high - length + 1)))
    b = min(a + length, high)
    n = values.shape[1]
    elsewhere = int(rng.integers(0, n))
    other = np.roll(values[i], elsewhere)[a:b]
    residual = np.abs(other - values[i, a:b])
    if b - a < 6 or residual.mean() < _LEAST_RESIDUAL * max(_quick(graph.own[i]), 0.1 * values[i].std()):
        return
    values[i, a:b] = other
    labels[i, a:b] = 1


def _quick(x: Series) -> float:
    """Size of a series' steps, robustly."""
    return float(np.median(np.abs(np.diff(x)))) / 0.95 + 1e-6


def _standard(x: Series) -> Series:
    return np.asarray((x - x.mean()) / (x.std() + 1e-9))
