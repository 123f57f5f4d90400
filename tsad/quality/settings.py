"""Settings of what is told of sensors."""

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from tsad.setting_types import Frozen

__all__ = ["SensorSettings"]


class SensorSettings(Frozen):
    """Which faults of sensors are looked for, and how far beyond the usual a sign must lie."""

    stuck: bool = Field(default=True, description="no change for much longer than in the training part")
    stuck_factor: float = Field(default=8.0, ge=1, description="so many times the longest usual run without change")
    spikes: bool = Field(default=True, description="few samples past any usual rate of change, and back again")
    spike_factor: float = Field(default=4.0, ge=1, description="so many times the largest usual step")
    spike_rows: int = Field(default=3, ge=1, le=32, description="rows that a spike lasts at most")
    units: bool = Field(default=True, description="a sustained change by the factor of another unit")
    counters: tuple[str, ...] = Field(default=(), description="counters: scored by their rate, not their level")
    states: tuple[str, ...] = Field(default=(), description="set-points, states: may rest for as long as they like")
    current_loop: tuple[str, ...] = Field(default=(), description="channels in mA of a 4-20 mA loop (NAMUR NE 43)")
    full_scale: Mapping[str, tuple[float, float]] = Field(
        default_factory=dict, description="ends of the measuring range (EURange) by channel"
    )
    clock: bool = Field(default=True, description="event times that stand still, lag behind, or lie in the future")
    clear_rows: int = Field(default=10, ge=1, description="rows without a sign after which a fault is over")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for channel, (low, high) in self.full_scale.items():
            if not low < high:
                raise ValueError(f"full_scale of {channel!r} is [{low}, {high}]; the first must be less")
        both = sorted(set(self.counters) & {*self.current_loop, *self.full_scale})
        if both:
            raise ValueError(f"sensors: {both[0]!r} is a counter, and cannot have a current loop or a full scale too")
        return self

    def check(self, channels: Sequence[str] | None) -> None:
        """Refuse names that are not among the declared `channels`.

        Raises
        ------
        ValueError
            A list names a channel that there is not.
        """
        for key in ("counters", "states", "current_loop", "full_scale"):
            unknown = sorted(set(getattr(self, key)) - set(channels or getattr(self, key)))
            if unknown:
                raise ValueError(f"sensors.{key} names {unknown[0]!r}, which is not among the channels")
