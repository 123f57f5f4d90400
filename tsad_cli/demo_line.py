"""The inspection line of the demonstration: parts with defects that begin upstream, and which side found what."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np

from tsad.simulation.inspection_line import DefectKind, InspectionLine, InspectionLineSettings, simulate_line
from tsad_cli.demo_feed import GENEALOGY, INSPECTION, LINE, LINE_STREAMS, NANOSECONDS, Defect, Outgoing

__all__ = ["LineResult", "line_defects", "line_records", "line_streams", "read_parts", "simulated_line"]

_PART_SECONDS = 2
_TRANSPORT_SECONDS = 12
_STATION = "inspection"
_PREFIX = "plant/line-1/"
_FALSE_PARTS = 0.02
_DEFECT_SHARE = 0.2
# Rows from which the stations are learnt; their p-values begin after that, and parts are calibrated on them.
_TRAIN_ROWS = 200
_ENCODER = msgspec.json.Encoder()


def simulated_line(rows: int, clean_rows: int, seed: int) -> InspectionLine:
    """Simulate a line for so many seconds, without defects in the first of them."""
    settings = InspectionLineSettings(
        seed=seed,
        parts=(rows - 2 * _TRANSPORT_SECONDS) // _PART_SECONDS - 3,
        clean_parts=clean_rows // _PART_SECONDS,
        part_seconds=_PART_SECONDS,
        transport_seconds=float(_TRANSPORT_SECONDS),
        defect_share=_DEFECT_SHARE,
        kind_shares=(0.4, 0.2, 0.2, 0.2),
        dependence=0.2,
        missing_images=0.01,
    )
    return simulate_line(settings)


def line_streams(clean_rows: int) -> list[dict[str, Any]]:
    """The line's part of the section `streams` of the daemon's configuration."""
    process, genealogy, inspection = LINE_STREAMS
    steps = [_PREFIX + name for name in InspectionLineSettings().stations]
    views = [
        {"station": _STATION, "camera": f"camera-{c + 1}", "after": steps[-1]}
        for c in range(InspectionLineSettings().cameras)
    ]
    return [
        {
            "name": process, "topic": LINE, "step": "1s", "train_rows": _TRAIN_ROWS, "detectors": ["robust"],
            "alarm": {"false_alarms_per_day": 10, "off_delay": "5s"},
        },
        {"name": genealogy, "kind": "genealogy", "topic": GENEALOGY},
        {
            "name": inspection, "kind": "inspections", "topic": INSPECTION,
            "joining": {
                "genealogy_stream": genealogy, "process_stream": process, "steps": steps, "views": views,
                # By arrival, and event time runs forty times as fast here.
                "wait": "10s", "hold": "5s", "stands": "5s",
                "train_parts": (clean_rows - _TRAIN_ROWS) // _PART_SECONDS * 3 // 4,
                "min_pairs": 50, "rule": "cauchy", "false_parts": _FALSE_PARTS,
            },
        },
    ]  # fmt: skip


def line_records(line: InspectionLine, begin: int, first_part: int = 0) -> Iterator[Outgoing]:
    """The line's records, its first row moved to `begin` (ns UTC); `time` is when they arrive."""
    shift = begin - int(line.row_times[0])
    half = NANOSECONDS // 2
    stations = [_PREFIX + name for name in line.settings.stations]
    for row, time in enumerate((line.row_times + shift).tolist()):
        for asset, values in zip(stations, line.values[:, row], strict=True):
            shown = {f"c{c}": float(str(value)) for c, value in enumerate(values)}
            yield _outgoing(LINE, asset, {"time": time // 1_000_000, "asset": asset, "values": shown}, time + half)
    for part in range(len(line.part)):
        name = _name(part + first_part)
        for place, asset in enumerate(stations):
            start, end = int(line.started[part, place]) + shift, int(line.ended[part, place]) + shift
            told = {"part_id": name, "station": asset, "started": _iso(start), "ended": _iso(end)}
            yield _outgoing(GENEALOGY, asset, told, end + half)
        for camera in np.flatnonzero(line.image_arrival[part] >= 0).tolist():
            image: dict[str, Any] = {
                "inspection_id": f"{name}-{camera + 1}",
                "part_id": name,
                "station": _STATION,
                "camera": f"camera-{camera + 1}",
                "captured_at": _iso(int(line.captured[part, camera]) + shift),
                "model": {"name": "simulated", "version": "1"},
                "raw_score": float(line.image_score[part, camera]),
            }
            yield _outgoing(INSPECTION, name, image, int(line.image_arrival[part, camera]) + shift)


def line_defects(line: InspectionLine, first_part: int = 0) -> dict[str, Defect]:
    """Every part after the clean ones: what is wrong with it, and where that began."""
    kinds, stations = list(DefectKind), [_PREFIX + name for name in line.settings.stations]
    return {
        _name(part + first_part): Defect(
            kinds[line.kind[part]].value if line.defect[part] else "",
            stations[line.cause_station[part]] if line.cause_station[part] >= 0 else None,
        )
        for part in range(line.settings.clean_parts, len(line.part))
    }


def _name(number: int) -> str:
    return f"part-{number:06d}"


def _outgoing(topic: str, key: str, told: dict[str, Any], time: int) -> Outgoing:
    return Outgoing(topic, key.encode(), _ENCODER.encode(told), time)


def _iso(ns: int) -> str:
    moment = datetime.fromtimestamp(ns // 1_000 / 1e6, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class LineResult:
    """What each side found of the parts, at the same number of good parts that are flagged.

    Attributes
    ----------
    parts, good
        Parts that were judged after the clean ones, and the good ones among them.
    planted
        Defects by kind.
    found
        Found defects by kind, for ``images``, ``process`` and ``together``.
    false
        Good parts that were flagged by both together; the sides alone are cut so that they flag as many.
    amended
        Parts whose first verdict, by the process alone, was changed by their images.
    began_right, began_known
        Flagged defects whose station was named rightly, of those whose cause the process shows.
    """

    parts: int = 0
    good: int = 0
    planted: Mapping[str, int] = field(default_factory=dict)
    found: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    false: int = 0
    amended: int = 0
    began_right: int = 0
    began_known: int = 0

    def total(self, side: str) -> int:
        """Defects that one side found."""
        return sum(self.found.get(side, {}).values())


def read_parts(path: Path, defects: Mapping[str, Defect]) -> LineResult:
    """Read what the daemon said of parts.

    Parameters
    ----------
    path
        The history file; nobody else may have it open for writing.
    defects
        The truth about each part that counts.
    """
    if not defects:
        return LineResult()
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "SELECT p.part_id, p.p_values, p.flagged, p.station, s.detectors, p.scores, "
            "first_value(p.flagged) OVER (PARTITION BY part_id ORDER BY amendment) "
            "FROM parts p JOIN streams s USING (stream_id) "
            "QUALIFY row_number() OVER (PARTITION BY part_id ORDER BY amendment DESC) = 1"
        ).fetchall()
    judged = [row for row in rows if row[0] in defects]
    truth = [defects[part] for part, *_ in judged]
    bad = np.array([bool(one.kind) for one in truth], np.bool_)
    flagged = np.array([row[2] for row in judged], np.bool_)
    smallest = {side: _oddness([_oddest(row, side) for row in judged]) for side in ("images", "process")}
    false = int((flagged & ~bad).sum())
    by_side = {side: _as_many(odd, bad, false) for side, odd in smallest.items()} | {"together": flagged}
    kinds = np.array([one.kind for one in truth])
    known = [i for i in np.flatnonzero(flagged & bad) if truth[i].station is not None]
    return LineResult(
        parts=len(judged),
        good=int((~bad).sum()),
        planted=dict(Counter(kinds[bad].tolist())),
        found={side: dict(Counter(kinds[bad & chosen].tolist())) for side, chosen in by_side.items()},
        false=false,
        amended=sum(row[2] != row[6] for row in judged),
        began_right=sum(judged[i][3] == truth[i].station for i in known),
        began_known=len(known),
    )


def _oddest(row: tuple[Any, ...], side: str) -> tuple[float, float]:
    """The smallest p-value of a part's cameras or stations with its score; (1, 0) where they say nothing."""
    _, p_values, _, _, streams, scores, _ = row
    own = [
        (p, -score)
        for name, p, score in zip(
            streams, p_values or [None] * len(streams), scores or [0.0] * len(streams), strict=True
        )
        if p is not None and name.startswith(_PREFIX) == (side == "process")
    ]
    smallest = min(own, default=(1.0, 0.0))
    return smallest[0], smallest[1]


def _oddness(oddest: list[tuple[float, float]]) -> Any:
    """Ranks from odd to usual: by p-value, and where those are equal, as the smallest are, by score."""
    order = {pair: rank for rank, pair in enumerate(sorted(set(oddest)))}
    return np.array([order[pair] for pair in oddest], float)


def _as_many(oddness: Any, bad: Any, false: int) -> Any:
    """Flags of the oddest parts, down to where no more than `false` good parts are flagged."""
    good = np.sort(oddness[~bad])
    cut = good[false] if false < len(good) else np.inf
    return oddness < cut
