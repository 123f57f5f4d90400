"""Settings of the engine: frozen, validated once, shared by the daemon's configuration and by backtests."""

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from tsad.calibration.episodes import AlarmPolicy
from tsad.detectors.registry import create_detector, detector_class
from tsad.quality.settings import SensorSettings
from tsad.setting_types import Duration, DurationOrAuto, Frozen, parse_duration
from tsad.silence import ControllerSettings

__all__ = [
    "AlarmSettings",
    "DetectorSettings",
    "Duration",
    "EarlySettings",
    "Frozen",
    "StreamSettings",
    "parse_duration",
]


class DetectorSettings(Frozen):
    """A detector by name, with its options."""

    name: str
    options: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exists(self) -> Self:
        create_detector(self.name, self.options)
        return self


class AlarmSettings(Frozen):
    """When the alarms of a stream are raised and cleared."""

    false_alarms_per_day: float = Field(default=1.0, gt=0, description="accepted false episodes a day and asset")
    on_delay: Duration = Field(default=0.0, description="how long the condition must hold before an alarm is raised")
    min_samples: int = Field(default=1, ge=1, description="odd samples needed among the last `of_samples`")
    of_samples: int | None = Field(default=None, ge=1, description="default: as many as `min_samples`")
    off_delay: Duration | None = Field(default=None, description="how long it must be gone; default 32 steps")
    hysteresis: float = Field(default=0.25, ge=0, le=1, description="off-level as a share of the raising threshold")
    memory_rows: int = Field(default=20_000, ge=1, description="quiet rows over which the tail forgets")

    @model_validator(mode="after")
    def _samples_fit(self) -> Self:
        if self.of_samples is not None and self.of_samples < self.min_samples:
            raise ValueError(f"of_samples is {self.of_samples}, min_samples {self.min_samples}: it must not be less")
        return self

    def persistence(self, step: float) -> tuple[int, int]:
        """(k, n): k of the last n rows must be odd; on-delay and minimum samples in one.

        Examples
        --------
        >>> AlarmSettings(on_delay=5).persistence(step=1.0)
        (6, 6)
        """
        held = 1 + int(-(-self.on_delay // step)) if self.on_delay else 1
        if self.on_delay and held >= self.min_samples:
            return held, held
        return self.min_samples, self.of_samples or self.min_samples

    def policy(self, step: float) -> AlarmPolicy:
        """The policy in rows of `step` seconds."""
        rows = 32 if self.off_delay is None else max(1, round(self.off_delay / step))
        return AlarmPolicy(
            false_alarms_per_day=self.false_alarms_per_day,
            off_delay_rows=rows,
            off_share=self.hysteresis,
            memory_rows=self.memory_rows,
        )


_Model = TypeVar("_Model", bound=Frozen)


def _each_once(model: _Model, detectors: tuple[DetectorSettings, ...]) -> _Model:
    names = [detector.name for detector in detectors]
    if len(set(names)) < len(names):
        raise ValueError(f"detectors are {names}: each may stand only once in a stream")
    return model


class EarlySettings(Frozen):
    """Who watches a series until there are enough rows to learn from."""

    detectors: tuple[DetectorSettings, ...] = Field(
        default=("robust",),
        min_length=1,
        validate_default=True,
        description="light ones, and networks that need no past",
    )
    rows: int = Field(default=128, ge=80, description="rows from which the detectors of the first time are learnt")

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        return _each_once(self, self.detectors)


class StreamSettings(Frozen):
    """How the numeric series of one stream are aligned, scored and alarmed."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.\-]+$")
    step: Duration = Field(gt=0, description="how often a series reports: the step of its time grid")
    channels: tuple[str, ...] | None = Field(default=None, description="channels of every asset; default: learnt")
    ranges: Mapping[str, tuple[float, float]] = Field(
        default_factory=dict, description="physical range by channel; values outside count as missing"
    )
    train_rows: int = Field(default=600, ge=80, description="rows from which a new series is learnt")
    # Off by default: on plants with regimes it breaks its promise (docs/daemon.md, "Before a series is learnt").
    early: EarlySettings | None = Field(default=None, description="who watches a series until then; default: nobody")
    hold_rows: int = Field(default=3, ge=0, description="for how many steps a value may stand in for a missing one")
    allowed_delay: Duration = Field(default=0.0, description="how far out of order observations may come")
    cell: Literal["first", "last", "mean"] = Field(
        default="first", description="what counts when a channel reports more than once a step"
    )
    max_ahead: Duration = Field(default=300.0, description="event time ahead of arrival beyond which a record is bad")
    silent_after: DurationOrAuto | None = Field(
        default=None, description="a series this far behind its peers is silent; auto: learnt by series"
    )
    controllers: ControllerSettings | None = Field(default=None, description="assets that fall silent together")
    sensors: SensorSettings | None = Field(default=None, description="tell broken sensors from odd processes")
    # Made when it is needed: a stream that names its detectors need not import the default one.
    detectors: tuple[DetectorSettings, ...] = Field(
        default_factory=lambda: (DetectorSettings(name="auto"),), min_length=1
    )
    deadline: Duration | None = Field(
        default=None, gt=0, description="how long networks may take for a batch; late, the other detectors speak alone"
    )
    settled: bool = Field(
        default=True, description="score rows again when those after them are known, where the only detector can"
    )
    alarm: AlarmSettings = AlarmSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _each_once(self, self.detectors)
        first = () if self.early is None else self.early.detectors
        if self.deadline is not None and not any(
            detector_class(one.name).cost == "foundation" for one in (*self.detectors, *first)
        ):
            raise ValueError(
                f"deadline is {self.deadline:g} s, but none of the detectors is a network that could be late; "
                "leave it out, or add timercd-nano or themis"
            )
        if self.channels is not None:
            if not self.channels:
                raise ValueError("channels is empty; leave it out to learn the channels")
            if len(set(self.channels)) < len(self.channels):
                raise ValueError("channels has a name twice")
            unknown = sorted(set(self.ranges) - set(self.channels))
            if unknown:
                raise ValueError(f"ranges names {unknown[0]!r}, which is not among the channels")
        if self.sensors is not None:
            self.sensors.check(self.channels)
        if self.controllers is not None and not self.silent_after:
            raise ValueError("controllers are given, but nothing is said to be silent; give silent_after, e.g. auto")
        for channel, (low, high) in self.ranges.items():
            if not low < high:
                raise ValueError(f"range of {channel!r} is [{low}, {high}]; the first must be less than the second")
        gap = self.alarm.policy(self.step).off_delay_rows
        if self.train_rows <= 2 * gap + 1:
            raise ValueError(
                f"train_rows is {self.train_rows}; an off_delay of {gap} steps needs more than {2 * gap + 1}",
            )
        return self

    @property
    def early_rows(self) -> int | None:
        """Rows from which a series is watched before it is learnt; None where it is not.

        At least three off-delays, so that the calibration can tell clusters apart.
        """
        if self.early is None:
            return None
        rows = max(self.early.rows, 3 * self.alarm.policy(self.step).off_delay_rows + 1)
        return rows if rows < self.train_rows else None

    @property
    def step_ns(self) -> int:
        """The step in nanoseconds."""
        return round(self.step * 1e9)

    @property
    def rows_per_day(self) -> float:
        """Steps in a day."""
        return 86400.0 / self.step
