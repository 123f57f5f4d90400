"""The event engine: categorical events in, scores and alarms out. The counterpart of `tsad.engine`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tsad.alarms import EVENT_RULE, SEVERITIES, AlarmBook, AlarmTransition, OddAttribute, Verdict
from tsad.calibration.episodes import AlarmPolicy, CalibratedScores, EpisodeCalibrator
from tsad.errors import NotEnoughDataError, SnapshotError
from tsad.events.base import EventDetector, held_out
from tsad.events.batch import EventBatch
from tsad.events.episodes import EventEpisodes
from tsad.events.records import EventOutput, EventRecords
from tsad.events.registry import create_event_detector
from tsad.events.settings import EventScoringSettings
from tsad.events.vocabulary import EventVocabulary
from tsad.explanation import number, severity_of
from tsad.fusion import PRIOR_CLUSTERS, harmonic_score
from tsad.stream_output import FitReport

__all__ = ["EventEngine"]

_DAY_NS = 86_400 * 10**9
_EXPECTED = 3
# Events have no off-delay in rows: alarms close by time. Neighbouring odd events count as one cluster.
_CLUSTER_GAP = 1
_LEAST_SEEN = 5  # times that a new value must come before it is learnt: what comes once is not a newcomer
_PLAIN_DAY = 1_000.0  # events a day where the training events all carry one time


class EventEngine:
    """Runs one event stream: words, learning, detectors, calibration, fusion, alarms.

    One model is learnt for the whole stream, from its first events; later it learns on from quiet events. The result
    depends on the order of the events alone: not on how they were cut into batches, not on a clock.

    Parameters
    ----------
    name
        Of the stream; alarms carry it.
    settings
        What is judged, and how.
    """

    def __init__(self, name: str, settings: EventScoringSettings) -> None:
        self.name = name
        self.settings = settings
        self.detectors: dict[str, EventDetector] = {
            d.name: create_event_detector(d.name, d.options) for d in settings.detectors
        }
        self._words = EventVocabulary(settings.attributes, limit=settings.max_words, overflow="unseen")
        self._place = None if settings.asset is None else settings.attributes.index(settings.asset)
        # The events that are learnt next: all of them at first, quiet ones later.
        self._waiting = self._no_codes()
        self._waiting_times = np.zeros(0, np.int64)
        self._episodes = EventEpisodes(round(settings.alarm.off_delay * 1e9))
        self._book = AlarmBook(name)
        self._newest = 0
        self._calibrate_for(1.0)
        self.fit_count = 0

    @property
    def fitted(self) -> bool:
        """Whether events are scored already."""
        return self.fit_count > 0

    def _no_codes(self) -> npt.NDArray[np.int32]:
        return np.zeros((0, len(self.settings.attributes)), np.int32)

    def _calibrate_for(self, events_per_day: float) -> None:
        """Make calibrators for a stream of so many events a day."""
        alarm = self.settings.alarm
        policy = AlarmPolicy(alarm.false_alarms_per_day, _CLUSTER_GAP, memory_rows=alarm.memory_events)
        self.events_per_day = events_per_day
        prior = PRIOR_CLUSTERS if len(self.detectors) > 1 else 0.0
        self._calibrator = EpisodeCalibrator(policy, events_per_day, prior)
        self._members = {name: EpisodeCalibrator(policy, events_per_day) for name in self.detectors}

    # ------------------------------------------------------------------------------------------------- one batch

    def process(self, records: EventRecords) -> EventOutput:
        """Take in events, in source order.

        Raises
        ------
        EventFormatError
            The columns are not the declared attributes, or differ in length.
        """
        out = EventOutput.empty(len(records), tuple(self.detectors))
        if not len(records):
            return out
        events = self._words.encode(dict(records.columns))
        self._newest = max(self._newest, int(records.times.max()))
        start = 0
        while start < len(records):
            goal = self.settings.learn_events if self.fitted else self.settings.train_events
            due = len(records) - start if goal is None else max(1, goal - len(self._waiting))
            part = slice(start, min(start + due, len(records)))
            if self.fitted:
                quiet = self._score(records, events.rows(part), part, out)
                if goal is not None:
                    self._collect(events.codes[part][quiet], records.times[part][quiet])
            else:
                self._collect(events.codes[part], records.times[part])
            start = part.stop
            if goal is not None and len(self._waiting) >= goal:
                self._learn(out)
        return out

    def _collect(self, codes: npt.NDArray[np.int32], times: npt.NDArray[np.int64]) -> None:
        self._waiting = np.concatenate((self._waiting, codes))
        self._waiting_times = np.concatenate((self._waiting_times, times))

    # ------------------------------------------------------------------------------------------------- learning

    def _learn(self, out: EventOutput) -> None:
        events = EventBatch(self.settings.attributes, np.ascontiguousarray(self._waiting))
        times = self._waiting_times
        again = self.fitted
        try:
            report = self.learn_on(events, times) if again else self.fit(events, times)
        except NotEnoughDataError as error:
            # The oldest quarter goes, so that it is tried again on newer events.
            kept = len(events) // 4
            self._waiting, self._waiting_times = self._waiting[kept:], times[kept:]
            out.fits.append(FitReport(self.name, int(times[-1]), len(events), None, str(error)))
            return
        self._waiting, self._waiting_times = self._no_codes(), times[:0]
        out.fits.append(report)
        out.counts["learnt_again" if again else "learnt"] += 1

    def fit(self, events: EventBatch, times: npt.NDArray[np.int64]) -> FitReport:
        """Learn from the first events; the next one is scored.

        Parameters
        ----------
        events, times
            n events, most of them normal, in order; int64[n], ns UTC.

        Raises
        ------
        NotEnoughDataError
            A detector or the calibration needs more events.
        """
        honest = {name: detector.fit(events) for name, detector in self.detectors.items()}
        return self._calibrate(honest, times)

    def learn_on(self, events: EventBatch, times: npt.NDArray[np.int64]) -> FitReport:
        """Learn from newer quiet events, newcomers included, and calibrate anew on those held out of them.

        An event with a new value is learnt only when the value has come five times: else odd values that stayed below
        the threshold would become usual one by one.
        """
        judging = held_out(len(events))
        training = ~judging & ~self._passing(events)
        honest = {}
        for name, detector in self.detectors.items():
            detector.partial_fit(events.rows(training))
            honest[name] = np.full(len(events), np.nan)
            honest[name][judging] = detector.score(events.rows(judging)).score
        return self._calibrate(honest, times)

    def _passing(self, events: EventBatch) -> npt.NDArray[np.bool_]:
        """bool[n], events with a value that no detector knows and that hardly ever comes."""
        unseen = np.all([detector.score(events).unseen for detector in self.detectors.values()], axis=0)
        seldom = np.stack([np.bincount(codes)[codes] < _LEAST_SEEN for codes in events.codes.T], axis=1)
        return np.asarray((unseen & seldom).any(axis=1))

    def _calibrate(self, honest: Mapping[str, npt.NDArray[np.float64]], times: npt.NDArray[np.int64]) -> FitReport:
        span = int(times.max() - times.min())
        self._calibrate_for((len(times) - 1) * _DAY_NS / span if span else _PLAIN_DAY)
        if len(honest) == 1:
            verdict = next(iter(honest.values()))
        else:
            for name, scores in honest.items():
                self._members[name].fit(0, scores)
            verdict = harmonic_score(
                np.stack([self._members[name].prefix_p_values(0, scores) for name, scores in honest.items()])
            )
        calibration = self._calibrator.fit(0, verdict)
        self.fit_count += 1
        return FitReport(self.name, int(times[-1]), len(times), calibration, None)

    # ------------------------------------------------------------------------------------------------- scoring

    def _score(self, records: EventRecords, events: EventBatch, part: slice, out: EventOutput) -> npt.NDArray[np.bool_]:
        """Score part of a batch; returns which of its events are quiet."""
        n = len(events)
        series, breaks = np.zeros(n, np.int32), np.zeros(n, np.bool_)
        said = {name: detector.score(events) for name, detector in self.detectors.items()}
        members: dict[str, CalibratedScores] = {}
        if len(said) == 1:
            verdict = next(iter(said.values())).score
        else:
            members = {name: self._members[name].update(series, s.score, breaks) for name, s in said.items()}
            verdict = harmonic_score(np.stack([m.p_values for m in members.values()]))
        calibrated = self._calibrator.update(series, verdict, breaks)
        odd = verdict > calibrated.thresholds
        for name, scores in said.items():
            out.scores[name][part] = scores.score
        out.verdict[part], out.p_values[part] = verdict, calibrated.p_values
        out.thresholds[part], out.odd[part] = calibrated.thresholds, odd
        unseen = np.any([scores.unseen.any(axis=1) for scores in said.values()], axis=0)
        out.unseen[part] = unseen
        out.counts["odd_events"] += int(odd.sum())
        out.counts["unseen_value"] += int(unseen.sum())
        p_values = {name: (members[name] if members else calibrated).p_values for name in said}
        told: dict[int, tuple[str, tuple[OddAttribute, ...]]] = {}

        def about(event: int) -> tuple[str, str, int]:
            # The detector that found the event oddest explains it.
            leader = min(p_values, key=lambda name: p_values[name][event])
            one = events.rows(slice(event, event + 1))
            attributes = self._explained(self.detectors[leader], one)
            asset = self.name
            if self._place is not None:
                asset = self._words.words(
                    self.settings.attributes[self._place], one.codes[0, self._place : self._place + 1]
                )[0]
            level = SEVERITIES.index(severity_of(calibrated.rates[event], self._budget))
            told[event] = asset, attributes
            return asset, f"{attributes[0].attribute}={attributes[0].observed}", level

        for change in self._episodes.walk(records.times[part], records.partitions[part], odd, about):
            i = change.event
            details: dict[str, Any] = {
                "score": number(verdict[i]),
                "threshold": number(calibrated.thresholds[i]),
                "p_value": number(calibrated.p_values[i]),
                "one_in_days": number(1.0 / (calibrated.rates[i] * self.events_per_day)),
                "verdicts": tuple(
                    Verdict(name, number(s.score[i]), number(p_values[name][i])) for name, s in said.items()
                ),
                "attributes": told[i][1] if change.kind != "cleared" else (),
            }
            severity = SEVERITIES[0] if change.kind == "cleared" else severity_of(calibrated.rates[i], self._budget)
            where = part.start + i
            out.transitions.append(
                self._book.step(
                    f"alarm.{change.kind}",  # type: ignore[arg-type]
                    change.asset,
                    EVENT_RULE,
                    int(records.times[where]),
                    (int(records.partitions[where]), int(records.offsets[where])),
                    severity=severity,
                    details=details if change.kind != "cleared" else None,
                ),
            )
        return ~odd

    @property
    def _budget(self) -> float:
        return self.settings.alarm.false_alarms_per_day / self.events_per_day

    def _explained(self, detector: EventDetector, one: EventBatch) -> tuple[OddAttribute, ...]:
        """Attributes of one event, the oddest first."""
        why = detector.explain(one, _EXPECTED)
        surprise = np.maximum(why.surprise[0], 0.0)
        total = float(surprise.sum())
        shares = surprise / total if total > 0 else np.full(len(surprise), 1.0 / len(surprise))
        unseen = detector.score(one).unseen[0]
        found = []
        for place in np.argsort(-why.surprise[0], kind="stable").tolist():
            name = self.settings.attributes[place]
            known = why.expected[0, place] >= 0
            words = self._words.words(name, why.expected[0, place][known])
            likely = [number(p) for p in why.probability[0, place][known]]
            observed = self._words.words(name, one.codes[0, place : place + 1])[0]
            expected = tuple((word, p) for word, p in zip(words, likely, strict=True) if word != observed)
            found.append(OddAttribute(name, float(shares[place]), observed, bool(unseen[place]), expected))
        return tuple(found)

    # ------------------------------------------------------------------------------------------------- state

    def state(self, *, fitted: bool) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Everything that the next batch depends on, as named arrays and JSON-ready values.

        Parameters
        ----------
        fitted
            What changes only when the stream learns (models), or else all the rest (streaming state).
        """
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {
            "calibrator": self._calibrator.state(1, fitted=fitted),
            **{f"member:{name}": member.state(1, fitted=fitted) for name, member in self._members.items()},
        }
        if fitted:
            parts |= {f"detector:{name}": d.state() for name, d in self.detectors.items() if d.fitted}
        else:
            parts["words"] = self._words.state()
            parts["waiting"] = {"codes": self._waiting.copy(), "times": self._waiting_times.copy()}
        arrays = {f"{part}|{name}": array for part, values in parts.items() for name, array in values.items()}
        extra = {
            "book": self._book.state(),
            "episodes": self._episodes.state(),
            "fits": self.fit_count,
            "events_per_day": self.events_per_day,
            "newest": self._newest,
        }
        return arrays, {} if fitted else extra

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], extra: Mapping[str, Any]) -> None:
        """Continue from the union of both states.

        Raises
        ------
        SnapshotError
            The state was made with other settings or by another version.
        """
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for key, array in arrays.items():
            part, _, name = key.partition("|")
            parts.setdefault(part, {})[name] = array
        try:
            self._words.restore(parts["words"])
            self._waiting, self._waiting_times = parts["waiting"]["codes"], parts["waiting"]["times"]
            self._calibrate_for(float(extra["events_per_day"]))
            self._calibrator.restore(parts["calibrator"])
            for name, member in self._members.items():
                member.restore(parts[f"member:{name}"])
            if extra["fits"]:
                for name, detector in self.detectors.items():
                    detector.restore(parts[f"detector:{name}"])
        except KeyError as error:
            raise SnapshotError(f"the stored state of event stream {self.name!r} lacks {error}") from error
        self._calibrator.set_budget(self.settings.alarm.false_alarms_per_day)
        self._book.restore(extra["book"])
        self._episodes.restore(extra["episodes"])
        self.fit_count, self._newest = int(extra["fits"]), int(extra["newest"])

    def relearn(self, extra: Mapping[str, Any]) -> list[AlarmTransition]:
        """Take over from a stored state nothing but the alarms: their counts go on, open ones are closed."""
        self._book.restore(extra["book"])
        return self._book.close_all(int(extra["newest"]))
