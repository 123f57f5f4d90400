"""How parts are joined with what is known of them, and judged."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tsad.settings import Duration, Frozen

__all__ = ["PartSettings", "ViewSettings"]

Rule = Literal["brown", "fisher", "stouffer", "tippett", "cauchy", "harmonic", "e-values"]


class ViewSettings(Frozen):
    """One camera's look at every part."""

    station: str
    camera: str
    after: str | None = Field(default=None, description="the step before it; needed for images without a part id")
    transport_delay: Duration | None = Field(
        default=None, description="from the end of `after` to the image; default: measured on parts with an id"
    )
    tolerance: Duration = Field(default=1.0, description="how far an image without a part id may be off")

    @property
    def name(self) -> str:
        """Name of its stream."""
        return f"{self.station}/{self.camera}"


class PartSettings(Frozen):
    """Which streams tell of a part, how long it is waited for, and how they are combined."""

    steps: tuple[str, ...] = Field(description="stations of the process, in order; assets of the numeric stream")
    views: tuple[ViewSettings, ...] = Field(description="cameras")
    wait: Duration = Field(default=600.0, gt=0, description="after a part's first record, by arrival, it is closed")
    max_open: int = Field(default=100_000, ge=1, description="beyond it the oldest parts are closed")
    keep_rows: Duration = Field(
        default=3600.0, gt=0, description="for how long rows of the process are kept to be joined"
    )
    rule: Rule = "brown"
    recalibrate: bool = Field(
        default=True, description="calibrate the combined p-value once more on the same good parts"
    )
    decide_by: str = Field(default="fused", description="or the stream that is better alone; see check_fusion")
    train_parts: int = Field(default=1000, ge=20, description="closed parts that calibrate each stream and version")
    min_pairs: int = Field(
        default=200, ge=20, description="parts with both streams before brown takes over from cauchy"
    )
    tail: bool = Field(default=False, description="fit tails, for p-values below 1 / train_parts")
    false_parts: float = Field(
        default=0.01, gt=0, lt=1, description="share of good parts that you accept to be flagged"
    )
    false_discoveries: float | None = Field(
        default=None, gt=0, lt=1, description="instead: share of good parts among the flagged; final verdicts alone"
    )
    stands: Duration = Field(
        default=86_400.0,
        description="for how long a part that stays flagged stands as an alarm, for somebody to take it",
    )
    closer_imaging: float = Field(default=0.05, ge=0, le=1, description="share of parts that the process sends there")

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of all streams: steps, then views."""
        return (*self.steps, *(view.name for view in self.views))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = self.streams
        if not names:
            raise ValueError("neither steps nor views are given; nothing tells of a part")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the stream {twice[0]!r} stands twice among steps and views")
        for view in self.views:
            if view.after is not None and view.after not in self.steps:
                raise ValueError(f"view {view.name!r} comes after {view.after!r}, which is not among steps")
        if self.decide_by != "fused" and self.decide_by not in names:
            raise ValueError(f"decide_by is {self.decide_by!r}; it must be fused or one of {', '.join(names)}")
        return self
