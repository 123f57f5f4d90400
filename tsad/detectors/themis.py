"""Vectors of a frozen encoder, judged by a bank of normal ones or by those beside them."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from tsad.deadline import Deadline
from tsad.detectors import themis_adapters as adapters
from tsad.detectors.base import Detector, Scores, Unscored
from tsad.detectors.themis_stream import LEAST_VECTORS, BankStream
from tsad.detectors.themis_windows import (
    WINDOW_SCORES,
    ChannelWindows,
    WindowScores,
    by_adapter,
    by_bank,
    cut_windows,
)
from tsad.errors import ConfigurationError, NotEnoughDataError
from tsad.foundation.aggregation import AGGREGATES, Aggregate, aggregated
from tsad.foundation.encoders import EmbeddingCache, Encoder, load_encoder
from tsad.foundation.weights import SHIPPED
from tsad.observations import RowBatch
from tsad.scaling import fit_scaling

__all__ = ["ADAPTERS", "Adapter", "Hindsight", "ThemisDetector"]

Adapter = Literal["bank", "spectral-residual", "lof", "mean-similarity", "top-k"]
ADAPTERS = ("bank", "spectral-residual", "lof", "mean-similarity", "top-k")
_FARTHEST = 1e6


@dataclass(frozen=True, slots=True)
class Hindsight:
    """What `themis` says of a whole recording.

    Attributes
    ----------
    score
        float64[t].
    contributions
        float32[t, c], share of each channel.
    degenerate
        bool[t, c], rows of which no window has a move of the channel: its score of 0 there tells nothing.
    """

    score: npt.NDArray[np.float64]
    contributions: npt.NDArray[np.float32]
    degenerate: npt.NDArray[np.bool_]


class ThemisDetector(Detector):
    """`themis`: windows of each channel become vectors of a frozen encoder, and odd vectors are odd rows.

    Mode causal compares the newest vector of the window that ends with the row with a bank of those of the training
    part: the mean distance to the nearest ones and Mahalanobis' distance, each in units of its held-out 0.99 quantile,
    averaged. All windows of a series are as long as the training part allows. Mode full looks at all vectors of
    overlapping windows with an adapter of choice. Channels are looked at one by one, then aggregated.

    Source: the idea of Lorik et al., "THEMIS", arXiv 2510.03911, of which only abstract and summaries were read:
    every default here is this project's (docs/themis.md). The bank is this project's too.

    Parameters
    ----------
    encoder
        ``timercd-nano`` (comes with the package), a .safetensors file of `tsad pretrain timercd`, the folder of a
        Chronos model or the hub id of one that was fetched before, or an `tsad.foundation.encoders.Encoder`.
    adapter
        In mode full: ``bank``, or by the other vectors of the window ``spectral-residual``, ``lof``,
        ``mean-similarity`` or ``top-k``.
    window, stride
        Steps of a window (at most the encoder's context), and from window to window in mode full; 0: half a window.
    scale
        Rows that are averaged into one step.
    hop
        In mode causal the encoder is asked at every `hop`-th row, and the answer stands until the next: 1 asks always.
    center
        Take the training median off before a window is encoded. Chronos-T5 sees nothing beside a large offset.
    margin
        In mode full: steps near the ends of a window that are not looked at.
    similarity
        ``absolute`` or ``signed`` cosine, or ``distance``; see `tsad.detectors.themis_adapters`.
    window_scores
        In mode full, how scores of two windows are made comparable: ``calibrated`` or ``rank``.
    spectral_kept, lof_neighbours, top_share, trimmed_share
        Of the adapters.
    bank_neighbours, memory
        Nearest vectors that count, and vectors that are remembered a channel.
    channel_aggregate
        ``max``, ``top3``, ``mean`` or ``root`` of the channels' scores.
    most_channels
        More are refused: each costs a pass of the encoder a row.
    device, dtype
        Of torch: ``float32``, ``bfloat16`` or ``float16``.
    calibration_rows
        The newest rows of the prefix that `fit` looks at.
    cache_megabytes
        Room for vectors that were computed before, shared by all detectors with the same encoder.
    """

    name: ClassVar[str] = "themis"
    summary: ClassVar[str] = (
        "vectors of a frozen encoder (timercd-nano's, Chronos, yours) against a bank of normal ones"
    )
    cost: ClassVar[Literal["light", "model", "foundation"]] = "foundation"
    multivariate: ClassVar[bool] = False

    def __init__(
        self,
        *,
        encoder: str | Encoder = SHIPPED,
        adapter: Adapter = "bank",
        window: int = 512,
        stride: int = 0,
        scale: int = 1,
        hop: int = 1,
        center: bool = True,
        margin: int = 16,
        similarity: adapters.Similarity = "absolute",
        window_scores: WindowScores = "calibrated",
        spectral_kept: int = 5,
        lof_neighbours: int = 20,
        top_share: float = 0.1,
        trimmed_share: float = 0.02,
        bank_neighbours: int = 3,
        memory: int = 256,
        channel_aggregate: Aggregate = "top3",
        most_channels: int = 256,
        device: str = "auto",
        dtype: str = "float32",
        calibration_rows: int = 2000,
        cache_megabytes: float = 64.0,
    ) -> None:
        for name, value in (
            ("window", window), ("scale", scale), ("hop", hop), ("spectral_kept", spectral_kept),
            ("lof_neighbours", lof_neighbours), ("bank_neighbours", bank_neighbours), ("memory", memory),
            ("most_channels", most_channels), ("calibration_rows", calibration_rows),
        ):  # fmt: skip
            if value < 1:
                raise ConfigurationError(f"themis: {name} is {value}; it must be at least 1")
        for name, least in (("stride", stride), ("margin", margin), ("cache_megabytes", cache_megabytes)):
            if least < 0:
                raise ConfigurationError(f"themis: {name} is {least}; it must be at least 0")
        for name, choice, choices in (
            ("adapter", adapter, ADAPTERS), ("similarity", similarity, adapters.SIMILARITIES),
            ("window_scores", window_scores, WINDOW_SCORES), ("channel_aggregate", channel_aggregate, AGGREGATES),
        ):  # fmt: skip
            if choice not in choices:
                raise ConfigurationError(f"themis: {name} is {choice!r}; choose {', '.join(choices)}")
        if not 0 < top_share <= 1 or not 0 <= trimmed_share < 1:
            raise ConfigurationError(
                f"themis: top_share is {top_share} and trimmed_share {trimmed_share}; give shares of a window"
            )
        self._encoder, self._cache = _shared(encoder, device, dtype, cache_megabytes)
        if window > self._encoder.context or window < LEAST_VECTORS * self._encoder.patch:
            raise ConfigurationError(
                f"themis: window is {window}; encoder {self._encoder.identity} takes "
                f"{LEAST_VECTORS * self._encoder.patch} to {self._encoder.context} steps"
            )
        self._window, self._stride, self._scale = window, stride or max(1, window // 2), scale
        self._margin, self._center, self._aggregate = margin, center, channel_aggregate
        self._adapter, self._similarity, self._window_scores = adapter, similarity, window_scores
        self._kept, self._lof_neighbours = spectral_kept, lof_neighbours
        self._top_share, self._trimmed_share = top_share, trimmed_share
        self._neighbours, self._memory = bank_neighbours, memory
        self._most_channels = most_channels
        self._left_out: dict[int, tuple[int, ...]] = {}
        self._stream = BankStream(
            self._encoder, window=window, scale=scale, hop=hop, center=center, neighbours=bank_neighbours,
            memory=memory, calibration_rows=calibration_rows,
        )  # fmt: skip

    @property
    def encoder(self) -> Encoder:
        """What turns windows into vectors."""
        return self._encoder

    @property
    def cache(self) -> EmbeddingCache:
        """Vectors that were computed before."""
        return self._cache

    @property
    def window(self) -> int:
        """Steps of context that one score uses (fewer after a short training part)."""
        return self._window * self._scale

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return self._stream.min_train

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._stream.arrays.reserve(n_series, n_channels)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Fill the bank, and judge its windows by banks without them; see `Detector.fit`."""
        self._check(train, self.min_train)
        ratios = self._stream.learn(series, train, times)
        self._left_out[series] = tuple(np.flatnonzero(~self._stream.arrays.known[series, : train.shape[1]]).tolist())
        scores, _ = aggregated(ratios, self._aggregate)
        if len(self._left_out[series]) == train.shape[1]:
            scores[:] = 0.0
        scores[np.isnan(train).all(axis=1)] = np.nan
        return scores

    def choices(self, series: int) -> tuple[str, ...]:
        """The length of the windows, and which channels are not looked at; see `Detector.choices`."""
        if series not in self._left_out:
            return ()
        length = int(self._stream.arrays.length[series])
        said = [f"windows of {length} steps" + (f" of {self._scale} rows" if self._scale > 1 else "")]
        if left_out := self._left_out[series]:
            numbers = ", ".join(str(one) for one in left_out)
            said.append(f"channels without a move in training are not looked at: {numbers}")
        return tuple(said)

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        return self._scored(rows, None)

    def score_by(self, rows: RowBatch, deadline: Deadline) -> Scores:
        """Score rows in time; see `Detector.score_by`."""
        return self._scored(rows, deadline)

    def _scored(self, rows: RowBatch, deadline: Deadline | None) -> Scores:
        a = self._stream.arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        ratios, expected, ready, late = self._stream.follow(rows, deadline)
        missing = ~(np.isfinite(rows.values) & ~self._beyond(rows)).any(axis=1)
        ratios[~np.isfinite(rows.values)] = np.nan
        score, shares = aggregated(ratios, self._aggregate)
        # Where no channel that speaks has moved in its window, or any in training, there is nothing odd.
        watched = (np.isfinite(rows.values) & a.known[rows.series][:, : rows.values.shape[1]]).any(axis=1)
        quiet = np.isnan(score) & ready & ~missing & ~watched
        score[quiet] = 0.0
        speaks = ready & ~missing & ~late & ~np.isnan(score)
        out.score[speaks] = score[speaks]
        out.contributions[speaks] = shares[speaks]
        out.reason[ready & ~speaks] = Unscored.VALUES_MISSING
        out.reason[~ready] = Unscored.WINDOW_INCOMPLETE
        out.reason[late] = Unscored.LATE
        out.reason[missing] = Unscored.VALUES_MISSING
        band = a.band[rows.series][:, : rows.values.shape[1]]
        said = speaks[:, None] & ~np.isnan(expected)
        for array, values in ((out.expected, expected), (out.lower, expected - band), (out.upper, expected + band)):
            array[said] = values[said]
        return out

    def _beyond(self, rows: RowBatch) -> npt.NDArray[np.bool_]:
        """Columns that a row's series does not have, bool[m, c]."""
        columns = np.arange(rows.values.shape[1])
        return np.asarray(columns >= self._stream.arrays.n_channels[rows.series][:, None])

    def score_all(
        self,
        values: npt.NDArray[np.float32],
        times: npt.NDArray[np.int64],  # noqa: ARG002
        train_rows: int = 0,
    ) -> npt.NDArray[np.float64]:
        """Scores by all overlapping windows; see `Detector.score_all` and `hindsight`."""
        return self.hindsight(values, train_rows).score

    def hindsight(self, values: npt.NDArray[np.float32], train_rows: int = 0) -> Hindsight:
        """Score a whole recording with hindsight, and tell the channels' shares.

        Parameters
        ----------
        values
            float32[t, c], NaN where missing.
        train_rows
            The first rows that are known to be a training part; 0 where none is.

        Raises
        ------
        ValueError
            A value is infinite; the message names row and channel.
        NotEnoughDataError
            The adapter needs more rows.
        """
        infinite = np.isinf(values)
        if infinite.any():
            row, channel = (int(i) for i in np.argwhere(infinite)[0])
            raise ValueError(f"themis: channel {channel} is infinite in row {row}; use NaN for a missing value")
        self._check(values, self._least_rows())
        t, c = values.shape
        found, degenerate = np.full((t, c), np.nan), np.zeros((t, c), np.bool_)
        moving = np.array([np.unique(one[~np.isnan(one)]).size > 1 for one in values.T], np.bool_)
        if moving.any() and not moving.all():
            left_out = ", ".join(str(one) for one in np.flatnonzero(~moving))
            warnings.warn(f"themis: channels without a move are not looked at: {left_out}", stacklevel=3)
        scaled = self._scaled(values, train_rows)
        for channel in np.flatnonzero(moving).tolist():
            cut = cut_windows(
                scaled[:, channel], self._encoder, self._cache, window=self._window, stride=self._stride,
                margin=self._margin, scale=self._scale,
            )  # fmt: skip
            judged = self._judge(cut, train_rows)
            found[:, channel] = cut.spread(judged)
            still = np.where(np.isnan(judged), np.nan, cut.constant[:, None].astype(np.float64))
            degenerate[:, channel] = cut.spread(still) == 1
        found[np.isnan(values)] = np.nan
        if not moving.any():
            found[~np.isnan(values)] = 0.0
        degenerate[:, ~moving] = True
        score, shares = aggregated(found, self._aggregate)
        return Hindsight(score, shares, degenerate)

    def _scaled(self, values: npt.NDArray[np.float32], train_rows: int) -> npt.NDArray[np.float64]:
        scaling = fit_scaling(values[:train_rows] if train_rows else values, robust=True)
        centre = scaling.location if self._center else 0.0
        return np.clip((values.astype(np.float64) - centre) / scaling.scale, -_FARTHEST, _FARTHEST)

    def _least_rows(self) -> int:
        """Rows that the adapter needs."""
        vectors = {"spectral-residual": 2 * self._kept + 2}.get(self._adapter, 2 * LEAST_VECTORS)
        return vectors * self._encoder.patch * self._scale

    def _judge(self, cut: ChannelWindows, train_rows: int) -> npt.NDArray[np.float64]:
        """Scores of all vectors, float64[n, P]."""
        if self._adapter == "bank":
            return by_bank(
                cut, memory=self._memory, neighbours=self._neighbours, window=self._window, train_rows=train_rows
            )
        if self._adapter == "lof" and cut.vectors.shape[1] <= self._lof_neighbours:
            warnings.warn(
                f"themis: a window has {cut.vectors.shape[1]} vectors, so that fewer than {self._lof_neighbours} "
                f"neighbours count",
                stacklevel=4,
            )
        choices: dict[str, Callable[..., npt.NDArray[np.float64]]] = {
            "spectral-residual": partial(adapters.spectral_residual, kept=self._kept),
            "lof": partial(adapters.local_outlier_factor, neighbours=self._lof_neighbours),
            "mean-similarity": adapters.mean_similarity,
            "top-k": partial(adapters.trimmed_top_k, share=self._top_share, trimmed=self._trimmed_share),
        }
        chosen = partial(choices[self._adapter], similarity=self._similarity)
        return by_adapter(cut, chosen, self._window_scores, train_rows)

    def _check(self, values: npt.NDArray[np.float32], needed: int) -> None:
        if values.shape[1] > self._most_channels:
            raise ConfigurationError(
                f"themis: {values.shape[1]} channels are more than most_channels, {self._most_channels}; each costs a "
                f"pass of the encoder a row: choose channels, or raise most_channels"
            )
        usable = int(np.count_nonzero(~np.isnan(values).all(axis=1)))
        if usable < needed:
            raise NotEnoughDataError(f"themis needs {needed} rows with values, there are {usable}")

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        return self._stream.arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states, which must be of the same encoder."""
        self._stream.restore(state)


@lru_cache(maxsize=2)
def _loaded(encoder: str, device: str, dtype: str, megabytes: float) -> tuple[Encoder, EmbeddingCache]:
    return load_encoder(encoder, device, dtype), EmbeddingCache(megabytes)


def _shared(encoder: str | Encoder, device: str, dtype: str, megabytes: float) -> tuple[Encoder, EmbeddingCache]:
    """The encoder and its cache; one that was named is read once a process: it may take seconds and gigabytes."""
    if isinstance(encoder, str):
        return _loaded(encoder, device, dtype, megabytes)
    return load_encoder(encoder), EmbeddingCache(megabytes)
