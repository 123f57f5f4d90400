"""Two ways to measure node models, and what lies between them.

``paper`` is what the public script of Borghesi et al. (IAAI 2019) does, with every row's error its own: a random 70 %
of the healthy rows train, the other healthy rows and all anomalies are the test, scales are fitted on everything, and
the percentile is the one of 70 to 100 with the best weighted F-score *on the labels of the test* (an oracle).

``honest`` splits by time: the model and its scales see the training part alone, the percentile is fixed beforehand and
taken from a healthy block after it, and labels are used by the measures only.

Neighbouring rows of a time series are alike, so a random split shows the model the test; and an oracle is an upper
bound. The difference between the two is what that is worth.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import InvalidInputError
from evaluation.metrics.pointwise import auc_roc, precision_recall_f1
from tsad.fleet.comparison import FleetComparison, aligned
from tsad.fleet.fleet import NodeFleet, train_models
from tsad.fleet.preparation import Preparation, scaling_of
from tsad.fleet.scores import NodeScores
from tsad.fleet.settings import NodeSettings
from tsad.fleet.telemetry import NodeTelemetry

__all__ = [
    "HonestRun",
    "NodeRecording",
    "ProtocolResult",
    "differences",
    "measure_honest",
    "measure_paper",
    "run_honest",
    "weighted_f",
]

_PERCENTILES = np.arange(70, 101)
_TRAIN_SHARE = 0.7
_VALIDATION_SHARE = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class NodeRecording:
    """One node with labels: healthy training rows, then test rows.

    Attributes
    ----------
    telemetry
        All rows.
    labels
        uint8[t], 1 where anomalous.
    train_rows
        Rows before this one are the training part.
    """

    telemetry: NodeTelemetry
    labels: NDArray[np.uint8]
    train_rows: int

    @classmethod
    def of(cls, series: LabelledSeries) -> "NodeRecording":
        """A labelled series as a node."""
        return cls(
            NodeTelemetry(series.name, series.channels, series.times, series.values), series.labels, series.train_length
        )


@dataclass(frozen=True, slots=True)
class ProtocolResult:
    """What a protocol says of one node.

    Attributes
    ----------
    node, protocol
        Which.
    auc
        Area under the ROC curve over the test rows.
    weighted_f
        F-scores of both classes, weighted by their rows: the paper's. Where anomalies are rare it is high for a
        detector that never speaks; `weighted_f_of_silence` is what that one gets.
    weighted_f_of_silence
        Of predicting that every row is healthy.
    f1, recall, false_positive_rate
        Of the anomalous class, at the threshold.
    percentile
        Of the healthy errors, that is the threshold: chosen with the labels (``paper``) or fixed (``honest``).
    test_rows, anomalous_rows
        Scored ones.
    """

    node: str
    protocol: Literal["paper", "honest"]
    auc: float
    weighted_f: float
    weighted_f_of_silence: float
    f1: float
    recall: float
    false_positive_rate: float
    percentile: float
    test_rows: int
    anomalous_rows: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class HonestRun:
    """A fleet learnt from training parts alone.

    Attributes
    ----------
    fleet
        Its models.
    scores
        By node, of the rows after the training part.
    comparison
        Learnt from the residuals of the validation block, which no network was trained on; None with too few nodes.
    siblings, own
        By node, float64[test rows]: the error against siblings (NaN where there is none), and the own error, each in
        units of its healthy 99th percentile.
    """

    fleet: NodeFleet
    scores: dict[str, NodeScores]
    comparison: FleetComparison | None
    siblings: dict[str, NDArray[np.float64]]
    own: dict[str, NDArray[np.float64]]

    def both(self, node: str) -> NDArray[np.float64]:
        """The larger of both errors."""
        return np.fmax(self.own[node], self.siblings[node])


def weighted_f(labels: NDArray[np.bool_], predictions: NDArray[np.bool_]) -> float:
    """F-scores of both classes, weighted by the rows of each.

    Examples
    --------
    >>> round(weighted_f(np.array([0, 0, 0, 1], bool), np.zeros(4, bool)), 3)
    0.643
    """
    total = 0.0
    for truth, said in ((labels, predictions), (~labels, ~predictions)):
        if truth.any():
            total += float(truth.mean()) * precision_recall_f1(truth, said).f1
    return total


def measure_paper(recordings: Sequence[NodeRecording], settings: NodeSettings, seed: int = 0) -> list[ProtocolResult]:
    """The paper's protocol on every node that has anomalies; see the head of this module.

    Parameters
    ----------
    recordings
        Of the fleet; their split by time is not looked at.
    settings
        Of the models.
    seed
        Of the random split.

    Raises
    ------
    NotEnoughDataError
        A node has too few healthy rows.
    """
    labels: dict[str, NDArray[np.bool_]] = {}
    prepared: dict[str, Preparation] = {}
    for recording in recordings:
        name = recording.telemetry.node
        whole = Preparation.of(recording.telemetry, settings)
        active = np.sort(np.concatenate([whole.training, whole.judging]))
        marked = recording.labels.astype(np.bool_)
        healthy = active[~marked[active]]
        train = np.random.default_rng(seed).random(len(healthy)) < _TRAIN_SHARE
        values = whole.telemetry.values[active]
        one = replace(whole, training=healthy[train], judging=healthy[~train])
        one = replace(one, scaling=scaling_of(values[:, one.kept], settings))
        one.check(settings)
        prepared[name], labels[name] = one, marked
    models = train_models(prepared, list(prepared), settings)
    results = []
    for name, one in prepared.items():
        model, marked = models[name], labels[name]
        errors = model.score(one.telemetry).error
        test = np.setdiff1d(np.flatnonzero(~np.isnan(errors)), one.training)
        truth, test_errors = marked[test], errors[test]
        if not truth.any() or truth.all():
            continue
        thresholds = np.nanpercentile(errors[one.training], _PERCENTILES)
        best = int(np.argmax([weighted_f(truth, test_errors > threshold) for threshold in thresholds]))
        results.append(_result(name, "paper", truth, test_errors, thresholds[best], float(_PERCENTILES[best])))
    return results


def run_honest(recordings: Sequence[NodeRecording], settings: NodeSettings) -> HonestRun:
    """Learn every node from its training part, the last 30 % of which fix thresholds, and score what follows.

    Raises
    ------
    InvalidInputError
        A node has no training part, or nothing after it.
    NotEnoughDataError
        A node has too few healthy rows.
    """
    training, validation, later = [], {}, {}
    for recording in recordings:
        telemetry, rows = recording.telemetry, recording.train_rows
        if not 1 < rows < len(telemetry):
            raise InvalidInputError(
                f"node {telemetry.node!r} has {rows} training rows of {len(telemetry)}; give both a "
                f"training and a test part"
            )
        first = round(rows * (1.0 - _VALIDATION_SHARE))
        training.append(telemetry.rows(slice(0, first)))
        validation[telemetry.node] = telemetry.rows(slice(first, rows))
        later[telemetry.node] = telemetry.rows(slice(rows, None))
    fleet = NodeFleet.fit(training, settings, validation=validation, with_base=False)
    scores = {name: fleet.score(rows) for name, rows in later.items()}
    own = {
        name: found.error / max(float(np.nanpercentile(fleet.models[name].healthy, 99)), 1e-12)
        for name, found in scores.items()
    }
    siblings = {name: np.full(len(found.error), np.nan) for name, found in scores.items()}
    comparison = None
    if len(recordings) > 3:
        step = int(np.median(np.diff(training[0].times)))
        _, healthy = aligned([_as_telemetry(fleet.score(validation[name])) for name in scores], step)
        comparison = FleetComparison.fit(healthy, list(scores), training[0].features)
        unit = np.nanpercentile(comparison.score(healthy).error, 99, axis=0)
        times, values = aligned([_as_telemetry(found) for found in scores.values()], step)
        errors = comparison.score(values).error / np.maximum(unit, 1e-12)
        for node, (name, found) in enumerate(scores.items()):
            siblings[name] = errors[np.searchsorted(times, found.times // step * step), node]
    return HonestRun(fleet, scores, comparison, siblings, own)


def measure_honest(run: HonestRun, recordings: Sequence[NodeRecording]) -> list[ProtocolResult]:
    """The honest protocol on every node that has anomalies in its test part."""
    results = []
    for recording in recordings:
        name = recording.telemetry.node
        errors = run.scores[name].error
        known = ~np.isnan(errors)
        truth = recording.labels[recording.train_rows :].astype(np.bool_)[known]
        if not truth.any() or truth.all():
            continue
        model = run.fleet.models[name]
        percentile = model.settings.threshold.percentile
        results.append(_result(name, "honest", truth, errors[known], model.threshold.value, percentile))
    return results


def differences(paper: Sequence[ProtocolResult], honest: Sequence[ProtocolResult]) -> dict[str, dict[str, float]]:
    """Means over the nodes that both protocols measure, and paper less honest.

    Raises
    ------
    InvalidInputError
        No node has anomalies in both tests.
    """
    common = [(one, other) for one in paper for other in honest if one.node == other.node]
    if not common:
        raise InvalidInputError("no node has both anomalous and healthy rows in its test part; nothing can be measured")
    table: dict[str, dict[str, float]] = {}
    for measure in ("auc", "weighted_f", "weighted_f_of_silence", "f1", "recall", "false_positive_rate", "percentile"):
        values = np.array([[getattr(one, measure), getattr(other, measure)] for one, other in common]).mean(axis=0)
        table[measure] = {"paper": values[0], "honest": values[1], "difference": values[0] - values[1]}
    return table


def _as_telemetry(scores: NodeScores) -> NodeTelemetry:
    return NodeTelemetry(scores.node, scores.features, scores.times, scores.residuals)


def _result(
    node: str,
    protocol: Literal["paper", "honest"],
    truth: NDArray[np.bool_],
    errors: NDArray[np.float64],
    threshold: float,
    percentile: float,
) -> ProtocolResult:
    said = errors > threshold
    found = precision_recall_f1(truth, said)
    return ProtocolResult(
        node, protocol, auc_roc(truth, errors), weighted_f(truth, said),
        weighted_f(truth, np.zeros(len(truth), np.bool_)), found.f1, found.recall, float(said[~truth].mean()),
        percentile, len(truth), int(truth.sum()),
    )  # fmt: skip
