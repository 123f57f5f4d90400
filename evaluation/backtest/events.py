"""Backtests of event detectors on event sets: trained on the normal events of the training part.

The records have the form of numeric ones, so tables, comparison and files are the same.

>>> cells = plan_event_cells(["marginal"], seeds=1)
>>> backtest_events(load_event_sets(["NSL-KDD"]), cells)  # doctest: +SKIP
"""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from evaluation.backtest.cell import FAILED, TOO_LITTLE_DATA, CellResult, one_thread
from evaluation.backtest.event_injection import (
    INJECTED,
    REDTEAM_POLICY,
    REPLACEMENT_POLICY,
    join_redteam,
    replace_values,
)
from evaluation.backtest.measures import MeasureSettings
from evaluation.backtest.memory import PeakMemory
from evaluation.backtest.provenance import cell_key, provenance
from evaluation.backtest.run import Backtest
from evaluation.backtest.storage import ResultFolder, without_nan
from evaluation.comparison.compare import compare
from evaluation.datasets.events import LabelledEvents
from evaluation.datasets.registry import EVENT_DATASETS, load_events
from evaluation.errors import DatasetNotFoundError, InvalidInputError
from evaluation.metrics.baselines import constant_scores, random_scores
from evaluation.metrics.registry import evaluate
from evaluation.metrics.segments import event_bounds
from evaluation.report.page import write_report
from tsad.errors import NotEnoughDataError
from tsad.events.batch import EventBatch
from tsad.events.calibration import fit_event_calibration
from tsad.events.packing import pack_json
from tsad.events.registry import create_event_detector, event_detector_options
from tsad.events.vocabulary import EventVocabulary
from tsad.settings import AlarmSettings

__all__ = [
    "EventCell",
    "EventSet",
    "backtest_events",
    "event_sets_among",
    "load_event_sets",
    "plan_event_cells",
    "recall_at",
    "run_event_cell",
]

ALARM_P_VALUE = 0.001
"""Events with a p-value up to this one count as alarms."""

_TRIVIAL = ("constant", "random")
_RULE = f"p-value={ALARM_P_VALUE:g}"


@dataclass(frozen=True, slots=True, eq=False)
class EventSet:
    """A labelled event set with its events as numbers.

    Attributes
    ----------
    events
        The set.
    batch
        Its events, training part first.
    label_policy
        What counts as anomalous.
    """

    events: LabelledEvents
    batch: EventBatch
    label_policy: str

    @classmethod
    def of(cls, events: LabelledEvents, label_policy: str) -> "EventSet":
        """Number the values of a set."""
        vocabulary = EventVocabulary(events.attributes)
        return cls(events, vocabulary.encode({name: events.table[name].to_arrow() for name in events.attributes}),
                   label_policy)  # fmt: skip

    def data_hash(self) -> str:
        """Return a hash of names, times, values by their first occurrence, labels and split."""
        events = self.events
        digest = hashlib.sha256(
            pack_json([events.dataset, events.name, list(events.attributes), events.train_length]).tobytes()
        )
        for array in (events.times, self.batch.codes, events.labels):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class EventCell:
    """What is to be run on one event set: a detector (or a trivial predictor), its options, a seed."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None

    @property
    def is_trivial(self) -> bool:
        """Whether this is one of the predictors that see nothing."""
        return self.name in _TRIVIAL

    def configuration(self) -> dict[str, Any]:
        """Everything the result depends on besides code and data, JSON-ready, in the form of numeric cells."""
        return {
            "name": self.name,
            "detectors": [] if self.is_trivial else [{"name": self.name, "options": dict(self.options)}],
            "mode": "causal",
            "seed": self.seed,
            "threshold": _RULE,
            "alarm": AlarmSettings().model_dump(mode="json"),
            "measures": asdict(MeasureSettings()),
            "rows": "test",
            "training": "normal events of the training part",
        }


def event_sets_among(datasets: Sequence[str]) -> bool:
    """Whether these are event sets.

    Raises
    ------
    InvalidInputError
        Some are and some are not.

    Examples
    --------
    >>> event_sets_among(["nsl-kdd"]), event_sets_among(["skab"])
    (True, False)
    """
    events = [name for name in datasets if name.upper() in EVENT_DATASETS]
    others = [name for name in datasets if name.upper() not in EVENT_DATASETS]
    if events and others:
        raise InvalidInputError(f"{events[0]} is an event set and {others[0]} is not; run them in two backtests")
    return bool(events)


def load_event_sets(
    datasets: Sequence[str], *, patterns: Sequence[str] = (), data_directory: Path | None = None
) -> list[EventSet]:
    """Load event sets by name.

    ``LANL-AUTH`` has no anomaly, so it becomes four sets with anomalies laid in: c = 1, 2, 3 exchanged values, and the
    red team's logons.

    Parameters
    ----------
    datasets
        Names that `evaluation.datasets.registry.load_events` knows.
    patterns
        Shell patterns of their names; empty takes all.
    data_directory
        Where known data sets are.

    Raises
    ------
    DatasetError
        One is missing or broken, or no name matches a pattern.
    InvalidInputError
        One is named twice, or has no training part.
    """
    names = [name.upper() for name in datasets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInputError(f"data set {twice[0]!r} is asked for twice")
    found: list[EventSet] = []
    for name in names:
        events = load_events(name, data_directory=data_directory)
        if not events.train_length:
            raise InvalidInputError(f"{events.dataset} has no training part; LANL-AUTH has its logons laid in")
        if name != "LANL-AUTH":
            found.append(EventSet.of(events, EVENT_DATASETS[name].label_policy))
            continue
        for values in (1, 2, 3):
            policy = REPLACEMENT_POLICY.format(number=INJECTED, values=values, seed=0)
            found.append(EventSet.of(replace_values(events, values), policy))
        redteam = load_events("LANL-REDTEAM", data_directory=data_directory)
        found.append(EventSet.of(join_redteam(events, redteam), REDTEAM_POLICY.format(number=INJECTED, seed=0)))
    for pattern in patterns:
        if not any(fnmatchcase(one.events.name, pattern) for one in found):
            shown = ", ".join(one.events.name for one in found)
            raise DatasetNotFoundError(f"no event set matches {pattern!r}; there are {shown}")
    return [one for one in found if not patterns or any(fnmatchcase(one.events.name, p) for p in patterns)]


def plan_event_cells(
    detectors: Sequence[str], *, seeds: int = 1, options: Mapping[str, Mapping[str, Any]] | None = None
) -> list[EventCell]:
    """Return the cells that every event set gets: trivial predictors first, then the detectors by seed.

    Parameters
    ----------
    detectors
        Texts such as ``ape,marginal``.
    seeds
        How many seeds detectors with randomness get.
    options
        Options by detector.

    Raises
    ------
    ConfigurationError
        A detector or one of its options does not exist, or an option's value is wrong.
    InvalidInputError
        A name is empty, stands twice or is combined; or options name a detector that is not run.
    """
    options = options or {}
    names = [name.strip() for name in ",".join(detectors).split(",")]
    for name in names:
        if not name or names.count(name) > 1:
            raise InvalidInputError(f"--detector {','.join(names)!r}: {name!r} is empty or stands twice")
        if "+" in name:
            raise InvalidInputError(f"{name}: event detectors are not combined; separate them by commas")
    unused = sorted(set(options) - set(names))
    if unused:
        raise InvalidInputError(f"--option names detector {unused[0]!r}, which is not among {', '.join(names)}")
    cells = [EventCell("constant"), *(EventCell("random", seed=seed) for seed in range(seeds))]
    for name in names:
        chosen = dict(options.get(name, {}))
        seeded = "seed" in event_detector_options(name) and "seed" not in chosen
        create_event_detector(name, chosen)
        given: Sequence[int | None] = range(seeds) if seeded else (None,)
        cells += [EventCell(name, chosen if seed is None else chosen | {"seed": seed}, seed) for seed in given]
    return cells


def recall_at(labels: NDArray[np.uint8], scores: NDArray[np.float64], count: int) -> float:
    """Share of the anomalous events among the `count` highest scores; ties in random order, in expectation.

    Divided by the anomalous events, or by `count` where they are more: 1 is the best possible.

    Parameters
    ----------
    labels, scores
        uint8[n] and float64[n].
    count
        Events that somebody looks at.

    Returns
    -------
    float
        In [0, 1]; NaN without an anomalous event.

    Examples
    --------
    >>> recall_at(np.array([0, 1, 0, 1], np.uint8), np.array([0.9, 0.8, 0.1, 0.1]), 3)
    0.75
    """
    anomalous = int(labels.sum())
    if not anomalous:
        return float("nan")
    if count >= len(scores):
        return 1.0
    limit = np.partition(scores, len(scores) - count)[len(scores) - count]
    above, tied = scores > limit, scores == limit
    share = (count - int(above.sum())) / int(tied.sum())
    return float((labels[above].sum() + share * labels[tied].sum()) / min(anomalous, count))


def run_event_cell(cell: EventCell, one: EventSet) -> CellResult:
    """Fit, score and measure. Too little data, or a detector that fails, becomes the record's ``error``."""
    if threading.current_thread() is not threading.main_thread():
        return _run(cell, one)
    with one_thread():
        return _run(cell, one)


def _run(cell: EventCell, one: EventSet) -> CellResult:
    events = one.events
    labels = events.test_labels
    record: dict[str, Any] = {
        "dataset": events.dataset,
        "series": events.name,
        "detector": cell.name,
        "mode": "causal",
        "delay": 0,
        "seed": cell.seed,
        "trivial": cell.is_trivial,
        "configuration": cell.configuration(),
        "threshold_rule": _RULE,
        "scored_rows": "test",
        "label_policy": one.label_policy,
        "counts": {
            "train_rows": events.train_length,
            "test_rows": len(labels),
            "anomalous_rows": int(labels.sum()),
            "events": len(event_bounds(labels)[0]) if len(labels) else 0,
            "channels": len(events.attributes),
        },
        "metrics": {},
        "error": None,
        "error_kind": None,
        # Events have no rate a day here: the sources give an order, or a sample.
        "false_alarms": 0,
        "test_days": 0.0,
    }
    memory = PeakMemory.start()
    start = time.perf_counter()
    curves: dict[str, NDArray[Any]] = {}
    try:
        scores, p_values = _score(cell, one, record)
        record["seconds_scoring"] = time.perf_counter() - start
        curves = _measure(one, scores, p_values, record)
    except NotEnoughDataError as error:
        record["error"], record["error_kind"] = str(error), TOO_LITTLE_DATA
    except Exception as error:  # noqa: BLE001 - kept in the record, shown in the table, and the exit code tells
        record["error"], record["error_kind"] = f"{type(error).__name__}: {error}", FAILED
    record["seconds"] = time.perf_counter() - start
    record |= memory.record()
    return CellResult(record, curves)


def _score(cell: EventCell, one: EventSet, record: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores and p-values of the test part; what is told besides goes into the record."""
    first, labels = one.events.train_length, one.events.labels
    rows = len(labels) - first
    if not rows:
        raise NotEnoughDataError(f"{one.events.dataset}/{one.events.name} has no test events")
    if cell.is_trivial:
        generator = np.random.default_rng(0 if cell.seed is None else cell.seed)
        scores = constant_scores(rows) if cell.name == "constant" else random_scores(rows, generator)
        return scores, np.full(rows, np.nan)
    detector = create_event_detector(cell.name, cell.options)
    normal = np.flatnonzero(labels[:first] == 0)
    held = detector.fit(one.batch.rows(normal))
    record["counts"]["fitted_rows"] = len(normal)
    began = time.perf_counter()
    found = detector.score(one.batch.rows(slice(first, None)))
    record["events_per_second"] = rows / (time.perf_counter() - began)
    calibration = fit_event_calibration(held)
    record["calibration"] = {"resolved": calibration.resolved, "flags": list(calibration.flags)}
    record["fit"] = detector.report
    record["counts"]["unseen_rows"] = int(found.unseen.any(axis=1).sum())
    return found.score, calibration.p_values(found.score)


def _measure(
    one: EventSet, scores: NDArray[np.float64], p_values: NDArray[np.float64], record: dict[str, Any]
) -> dict[str, NDArray[Any]]:
    labels = one.events.test_labels
    alarms = np.asarray(p_values <= ALARM_P_VALUE)  # NaN is no alarm
    undefined = float("nan")
    ranked = evaluate(labels, scores, metrics=["auc_roc", "average_precision"], on_undefined=undefined)
    found = {
        "auc_pr": float(ranked["average_precision"]),
        "auc_roc": float(ranked["auc_roc"]),
        "recall_at_100": recall_at(labels, scores, 100),
        "recall_at_1000": recall_at(labels, scores, 1000),
    }
    if not record["trivial"]:
        pointwise = evaluate(
            labels, alarms.astype(np.float64), threshold=0.5, metrics=["f1", "precision", "recall"],
            on_undefined=undefined,
        )  # fmt: skip
        found |= {name: float(value) for name, value in pointwise.items()}
        normal = labels == 0
        found["false_positive_rate"] = float(alarms[normal].mean()) if normal.any() else undefined
    record["metrics"] = found
    record["threshold"] = ALARM_P_VALUE
    record["counts"] |= {"alarmed_rows": int(alarms.sum()), "distinct_scores": int(np.unique(scores).size)}
    times = one.events.times[one.events.train_length :]
    return {"time": times, "label": labels, "score": scores, "p_value": p_values, "alarm": alarms}


def backtest_events(
    sets: Sequence[EventSet],
    cells: Sequence[EventCell],
    *,
    out: Path | None = None,
    jobs: int = 1,
    backend: str = "loky",
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    command: Sequence[str] | None = None,
) -> Backtest:
    """Run every cell on every event set; the counterpart of `evaluation.backtest.run.backtest`.

    Parameters
    ----------
    sets, cells
        From `load_event_sets` and `plan_event_cells`.
    out
        Folder of results and of ``report.html``; cells that are finished there are not run again.
    jobs, backend
        Cells at a time, by ``loky`` (processes) or ``threading``.
    progress
        Called with the cells done and all cells.
    command
        For the provenance; by default this process's.

    Raises
    ------
    InvalidInputError
        The folder or the backend cannot be used; nothing has run then.
    """
    if backend not in {"loky", "threading"}:
        raise InvalidInputError(f"backend is {backend!r}; event sets run by loky or threading")
    folder = None if out is None else ResultFolder(out)
    hashes = [one.data_hash() for one in sets]
    tasks = [(cell, one) for one in sets for cell in cells]
    keys = [cell_key(cell.configuration(), data) for data in hashes for cell in cells]
    records = {} if folder is None else folder.finished(keys)
    skipped = sum(key in records for key in keys)
    due = [number for number, key in enumerate(keys) if key not in records]
    origin = provenance(
        {f"{one.events.dataset}/{one.events.name}": data for one, data in zip(sets, hashes, strict=True)},
        command=sys.argv if command is None else command,
        seeds=sorted({cell.seed for cell in cells if cell.seed is not None}),
        jobs=jobs,
        backend=backend,
        skipped_cells=skipped,
    )
    progress(skipped, len(keys))
    for done, (number, result) in enumerate(_results(tasks, due, jobs, backend), start=1):
        key = keys[number]
        records[key] = without_nan({"key": key, **result.record}) if folder is None else folder.keep(key, result)
        progress(skipped + done, len(keys))
    ordered = [records[key] for key in keys]
    found = Backtest(ordered, origin, skipped, without_nan(compare(ordered)))
    if folder is not None:
        folder.write_results(found.as_dict())
        write_report(folder.path)
    return found


def _results(
    tasks: Sequence[tuple[EventCell, EventSet]], due: Sequence[int], jobs: int, backend: str
) -> Iterator[tuple[int, CellResult]]:
    if jobs == 1:
        yield from ((number, run_event_cell(*tasks[number])) for number in due)
        return
    # Arrays are copied, not mapped: kernels are compiled for writable ones.
    parallel = Parallel(n_jobs=jobs, backend=backend, return_as="generator_unordered", max_nbytes=None)
    with one_thread():
        yield from parallel(delayed(_numbered)(number, *tasks[number]) for number in due)


def _numbered(number: int, cell: EventCell, one: EventSet) -> tuple[int, CellResult]:
    return number, run_event_cell(cell, one)
