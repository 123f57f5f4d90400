"""The synthetic corpus: batches of windows with labels, clean twins and severity, each made from its number alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tsad.foundation.corpus_anomalies import inject
from tsad.foundation.corpus_graphs import faulty_plant
from tsad.foundation.corpus_signals import normal_series
from tsad.foundation.windows import normalise

__all__ = ["CorpusBatch", "CorpusSettings", "corpus_batch", "recorded_length"]

_MARGIN = 256
"""Steps that are made beyond a window and cut off, so that anomalies run over its edges."""
_RECORDED = 0.5


@dataclass(frozen=True, slots=True)
class CorpusSettings:
    """What the corpus is like.

    Attributes
    ----------
    window
        Steps of a window.
    batch
        Univariate windows a batch; a multivariate batch holds as many channels in all.
    anomalous
        Share of univariate windows in which anomalies are tried.
    most_anomalies
        Changes tried in one window.
    longest
        Longest change, as a share of the window.
    multivariate, most_channels
        Share of batches that hold several channels, and how many at most.
    most_faults, common
        Faults tried in one plant, and the share of them that hit several channels at once.
    padded, gaps
        Share of windows that begin late (a short series), and of windows with missing stretches.
    ends_inside
        Share of anomalous windows that are cut off within an anomaly, which is what a live detector sees.
    visible_only
        Changes that the rest of the window does not show are taken back instead of labelled.
    leave_out
        Names of normal signals and of changes that univariate windows are made without.
    """

    window: int = 512
    batch: int = 48
    anomalous: float = 0.75
    most_anomalies: int = 3
    longest: float = 0.5
    multivariate: float = 0.25
    most_channels: int = 8
    most_faults: int = 2
    common: float = 0.0
    padded: float = 0.15
    gaps: float = 0.05
    ends_inside: float = 0.2
    visible_only: bool = True
    leave_out: tuple[str, ...] = ()

    def without(self, **changes: float) -> "CorpusSettings":
        """The same corpus with some settings changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class CorpusBatch:
    """Windows as the network takes them.

    Attributes
    ----------
    values, clean
        float32[b, c, t], normalised by the window with its anomalies; the clean twin in the same units. 0 where there
        is nothing.
    labels
        float32[b, c, t], 1 anomalous.
    valid
        float32[b, c, t], 1 where there is a value.
    severity
        float32[b, c, t], distance from the clean twin in deviations of the clean window.
    """

    values: npt.NDArray[np.float32]
    clean: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    valid: npt.NDArray[np.float32]
    severity: npt.NDArray[np.float32]


def recorded_length(settings: CorpusSettings) -> int:
    """Steps that a recorded series must have at least to be drawn from."""
    return settings.window + _MARGIN


def corpus_batch(
    settings: CorpusSettings, seed: int, number: int, recorded: Sequence[npt.NDArray[np.float64]] = ()
) -> CorpusBatch:
    """Make one batch; the same settings, seed and number give the same batch on every machine and in any order.

    Parameters
    ----------
    settings
        What the corpus is like.
    seed, number
        Which batch.
    recorded
        Real normal series, float64[n] each without gaps; half of the univariate windows are then stretches of them.

    Examples
    --------
    >>> corpus_batch(CorpusSettings(batch=4, multivariate=0), seed=1, number=0).values.shape
    (4, 1, 512)
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
    channels = int(rng.integers(2, settings.most_channels + 1)) if rng.random() < settings.multivariate else 1
    windows = max(1, settings.batch // channels)
    parts = [_window(rng, settings, channels, recorded) for _ in range(windows)]
    values, clean, labels, valid = (np.stack(part) for part in zip(*parts, strict=True))
    spread = clean.std(axis=-1, keepdims=True) + 1e-6
    severity = np.abs(values - clean) / spread
    scaled, location, scale = normalise(values, valid)
    twin = np.arcsinh((clean - location) / scale) * valid
    return CorpusBatch(
        scaled, twin.astype(np.float32), (labels * valid).astype(np.float32), valid.astype(np.float32),
        (severity * valid).astype(np.float32),
    )  # fmt: skip


def _window(
    rng: np.random.Generator,
    settings: CorpusSettings,
    channels: int,
    recorded: Sequence[npt.NDArray[np.float64]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """One window: values, clean twin and labels [c, t], and what is there, bool[c, t]."""
    n, t = settings.window + _MARGIN, settings.window
    longest = max(2, int(settings.longest * t))
    if channels > 1:
        values, clean, labels = faulty_plant(
            rng, channels, n, 0, n, longest, most_faults=settings.most_faults, common=settings.common
        )
    else:
        one, one_labels = _anomalous_series(rng, settings, n, longest, recorded)
        values, clean, labels = one[0][None], one[1][None], one_labels[None]
    start = int(rng.integers(0, _MARGIN + 1))
    anomalous = np.flatnonzero(labels.any(axis=0))
    if len(anomalous) and rng.random() < settings.ends_inside:
        start = int(np.clip(rng.choice(anomalous) + 1 - t, 0, _MARGIN))
    cut = slice(start, start + t)
    values, clean, labels = values[:, cut], clean[:, cut], labels[:, cut]
    valid = np.ones((channels, t), np.bool_)
    if rng.random() < settings.padded:
        valid[:, : int(rng.integers(1, int(0.85 * t)))] = False
    if rng.random() < settings.gaps:
        for c in np.flatnonzero(rng.random(channels) < 0.7):
            a = int(rng.integers(0, t - 16))
            valid[c, a : a + int(rng.integers(17, 80))] = False
    # Where most of what is there is labelled, the rest is what looks odd: such a window teaches the wrong thing.
    share = (labels * valid).sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    for c in np.flatnonzero(share > 0.45):
        values[c], labels[c] = clean[c], 0
    return values, clean, labels, valid


def _anomalous_series(
    rng: np.random.Generator,
    settings: CorpusSettings,
    n: int,
    longest: int,
    recorded: Sequence[npt.NDArray[np.float64]],
) -> tuple[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.uint8]]:
    if recorded and rng.random() < _RECORDED:
        one = recorded[int(rng.integers(len(recorded)))]
        start = int(rng.integers(0, len(one) - n + 1))
        clean = one[start : start + n].astype(np.float64)
    else:
        clean = normal_series(rng, n, settings.leave_out)
    values, labels = clean.copy(), np.zeros(n, np.uint8)
    if rng.random() < settings.anomalous:
        for _ in range(rng.integers(1, settings.most_anomalies + 1)):
            found = inject(rng, values, 0, n, longest, visible_only=settings.visible_only, leave_out=settings.leave_out)
            if found is None or labels[max(0, found[1] - 8) : found[2] + 8].any():
                continue
            values, a, b, _ = found
            labels[a:b] = 1
    return (values, clean), labels
