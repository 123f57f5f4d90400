"""How an event stream is scored and alarmed."""

from typing import Self

from pydantic import Field, model_validator

from tsad.errors import ConfigurationError
from tsad.events.base import MIN_TRAIN
from tsad.events.registry import create_event_detector
from tsad.settings import AlarmSettings, DetectorSettings, Duration, Frozen, StreamSettings

__all__ = ["EventAlarmSettings", "EventDetectorSettings", "EventRateSettings", "EventScoringSettings"]


class EventDetectorSettings(DetectorSettings):
    """An event detector by name, with its options."""

    @model_validator(mode="after")
    def _exists(self) -> Self:
        create_event_detector(self.name, self.options)
        return self


class EventAlarmSettings(Frozen):
    """When odd events become alarms."""

    false_alarms_per_day: float = Field(default=10.0, gt=0, description="accepted false alarms a day, whole stream")
    off_delay: Duration = Field(default=900.0, gt=0, description="an alarm clears this long after its last odd event")
    memory_events: int = Field(default=20_000, ge=1, description="quiet events over which the tail forgets")


class EventScoringSettings(Frozen):
    """What of an event is judged, by which detectors, and how they learn.

    The default joins three detectors because they see different things: vectors see odd company, conditional counts see
    pairs that hardly meet, and rarity sees values that hardly come or never came.
    """

    attributes: tuple[str, ...] = Field(min_length=2, description="fields of an event that are judged together")
    asset: str | None = Field(
        default=None, description="attribute that alarms are told by; default: one for the stream"
    )
    detectors: tuple[EventDetectorSettings, ...] = Field(
        default_factory=lambda: tuple(
            EventDetectorSettings(name=name) for name in ("ape", "pairwise-conditional", "rarity")
        ),
        min_length=1,
    )
    train_events: int = Field(default=5_000, ge=max(MIN_TRAIN, 400), description="events that are learnt from first")
    learn_events: int | None = Field(
        default=20_000, ge=400, description="quiet events after which is learnt on, newcomers included; null: never"
    )
    max_words: int = Field(default=100_000, ge=2, description="values of one attribute that are told apart")
    alarm: EventAlarmSettings = EventAlarmSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError(f"attributes are {list(self.attributes)}; each may stand only once")
        if self.asset is not None and self.asset not in self.attributes:
            raise ValueError(f"asset is {self.asset!r}, which is not among the attributes {list(self.attributes)}")
        names = [detector.name for detector in self.detectors]
        if len(set(names)) < len(names):
            raise ValueError(f"detectors are {names}: each may stand only once in a stream")
        return self


class EventRateSettings(Frozen):
    """The number of events a step, as a numeric series of its own."""

    step: Duration = Field(default=60.0, gt=0, description="events are counted over this time")
    detectors: tuple[DetectorSettings, ...] = Field(default=("robust",), min_length=1, validate_default=True)
    train_rows: int = Field(default=600, ge=80, description="steps from which the usual rate is learnt")
    alarm: AlarmSettings = AlarmSettings()

    def stream(self, name: str) -> StreamSettings:
        """The settings of the numeric stream of counts called `name`.

        Raises
        ------
        ConfigurationError
            The settings do not fit together.
        """
        try:
            return StreamSettings(
                name=name, step=self.step, channels=("events",), train_rows=self.train_rows,
                detectors=self.detectors, alarm=self.alarm,
            )  # fmt: skip
        except ValueError as error:
            raise ConfigurationError(f"rate of {name}: {error}") from error

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.stream("rate")
        return self
