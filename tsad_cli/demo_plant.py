"""The simulated plant of the demonstration: what it consists of, what goes wrong, and its records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tsad.simulation import (
    AccessSettings,
    Fault,
    FaultKind,
    HpcNodeSettings,
    PlantSettings,
    PumpSkidSettings,
    messages,
    simulate,
)
from tsad.simulation.recording import PlantRecording
from tsad_cli.demo_feed import (
    ACCESS,
    ACCESS_STREAM,
    DEAD_LETTERS,
    GENEALOGY,
    INSPECTION,
    LINE,
    NANOSECONDS,
    NODES,
    PUMPS,
    Feed,
    Outgoing,
    Planted,
)
from tsad_cli.demo_line import line_defects, line_records, line_streams, simulated_line

__all__ = ["FALSE_ALARMS_PER_DAY", "FULL", "SMALL", "PlantPlan", "lay_out", "simulated_plant"]

FALSE_ALARMS_PER_DAY = 10.0
"""The budget of each asset. A plant would accept far fewer; three quarters of an hour would then prove little."""

FALSE_EVENT_ALARMS_PER_DAY = 200.0
"""The budget of the access events: four come every second, and a quarter of an hour of them is scored."""

# Rows before the first fault of an asset, between its faults and after the last one, at least.
_QUIET_ROWS = 100
# Simulated at one date whatever day it is, then moved to the present: daily swings, and so the result, depend on the
# seed alone.
_REFERENCE = 1_750_000_000 * NANOSECONDS
_MILLISECOND = 1_000_000
_SETTLING_ROWS = 20
_HOUR_ROWS = 3_600
_MEANINGLESS = frozenset({FaultKind.STUCK, FaultKind.BROKEN_CORRELATION, FaultKind.SILENCE})
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True)
class PlannedFault:
    """One line of the schedule: rows it lasts, and its size in units of the local noise."""

    kind: FaultKind
    rows: int
    severity: float = 1.0
    channel: str = ""


@dataclass(frozen=True)
class PlantPlan:
    """A plant, how long it is learnt, and what goes wrong on each of its assets, in order.

    Attributes
    ----------
    train_rows : int
        Rows of one second from which each asset is learnt.
    rows : int
        Rows in all.
    access_train_events : int
        Access events that are learnt from; they must come before the odd ones do.
    pumps, nodes : mapping of str to sequence of PlannedFault
        By asset.
    """

    train_rows: int
    rows: int
    access_train_events: int
    pumps: Mapping[str, Sequence[PlannedFault]]
    nodes: Mapping[str, Sequence[PlannedFault]]


_EARLY_ROWS, _HOP = 128, 8
_LEVEL, _STUCK, _SPIKE = FaultKind.LEVEL_SHIFT, FaultKind.STUCK, FaultKind.SPIKE
_BROKEN, _DRIFT, _NOISE = FaultKind.BROKEN_CORRELATION, FaultKind.DRIFT, FaultKind.VARIANCE_CHANGE
_OSCILLATION, _SILENCE = FaultKind.OSCILLATION, FaultKind.SILENCE

FULL = PlantPlan(
    train_rows=2_000,
    rows=3_000,
    access_train_events=6_000,
    pumps={
        "plant/utilities/pump-1": (
            PlannedFault(_LEVEL, 100, 8.0, "flow_m3_h"),
            PlannedFault(_STUCK, 150, 1.0, "speed_rpm"),
            PlannedFault(_SPIKE, 3, 10.0, "discharge_pressure_bar"),
        ),
        "plant/utilities/pump-2": (
            PlannedFault(_BROKEN, 180, 1.0, "flow_m3_h"),
            PlannedFault(_DRIFT, 150, 10.0, "speed_rpm"),
            PlannedFault(_SILENCE, 60),
        ),
        "plant/utilities/pump-3": (
            PlannedFault(_NOISE, 90, 6.0, "suction_pressure_bar"),
            PlannedFault(_OSCILLATION, 120, 8.0, "valve_position_percent"),
        ),
    },
    nodes={
        "plant/hpc/node-1": (
            PlannedFault(_STUCK, 180, 1.0, "cpu_power_w"),
            PlannedFault(_LEVEL, 120, 20.0, "fan_1_speed_rpm"),
        ),
        "plant/hpc/node-2": (
            PlannedFault(_OSCILLATION, 120, 20.0, "cpu_power_w"),
            PlannedFault(_DRIFT, 180, 20.0, "fan_1_speed_rpm"),
        ),
        "plant/hpc/node-3": (
            PlannedFault(_BROKEN, 180, 1.0, "cpu_power_w"),
            PlannedFault(_NOISE, 120, 20.0, "fan_1_speed_rpm"),
        ),
        "plant/hpc/node-4": (PlannedFault(_SILENCE, 60), PlannedFault(_SPIKE, 3, 20.0, "cpu_power_w")),
    },
)

SMALL = PlantPlan(
    train_rows=700,
    rows=1_300,
    access_train_events=2_000,
    pumps={
        "plant/utilities/pump-1": (PlannedFault(_LEVEL, 100, 10.0, "flow_m3_h"), PlannedFault(_SILENCE, 60)),
        "plant/utilities/pump-2": (PlannedFault(_NOISE, 90, 10.0, "suction_pressure_bar"),),
    },
    nodes={},
)


def lay_out(asset: str, faults: Sequence[PlannedFault], rows: range, start: int, seed: int) -> list[Fault]:
    """Spread one asset's faults evenly over some of its rows.

    Parameters
    ----------
    asset : str
        Whose faults.
    faults : sequence of PlannedFault
        In order.
    rows : range
        Rows of one second that there are for them.
    start : int
        Event time of row 0, nanoseconds UTC.
    seed : int
        Of the noise that a change of variance adds.

    Raises
    ------
    ValueError
        There is too little room.
    """
    gap = (len(rows) - sum(fault.rows for fault in faults)) // (len(faults) + 1)
    if gap < _QUIET_ROWS:
        raise ValueError(f"{asset}: {gap} quiet rows between its faults; {_QUIET_ROWS} are needed")
    laid = []
    row = rows.start
    for fault in faults:
        row += gap
        laid.append(
            Fault(
                fault.kind,
                asset,
                (fault.channel,) if fault.channel else (),
                start + row * NANOSECONDS,
                start + (row + fault.rows) * NANOSECONDS,
                severity=fault.severity,
                seed=seed,
            )
        )
        row += fault.rows
    return laid


def simulated_plant(plan: PlantPlan, seed: int, end: int, *, hours_before: int = 0, hours: int = 0) -> Feed:
    """Simulate the plant, with event times that end at `end`.

    Parameters
    ----------
    plan : PlantPlan
        Which plant.
    seed : int
        Of everything random.
    end : int
        Event time of the end, nanoseconds UTC, rounded down to the second.
    hours_before, hours : int
        Hours in which the schedule is gone through again after the plan's own rows. Only what comes after the
        first `hours_before` of them is handed out, so that a plant can be continued.
    """
    settings = _settings(plan, seed)
    first = plan.train_rows + _SETTLING_ROWS
    rows = plan.rows + hours * _HOUR_ROWS
    stretches = [range(first, plan.rows)]
    stretches += [range(done, done + _HOUR_ROWS) for done in range(plan.rows, rows, _HOUR_ROWS)]
    faults = [
        fault
        for stretch in stretches
        for asset, own in (*plan.pumps.items(), *plan.nodes.items())
        for fault in lay_out(asset, own, stretch, _REFERENCE, seed)
    ]
    recording = simulate(settings, _REFERENCE, float(rows), faults)
    shift = (end // NANOSECONDS - rows) * NANOSECONDS - _REFERENCE
    new_rows = range(plan.rows + hours_before * _HOUR_ROWS, rows) if hours else range(rows)
    begins = _REFERENCE + shift + new_rows.start * NANOSECONDS
    # The line has no memory of its own: what goes on is another stretch of it, with other parts.
    clean_rows = 0 if hours else plan.train_rows
    line = simulated_line(len(new_rows), clean_rows, seed + hours_before)
    first_part = new_rows.start
    records = [record for record in _records(recording, plan, shift) if record.time >= begins]
    records += line_records(line, begins, first_part)
    scored_rows = len(new_rows) - (0 if hours else plan.train_rows)
    early_rows = 0 if hours else plan.train_rows - _EARLY_ROWS
    assets = len(plan.pumps) + len(plan.nodes)
    nodes = f", {len(plan.nodes)} HPC nodes" if plan.nodes else ""
    return Feed(
        title=f"simulated plant: {len(plan.pumps)} pump skids{nodes}, access events, inspection line (seed {seed})",
        streams=_streams(plan),
        topics=(PUMPS, NODES, ACCESS, LINE, GENEALOGY, INSPECTION, DEAD_LETTERS),
        records=sorted(records, key=lambda record: record.time),
        planted=[_planted(fault, settings, shift) for fault in recording.faults if fault.start + shift >= begins],
        start=begins,
        end=begins + len(new_rows) * NANOSECONDS,
        training_end=recording.training_end + shift,
        scored_days=(assets * scored_rows + len(plan.pumps) * early_rows) / 86_400.0,
        false_alarms_per_day=FALSE_ALARMS_PER_DAY,
        # The model of the access events is learnt too, and the stations of the line.
        series=assets + 1 + len(line.settings.stations),
        strict=True,
        odd_events=_odd_events(recording, shift, begins),
        defects=line_defects(line, first_part),
    )


def _settings(plan: PlantPlan, seed: int) -> PlantSettings:
    return PlantSettings(
        seed=seed,
        training_seconds=float(plan.train_rows + _SETTLING_ROWS),
        pump_assets=tuple(plan.pumps),
        node_assets=tuple(plan.nodes),
        # Pumps at base load and short jobs: the training part is half an hour, and must have seen what is usual.
        pump=PumpSkidSettings(
            set_point_seconds=120.0,
            shortest_set_point_seconds=40.0,
            lowest_demand=0.80,
            highest_demand=0.86,
            daily_demand=0.005,
        ),
        node=HpcNodeSettings(job_seconds=30.0, shortest_job_seconds=10.0),
        access=AccessSettings(events_per_hour=14_400.0, odd_share=0.005),
    )


def _odd_events(recording: PlantRecording, shift: int, begins: int) -> dict[tuple[int, str], str]:
    """Why access events are odd, by moved time in whole milliseconds and user."""
    access = recording.access
    moved = (access.times + shift) // _MILLISECOND * _MILLISECOND
    return {
        (int(moved[i]), str(access.user[i])): str(access.reason[i])
        for i in np.flatnonzero(access.odd & (access.times + shift >= begins))
    }


def _planted(fault: Fault, settings: PlantSettings, shift: int) -> Planted:
    return Planted(
        kind=fault.kind.value,
        asset=fault.asset,
        channels=fault.channels,
        start=fault.start + shift,
        end=fault.end + shift,
        severity=None if fault.kind in _MEANINGLESS else fault.severity,
        step=settings.step(fault.asset),
        silence=fault.kind is FaultKind.SILENCE,
    )


def _records(recording: PlantRecording, plan: PlantPlan, shift: int) -> Iterator[Outgoing]:
    """Encode the plant's messages, moved in time."""
    for message in messages(recording):
        # Images come from the inspection line, whose parts have a process.
        if message.topic_kind == "inspections":
            continue
        time = message.time_ns + shift
        payload = {**message.payload, "time": time // _MILLISECOND}
        topic = ACCESS if message.topic_kind == "events" else PUMPS if message.key in plan.pumps else NODES
        yield Outgoing(topic, message.key.encode(), _ENCODER.encode(payload), time)


def _streams(plan: PlantPlan) -> list[dict[str, Any]]:
    """The section `streams` of the daemon's configuration."""
    common = {"step": "1s", "train_rows": plan.train_rows, "silent_after": "20s"}
    alarm = {"false_alarms_per_day": FALSE_ALARMS_PER_DAY, "off_delay": "10s"}
    # As it comes, without options: what the demonstration finds, a user's first configuration finds.
    detectors = ["sub-pca"]
    streams: list[dict[str, Any]] = [
        {
            "name": "pumps",
            "topic": PUMPS,
            **common,
            "detectors": detectors,
            "alarm": alarm,
            # Judged without a past until there is one. The training part comes at once: no deadline could be kept.
            "early": {"detectors": [{"name": "timercd-nano", "options": {"hop": _HOP}}], "rows": _EARLY_ROWS},
        },
    ]
    if plan.nodes:
        alarm = {**alarm, "off_delay": "5s"}
        streams.append({"name": "nodes", "topic": NODES, **common, "detectors": detectors, "alarm": alarm})
    return [
        *streams,
        {
            "name": ACCESS_STREAM,
            "kind": "events",
            "topic": ACCESS,
            "scoring": {
                "attributes": ["user", "host", "process", "action", "source_zone"],
                "asset": "user",
                "train_events": plan.access_train_events,
                "alarm": {"false_alarms_per_day": FALSE_EVENT_ALARMS_PER_DAY, "off_delay": "20s"},
            },
        },
        *line_streams(plan.train_rows),
    ]
