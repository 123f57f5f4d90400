"""From what a user asks for to the cells of a backtest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evaluation.backtest.cell import Cell, Rows
from evaluation.backtest.delays import IMMEDIATE, Delay, rows_of_delay
from evaluation.backtest.measures import MeasureSettings
from evaluation.backtest.thresholds import Mode, ThresholdRule, default_rule
from evaluation.datasets.registry import is_known, load_dataset
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import DatasetNotFoundError, InvalidInputError
from evaluation.metrics.baselines import TRIVIAL_PREDICTORS
from tsad.detectors.registry import create_detector, detector_options
from tsad.settings import AlarmSettings, DetectorSettings

__all__ = ["Plan", "load_series", "parse_detectors", "parse_options", "plan_cells"]

_MODES = ("causal", "full")
_ROWS = ("test", "all")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run on every series.

    Attributes
    ----------
    detectors
        One entry a row of the table; an entry of several names is combined by the engine.
    mode
        ``causal`` or ``full``.
    seeds
        How many seeds detectors with randomness get.
    threshold
        The rule for predictions; None takes the mode's own.
    alarm
        Budget and delays of the engine, in mode causal.
    measures
        Parameters of the metrics.
    options
        Options by detector.
    rows
        ``test``, or in mode full ``all``: the whole recording is scored and measured, as TSB-AD does.
    delays
        In mode causal, after how many rows more a row is scored, or ``settled``: each is an entry of the table.
    """

    detectors: Sequence[Sequence[str]]
    mode: Mode = "causal"
    seeds: int = 1
    threshold: str | None = None
    alarm: AlarmSettings = field(default_factory=AlarmSettings)
    measures: MeasureSettings = field(default_factory=MeasureSettings)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: Rows = "test"
    delays: Sequence[Delay] = (IMMEDIATE,)


def parse_detectors(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Read ``robust,sub-pca`` (two cells) and ``robust+sub-pca`` (one cell, combined).

    Raises
    ------
    ConfigurationError
        No detector has this name.
    InvalidInputError
        A name is empty or stands twice.

    Examples
    --------
    >>> parse_detectors(["robust,robust+sub-pca"])
    [('robust',), ('robust', 'sub-pca')]
    """
    found: list[tuple[str, ...]] = []
    for entry in ",".join(texts).split(","):
        names = tuple(name.strip() for name in entry.split("+"))
        if not all(names):
            raise InvalidInputError(
                f"--detector {','.join(texts)!r} has an empty name; write for example robust,sub-pca"
            )
        for name in names:
            detector_options(name)
        if len(set(names)) < len(names):
            raise InvalidInputError(f"detector {entry!r} combines a detector with itself")
        if names in found:
            raise InvalidInputError(f"detector {entry!r} is asked for twice")
        found.append(names)
    return found


def parse_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``autoencoder.epochs=20``; values are JSON, or else text.

    Raises
    ------
    InvalidInputError
        One has another form.

    Examples
    --------
    >>> parse_options(["autoencoder.epochs=20", "autoencoder.error=mean"])
    {'autoencoder': {'epochs': 20, 'error': 'mean'}}
    """
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name, dot, option = key.strip().rpartition(".")
        if not (equals and dot and name and option):
            raise InvalidInputError(f"--option {text!r} is not DETECTOR.OPTION=VALUE, e.g. autoencoder.epochs=20")
        try:
            parsed: Any = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        options.setdefault(name, {})[option] = tuple(parsed) if isinstance(parsed, list) else parsed
    return options


def plan_cells(plan: Plan) -> list[Cell]:
    """Return the cells that every series gets: the trivial predictors first, then the detectors by seed.

    Raises
    ------
    ConfigurationError
        A detector or one of its options does not exist, or an option's value is wrong.
    InvalidInputError
        The parts do not fit together.
    """
    if plan.mode not in _MODES:
        raise InvalidInputError(f"mode is {plan.mode!r}; choose causal or full")
    if plan.rows not in _ROWS:
        raise InvalidInputError(f"rows is {plan.rows!r}; choose test or all")
    if plan.rows == "all" and plan.mode == "causal":
        raise InvalidInputError("rows all needs mode full: a causal run learns from the training part")
    if plan.seeds < 1:
        raise InvalidInputError(f"seeds is {plan.seeds}; at least one is needed")
    later = [delay for delay in plan.delays if delay != IMMEDIATE]
    if later and plan.mode == "full":
        raise InvalidInputError(f"delay {later[0]} needs mode causal: with hindsight every row of the future is known")
    if not plan.delays or len(set(plan.delays)) < len(plan.delays):
        raise InvalidInputError("delays must be given once each")
    rule = ThresholdRule.parse(plan.threshold or default_rule(plan.mode), plan.mode)
    if later and rule.needs_training_scores:
        raise InvalidInputError(
            f"threshold {rule.name} is taken from immediate scores of the training part, which have another scale than "
            f"those at delay {later[0]}; choose false-alarms-per-day, fixed=NUMBER or oracle-best-f1"
        )
    used = {name for names in plan.detectors for name in names}
    unused = sorted(set(plan.options) - used)
    if unused:
        raise InvalidInputError(f"--option names detector {unused[0]!r}, which is not among {', '.join(sorted(used))}")
    template = Cell("", (), plan.mode, None, rule, plan.alarm, plan.measures, plan.rows)
    cells = [
        replace(template, name=name, seed=seed)
        for name in TRIVIAL_PREDICTORS
        for seed in (range(plan.seeds) if name == "random" else (None,))
    ]
    for names in plan.detectors:
        if len(names) > 1 and plan.mode == "full":
            raise InvalidInputError(f"{'+'.join(names)}: detectors are combined in mode causal only")
        seeded = [name for name in names if "seed" in detector_options(name)]
        fixed = seeded and all("seed" in plan.options.get(name, {}) for name in seeded)
        for seed in range(plan.seeds) if seeded and not fixed else (None,):
            detectors = tuple(_detector(name, plan.options.get(name, {}), seed) for name in names)
            cells += [
                replace(template, name=_entry(names, delay), detectors=detectors, seed=seed, delay=delay)
                for delay in _rows(plan.delays, names, detectors)
            ]
    return cells


def _rows(delays: Sequence[Delay], names: Sequence[str], detectors: Sequence[DetectorSettings]) -> list[int]:
    """The delays in rows; a combination of detectors has none but the immediate score."""
    known = [create_detector(one.name, one.options).delays for one in detectors]
    return [rows_of_delay(delay, "+".join(names), known[0] if len(known) == 1 else ()) for delay in delays]


def _entry(names: Sequence[str], delay: int) -> str:
    """What every table calls a detector: a delay is part of its name, so that no table hides it."""
    return "+".join(names) + (f" delay {delay}" if delay else "")


def _detector(name: str, options: Mapping[str, Any], seed: int | None) -> DetectorSettings:
    chosen = dict(options)
    if seed is not None and "seed" in detector_options(name):
        chosen.setdefault("seed", seed)
    # Told here, with the registry's own message, and not by a validation error around it.
    create_detector(name, chosen)
    try:
        return DetectorSettings(name=name, options=chosen)
    except ValidationError as error:
        raise InvalidInputError(f"detector {name}: {error.errors()[0]['msg']}") from error


def load_series(
    datasets: Sequence[str],
    *,
    patterns: Sequence[str] = (),
    train_fraction: float | None = None,
    data_directory: Path | None = None,
    intervals: Path | None = None,
) -> list[LabelledSeries]:
    """Load the series of several data sets.

    Parameters
    ----------
    datasets
        Known names, files or directories.
    patterns
        Shell patterns of series names; empty takes all.
    train_fraction
        For files without a split; known data sets bring their own.
    data_directory
        Where known data sets are.
    intervals
        Interval table with the labels of files without the column; known data sets bring their own.

    Raises
    ------
    DatasetError
        One is missing or broken, or no series matches a pattern.
    InvalidInputError
        A data set is named twice, or `train_fraction` or `intervals` has nothing to apply to.
    """
    twice = sorted({name for name in datasets if list(datasets).count(name) > 1})
    if twice:
        raise InvalidInputError(f"data set {twice[0]!r} is asked for twice")
    known = {name for name in datasets if is_known(name)}
    if train_fraction is not None and len(known) == len(datasets):
        raise InvalidInputError("known data sets have their own split; leave --train-fraction out")
    if intervals is not None and len(known) == len(datasets):
        raise InvalidInputError("known data sets have their own labels; leave --intervals out")
    loaded = [
        series
        for name in datasets
        for series in load_dataset(
            name,
            train_fraction=None if name in known else train_fraction,
            data_directory=data_directory,
            intervals=None if name in known else intervals,
        )
    ]
    for pattern in patterns:
        if not any(fnmatchcase(series.name, pattern) for series in loaded):
            names = [series.name for series in loaded]
            shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
            raise DatasetNotFoundError(f"no series matches {pattern!r}; there are {shown}")
    return [s for s in loaded if not patterns or any(fnmatchcase(s.name, pattern) for pattern in patterns)]
