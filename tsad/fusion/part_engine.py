"""The part engine: what is told of parts in, verdicts and alarms out. The counterpart of `tsad.engine` for parts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.alarms import PART_RULE, SEVERITIES, AlarmBook, AlarmTransition, PartEvidence, Verdict
from tsad.errors import SnapshotError
from tsad.explanation import number, severity_of
from tsad.fusion.false_discovery import OnlineFalseDiscovery
from tsad.fusion.part_calibration import PartCalibration
from tsad.fusion.part_events import JoinedParts, PartEvents
from tsad.fusion.part_joiner import PartJoiner
from tsad.fusion.part_settings import PartSettings

__all__ = ["PartEngine", "PartVerdicts"]


@dataclass(slots=True)
class PartVerdicts:
    """What m moments of parts led to.

    Attributes
    ----------
    joined
        What was known of each.
    p_values
        float64[m, k] by stream, NaN where it is missing or has no calibration.
    fused
        float64[m], the p-value that is decided on.
    method
        str[m]: the rule that was used; ``single`` for one stream, a stream's name where it decides alone, empty for
        none.
    decided_by
        int32[m], the stream with the smallest p-value; -1 for none.
    began
        int32[m], the step at which the process was oddest, -1 where it was not odd; its worst row is in `joined`.
    flagged
        bool[m].
    closer
        bool[m], the process alone asks for a closer look (cascade).
    transitions, counts
        Of alarms, and of everything that happened.
    """

    joined: JoinedParts
    p_values: npt.NDArray[np.float64]
    fused: npt.NDArray[np.float64]
    method: npt.NDArray[Any]
    decided_by: npt.NDArray[np.int32]
    began: npt.NDArray[np.int32]
    flagged: npt.NDArray[np.bool_]
    closer: npt.NDArray[np.bool_]
    transitions: list[AlarmTransition] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


_SEVERAL_SOURCES = (-1, -1)  # no single record leads to a verdict on a part


class PartEngine:
    """Joins, calibrates, combines and judges the parts of one line.

    The first `train_parts` closed parts of each stream and model version calibrate it; until then it says nothing, and
    the part is judged by the others. The result depends on the order of the events alone: not on how they were cut
    into batches, not on a clock.

    Parameters
    ----------
    name
        Of the stream; alarms carry it.
    settings
        What is joined, and how it is judged.
    channels
        Names of channels by step, to name the worst one; may grow while it runs.

    Examples
    --------
    >>> engine = PartEngine("line", PartSettings(steps=("press",), views=()))
    >>> engine.calibrated
    {}
    """

    def __init__(
        self, name: str, settings: PartSettings, channels: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self.channels: dict[str, tuple[str, ...]] = dict(channels or {})
        self.joiner = PartJoiner(settings)
        self._calibration = PartCalibration(settings)
        self._models: dict[str, int] = {}
        self._book = AlarmBook(name)
        # Flagged parts of which nothing more will be known, with the event time until which they stand as alarms.
        self._standing: list[tuple[int, str]] = []
        self._newest = 0
        level = settings.false_discoveries
        self._online = None if level is None else OnlineFalseDiscovery(level)

    def model(self, stream: str, version: str) -> int:
        """Number of a model version of a stream, for `PartEvents.detail`; a new one is entered."""
        return self._models.setdefault(f"{stream}\x1f{version}", len(self._models))

    @property
    def calibrated(self) -> dict[str, int]:
        """On how many parts the newest calibration of each stream rests; streams without one are left out."""
        return self._calibration.sizes()

    @property
    def fit_count(self) -> int:
        """Calibrations that were made."""
        return self._calibration.fit_count

    # ------------------------------------------------------------------------------------------------- one batch

    def process(self, events: PartEvents) -> PartVerdicts:
        """Take in events, in order of arrival."""
        joined = self.joiner.take(events)
        m, k = joined.score.shape
        out = PartVerdicts(
            joined, np.full((m, k), np.nan), np.full(m, np.nan), np.full(m, "", "<U64"), np.full(m, -1, np.int32),
            np.full(m, -1, np.int32), np.zeros(m, np.bool_), np.zeros(m, np.bool_), counts=Counter(joined.counts),
        )  # fmt: skip
        start = 0
        while start < m:
            # A calibration that becomes ready judges the parts after the one that made it so, and none before.
            stop = self._calibration.ready_after(joined, start)
            self._judge(out, slice(start, stop))
            self._alarm(out, range(start, stop))
            self._calibration.learn(joined, slice(start, stop), out.counts)
            start = stop
        out.transitions += self._close_standing()
        return out

    def _judge(self, out: PartVerdicts, part: slice) -> None:
        joined, settings, steps = out.joined, self.settings, len(self.settings.steps)
        p = self._calibration.p_values(joined.score[part], joined.version[part])
        uncalibrated = ~np.isnan(joined.score[part]) & np.isnan(p)
        if uncalibrated.any():
            out.counts["uncalibrated"] += int(uncalibrated.any(axis=1).sum())
        fused, method = self._calibration.combined(p)
        if settings.decide_by != "fused":
            # Where that stream is missing the others are all there is.
            alone = p[:, settings.streams.index(settings.decide_by)]
            method = np.where(np.isnan(alone), method, settings.decide_by)
            fused = np.where(np.isnan(alone), fused, alone)
        out.p_values[part], out.fused[part], out.method[part] = p, fused, method
        known = ~np.isnan(p).all(axis=1)
        lowest = np.where(np.isnan(p), 2.0, p)
        out.decided_by[part] = np.where(known, lowest.argmin(axis=1), -1)
        if steps:
            upstream = p.copy()
            upstream[:, steps:] = np.nan
            process, _ = self._calibration.combined(upstream)
            own = lowest[:, :steps]
            odd = own.min(axis=1) <= max(settings.closer_imaging, settings.false_parts)
            out.began[part] = np.where(odd, own.argmin(axis=1), -1)
            out.closer[part] = process <= settings.closer_imaging
        if self._online is None:
            out.flagged[part] = fused <= settings.false_parts
        else:
            out.flagged[part] = self._online.decide(np.where(joined.final[part], fused, np.nan))

    # ------------------------------------------------------------------------------------------------- alarms

    def _alarm(self, out: PartVerdicts, moments: range) -> None:
        joined, book = out.joined, self._book
        for i in moments:
            out.counts["flagged"] += int(out.flagged[i] & joined.final[i])
            part, flagged, final = joined.part[i], bool(out.flagged[i]), bool(joined.final[i])
            active = book.is_active(part, PART_RULE)
            self._newest = max(self._newest, int(joined.time[i]))
            if not (flagged or active):
                if final:
                    book.forget(part, PART_RULE)
                continue
            kind = "part.flagged" if not active else "part.amended" if flagged else "part.released"
            severity = severity_of(max(out.fused[i], 1e-12), self.settings.false_parts) if flagged else SEVERITIES[0]

            def step(kind: str, severity: str, i: int = i) -> None:
                out.transitions.append(
                    book.step(
                        kind,  # type: ignore[arg-type]
                        joined.part[i],
                        PART_RULE,
                        int(joined.time[i]),
                        _SEVERAL_SOURCES,
                        severity=severity,
                        details=self._details(out, i),
                    )
                )

            step(kind, severity)
            if final and flagged:
                # Nothing more will be known, but somebody has yet to take the part out.
                self._standing.append((int(joined.time[i]) + round(self.settings.stands * 1e9), part))
            elif final:
                book.forget(part, PART_RULE)

    def _close_standing(self) -> list[AlarmTransition]:
        over = len(self._standing) - self.settings.max_open
        due = [one for i, one in enumerate(self._standing) if i < over or one[0] <= self._newest]
        if not due:
            return []
        gone = set(due)
        self._standing = [one for one in self._standing if one not in gone]
        closed = []
        for until, part in due:
            closed.append(
                self._book.step("part.closed", part, PART_RULE, until, _SEVERAL_SOURCES, severity=SEVERITIES[0])
            )
            self._book.forget(part, PART_RULE)
        return closed

    def _details(self, out: PartVerdicts, i: int) -> dict[str, Any]:
        joined, names, steps = out.joined, self.settings.streams, len(self.settings.steps)
        fused, decided, began = float(out.fused[i]), int(out.decided_by[i]), int(out.began[i])
        missing = tuple(name for name, score in zip(names, joined.score[i], strict=True) if np.isnan(score))
        return {
            "score": number(-np.log10(max(fused, 1e-300))),
            "threshold": float(-np.log10(self.settings.false_parts)) if self._online is None else None,
            "p_value": number(fused),
            "verdicts": tuple(
                Verdict(name, number(joined.score[i, s]), number(out.p_values[i, s]))
                for s, name in enumerate(names)
                if not np.isnan(joined.score[i, s])
            ),
            "part": PartEvidence(
                part_id=joined.part[i],
                final=bool(joined.final[i]),
                flagged=bool(out.flagged[i]),
                method=str(out.method[i]),
                dependence=self._calibration.correlation(~np.isnan(out.p_values[i])),
                decided_by=names[decided] if decided >= 0 else None,
                missing=missing,
                uncalibrated=tuple(
                    name
                    for s, name in enumerate(names)
                    if not np.isnan(joined.score[i, s]) and np.isnan(out.p_values[i, s])
                ),
                station=names[began] if began >= 0 else None,
                channel=self.channel(names[began], int(joined.detail[i, began])) if began >= 0 else None,
                began=int(joined.when[i, began]) if began >= 0 else None,
                shared_by=int(joined.shared[i, :steps].max(initial=1)),
                closer_imaging=bool(out.closer[i]),
            ),
        }

    def channel(self, step: str, number: int) -> str | None:
        """Name of a channel of a step; None where it is not known."""
        names = self.channels.get(step, ())
        return names[number] if 0 <= number < len(names) else None

    # ------------------------------------------------------------------------------------------------- state

    def state(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything that the next batch depends on, as named arrays and JSON-ready values."""
        joiner, extra = self.joiner.state()
        arrays = {f"joiner|{name}": array for name, array in joiner.items()}
        calibration, known = self._calibration.state()
        arrays |= {f"calibration|{name}": array for name, array in calibration.items()}
        return arrays, {
            "joiner": extra,
            "calibration": known,
            "models": dict(self._models),
            "book": self._book.state(),
            "online": None if self._online is None else self._online.state(),
            "standing": [list(one) for one in self._standing],
            "newest": self._newest,
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], extra: Mapping[str, Any]) -> None:
        """Continue from a stored state.

        Raises
        ------
        SnapshotError
            The state was made with other settings or by another version.
        """
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {"joiner": {}, "calibration": {}}
        for key, array in arrays.items():
            part, _, name = key.partition("|")
            parts.setdefault(part, {})[name] = array
        try:
            self.joiner.restore(parts["joiner"], extra["joiner"])
            self._calibration.restore(parts["calibration"], extra["calibration"])
            self._models = dict(extra["models"])
            self._book.restore(extra["book"])
            if self._online is not None:
                self._online.restore(extra["online"])
            self._standing = [(until, part) for until, part in extra["standing"]]
            self._newest = int(extra["newest"])
        except (KeyError, TypeError) as error:
            raise SnapshotError(f"the stored state of parts of {self.name!r} cannot be read: {error!r}") from error

    def relearn(self, extra: Mapping[str, Any]) -> list[AlarmTransition]:
        """Take over from a stored state nothing but the alarms: open ones are closed."""
        self._book.restore(extra["book"])
        return self._book.close_all(int(extra["joiner"]["clock"]))
