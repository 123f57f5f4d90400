"""Any detector of PyOD on windows, behind the contract: `pyod:ECOD`, `pyod:IForest`, `pyod:KNN` and so on."""

import inspect
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from threadpoolctl import threadpool_limits

from tsad.detectors.base import Detector, Scores, Unscored
from tsad.detectors.windowed import (
    SCALING_FIELDS,
    held_rows,
    learn_scaling,
    prefix_rows,
    residual_units,
    settled,
    time_breaks,
    whole_windows,
)
from tsad.errors import ConfigurationError, NotEnoughDataError
from tsad.kernels.windows import take_row
from tsad.observations import RowBatch, RowFlag
from tsad.series_arrays import PER_CHANNEL, PER_LEARNT_ROW, Field, SeriesArrays

__all__ = ["PyodDetector", "pyod_detector"]

PREFIX = "pyod:"
_FOLDS = 3
_QUANTILE = 0.99
_LARGEST = 1e9


class PyodDetector(Detector):
    """A detector of PyOD, asked about one window at a time.

    Windows of the training part, all channels side by side and scaled by channel, are the points that the model learns
    from. A row's score is what the model says of the window that ends with it, less the median of held-out scores and
    in units of their 0.99 quantile above it; every third of the training part is judged by a model of the rest.

    Windows are asked about one by one, since some models (ECOD, COPOD) judge a window by the others that come with it,
    and a score must not depend on its batch. That is slow, a millisecond or more a row: meant for comparison. PyOD says
    nothing of channels: expected values, bands and shares are those of each channel's own distance from its median. A
    stored state holds what the model learnt from, and the model is learnt again from that.

    Source: Y. Zhao, Z. Nasrullah and Z. Li, "PyOD: A Python Toolbox for Scalable Outlier Detection", Journal of Machine
    Learning Research 20 (2019).

    Parameters
    ----------
    window
        Rows of a window.
    most_windows
        Windows to learn from, at most, evenly spread.
    seed
        `random_state` of models that have one.
    arguments
        Further arguments of the model.
    """

    cost: ClassVar[Literal["light", "model", "foundation"]] = "model"
    multivariate: ClassVar[bool] = True
    model_class: ClassVar[type[Any]]

    def __init__(
        self, *, window: int = 8, most_windows: int = 1000, seed: int = 0, arguments: Mapping[str, Any] | None = None
    ) -> None:
        if window < 1 or most_windows < 10 * _FOLDS:
            raise ValueError(
                f"window is {window}, most_windows {most_windows}; need window >= 1 and most_windows >= {10 * _FOLDS}"
            )
        self._window, self._most = window, most_windows
        self._arguments = dict(arguments or {})
        if "random_state" in inspect.signature(self.model_class).parameters:
            self._arguments.setdefault("random_state", seed)
        # PyOD refuses wrong arguments when a model is made: better now than at the first training part.
        self.model_class(**self._arguments)
        self._models: dict[int, Any] = {}
        self._arrays = SeriesArrays(
            {
                **SCALING_FIELDS,
                "middle": Field(np.float64, 0, (PER_CHANNEL,), fitted=True),
                "band": Field(np.float64, 1, (PER_CHANNEL,), fitted=True),
                "usual": Field(np.float64, 0, fitted=True),
                "unit": Field(np.float64, 1, fitted=True),
                "n_learnt": Field(np.int64, fitted=True),
                "learnt": Field(np.float32, 0, (PER_LEARNT_ROW, window, PER_CHANNEL), fitted=True),
                "ring": Field(np.float32, 0, (window, PER_CHANNEL)),
                "gone": Field(np.bool_, 1, (window, PER_CHANNEL)),
                "filled": Field(np.int64),
                "position": Field(np.int64),
            },
        )

    @property
    def window(self) -> int:
        """Steps of context that one score uses."""
        return self._window

    @property
    def min_train(self) -> int:
        """Rows that `fit` needs at least."""
        return max(6 * self._window, 10 * _FOLDS)

    def reserve(self, n_series: int, n_channels: int) -> None:
        """Have room for `n_series` series of up to `n_channels` channels."""
        self._arrays.reserve(n_series, n_channels)

    def fit(self, series: int, train: npt.NDArray[np.float32], times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Learn from the windows of the training part; see `Detector.fit`."""
        scaling = learn_scaling(self.name, self._arrays, series, train, self.min_train)
        n, breaks = train.shape[1], time_breaks(times)
        scaled = held_rows(train, breaks, scaling) * scaling.weight.astype(np.float32)
        windows = sliding_window_view(scaled, self._window, axis=0).transpose(0, 2, 1)
        ends = np.flatnonzero(whole_windows(train, breaks, self._window, scaling.known))
        starts = ends - self._window + 1
        if len(starts) < 10 * _FOLDS:
            raise NotEnoughDataError(
                f"{self.name} needs {self.min_train} rows with values and without gaps; between the gaps of these "
                f"{len(train)} rows there are {len(starts)} whole windows of {self._window}"
            )
        scores = np.full(len(train), np.nan)
        blocks = np.arange(len(starts)) * _FOLDS // len(starts)
        for block in range(_FOLDS):
            held = starts[blocks == block]
            away = starts[(starts <= held[0] - self._window) | (starts >= held[-1] + self._window)]
            model = self._model_of(windows[self._spread(away)])
            scores[held + self._window - 1] = [_asked(model, windows[start]) for start in held]
        a = self._arrays
        chosen = self._spread(starts)
        a.reserve(series + 1, n, len(chosen))
        a.n_learnt[series] = len(chosen)
        a.learnt[series, : len(chosen), :, :n] = windows[chosen]
        self._models[series] = self._model_of(windows[chosen])
        known = scores[~np.isnan(scores)]
        a.usual[series] = np.median(known)
        a.unit[series] = max(float(np.quantile(known, _QUANTILE)) - a.usual[series], 1e-9)
        middle = np.array([np.nanmedian(train[:, c]) if scaling.known[c] else 0.0 for c in range(n)])
        a.middle[series, :n] = middle
        a.band[series, :n] = residual_units(np.abs(train - middle) / scaling.scale, train, scaling)
        # The window is ready for the row that follows.
        rows = prefix_rows(series, train, times, a.width)
        for values, is_break in zip(rows.values, breaks, strict=True):
            self._take(series, values, is_break=bool(is_break))
        return np.asarray((scores - a.usual[series]) / a.unit[series])

    def _spread(self, starts: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """At most as many windows as may be learnt from, evenly spread."""
        count = min(len(starts), self._most)
        return starts[np.linspace(0, len(starts) - 1, count).astype(np.intp)]

    def _model_of(self, windows: npt.NDArray[np.float32]) -> Any:
        model = self.model_class(**self._arguments)
        with threadpool_limits(1):
            model.fit(windows.reshape(len(windows), -1).astype(np.float64))
        return model

    def _model(self, series: int) -> Any:
        """The model of a series; after a restart it is learnt again."""
        if series not in self._models:
            a = self._arrays
            learnt = a.learnt[series, : a.n_learnt[series], :, : a.n_channels[series]]
            self._models[series] = self._model_of(np.ascontiguousarray(learnt))
        return self._models[series]

    def _take(self, series: int, values: npt.NDArray[np.float32], *, is_break: bool) -> int:
        a = self._arrays
        return int(
            take_row(
                values, is_break, series, int(a.n_channels[series]), self._window, a.location, a.scale, a.weight,
                a.ring, a.gone, a.filled, a.position,
            )
        )  # fmt: skip

    def score(self, rows: RowBatch) -> Scores:
        """Score rows; see `Detector.score`."""
        a = self._arrays
        out = Scores.empty(len(rows), rows.values.shape[1])
        for i in range(len(rows)):
            s = int(rows.series[i])
            newest = self._take(s, rows.values[i], is_break=bool(rows.flags[i] & RowFlag.BREAK))
            n = int(a.n_channels[s])
            weight = a.weight[s, :n]
            order = (newest + 1 + np.arange(self._window)) % self._window
            gone = a.gone[s, order, :n]
            if gone[-1].all():
                out.reason[i] = Unscored.VALUES_MISSING
            elif a.filled[s] < self._window:
                out.reason[i] = Unscored.WINDOW_INCOMPLETE
            elif 2 * int((~gone).sum()) < self._window * int((weight > 0).sum()):
                out.reason[i] = Unscored.VALUES_MISSING
            else:
                said = _asked(self._model(s), a.ring[s, order, :n] * weight.astype(np.float32))
                if np.isnan(said):
                    out.reason[i] = Unscored.VALUES_MISSING
                    continue
                out.score[i] = (said - a.usual[s]) / a.unit[s]
                self._explain(out, i, s, rows.values[i, :n])
        return out

    def _explain(self, out: Scores, i: int, series: int, values: npt.NDArray[np.float32]) -> None:
        """Tell each channel's own distance from its median."""
        a, n = self._arrays, len(values)
        known = a.weight[series, :n] > 0
        middle, half = a.middle[series, :n], a.band[series, :n] * a.scale[series, :n]
        ratios = np.where(known & ~np.isnan(values), np.abs(values - middle) / half, 0.0)
        squares = np.minimum(ratios, _LARGEST) ** 2
        total = squares.sum()
        out.contributions[i, :n] = squares / total if total > 0 else known / known.sum()
        out.expected[i, :n] = np.where(known, middle, np.nan)
        out.lower[i, :n] = np.where(known, middle - half, np.nan)
        out.upper[i, :n] = np.where(known, middle + half, np.nan)

    def score_all(
        self, values: npt.NDArray[np.float32], times: npt.NDArray[np.int64], train_rows: int = 0
    ) -> npt.NDArray[np.float64]:
        """Mean over all windows that cover a row; see `Detector.score_all`."""
        one = type(self)(window=self._window, most_windows=self._most, arguments=self._arguments)
        one.reserve(1, values.shape[1])
        learnt = train_rows or len(values)
        scores = one.fit(0, values[:learnt], times[:learnt])
        if learnt < len(values):
            rows = prefix_rows(0, values, times, values.shape[1])
            scores = np.concatenate([scores, one.score(rows.take(np.arange(learnt, len(values)))).score])
        return settled(scores, self._window)

    def state(self, n_series: int, *, fitted: bool) -> dict[str, npt.NDArray[Any]]:
        """What was learnt by fitting, or else the streaming state."""
        return self._arrays.state(n_series, fitted=fitted)

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the union of both states."""
        self._models.clear()
        self._arrays.restore(state)


def _asked(model: Any, window: npt.NDArray[np.float32]) -> float:
    """What a model says of one window, higher is odder; never infinite."""
    with threadpool_limits(1):
        said = float(model.decision_function(window.reshape(1, -1).astype(np.float64))[0])
    return min(max(said, -_LARGEST), _LARGEST)


@lru_cache
def pyod_detector(name: str) -> type[PyodDetector]:
    """The detector class of a name such as ``pyod:ECOD``.

    Raises
    ------
    ConfigurationError
        PyOD is not installed, or has no such model.
    """
    wanted = name.removeprefix(PREFIX)
    try:
        models = import_module("pyod.models")
        modules = {module.name.replace("_", ""): module.name for module in iter_modules(models.__path__)}
        module = import_module(f"pyod.models.{modules.get(wanted.lower(), wanted.lower())}")
        model_class = getattr(module, wanted)
    except ModuleNotFoundError as error:
        if error.name == "pyod":
            raise ConfigurationError(
                f"detector {name!r} needs PyOD; install it with: pip install 'tsad-service[pyod]'"
            ) from error
        if error.name is not None and not error.name.startswith("pyod."):
            raise ConfigurationError(f"detector {name!r} needs the package {error.name}; install it") from error
        raise ConfigurationError(
            f"PyOD has no model {wanted!r}; choose for example pyod:ECOD or pyod:IForest"
        ) from error
    except AttributeError as error:
        raise ConfigurationError(
            f"PyOD has no model {wanted!r}; choose for example pyod:ECOD or pyod:IForest"
        ) from error
    said = f"{wanted} of PyOD on windows, one at a time"
    return type(f"Pyod{wanted}", (PyodDetector,), {
        "__doc__": PyodDetector.__doc__, "name": name, "summary": said, "model_class": model_class,
    })  # fmt: skip
