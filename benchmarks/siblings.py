"""Siblings live: what a row costs beside `robust`, what every commit stores, and which faults either finds.

Run as ``python -m benchmarks node_fleet --part live [--seeds N]``. On one thread.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from connectors.history.database import Commit, History
from connectors.history.stored_snapshots import StoredSnapshot
from streams.configuration import NumericStream
from streams.sibling_lane import SiblingLane
from tsad.engine import StreamEngine
from tsad.observations import ObservationBatch, RowBatch
from tsad.series import SeriesTable
from tsad.simulation.hpc_fleet import FleetFaultKind, HpcFleetSettings, simulate_hpc_fleet

NODES, CHANNELS, TRAIN, STEPS = 100, 30, 600, 600
BUDGET = 0.1
"""Accepted false alarms a day and node: with one a day, an alarm in a fault of a day would mostly be chance."""
START = 1_767_225_600 * 10**9


def stream(step: float, train_rows: int, channels: int) -> NumericStream:
    """A stream whose nodes are one group."""
    return NumericStream.model_validate(
        {
            "name": "nodes", "topic": "nodes", "step": step, "train_rows": train_rows, "detectors": ["robust"],
            "alarm": {"false_alarms_per_day": BUDGET}, "channels": [f"c{i}" for i in range(channels)], "siblings": {
                "groups": {"all": "*"}, "train_rows": train_rows, "alarm": {"false_alarms_per_day": BUDGET},
            },
        }
    )  # fmt: skip


def lane_of(settings: NumericStream) -> SiblingLane:
    """The lane of a stream's siblings."""
    siblings = settings.sibling_stream()
    assert siblings is not None
    return SiblingLane(settings, siblings, 2)


def readings(random: np.random.Generator, steps: int) -> np.ndarray:
    """float32[t, k, n], nodes of one load."""
    load = np.cumsum(random.standard_normal((steps, 1, CHANNELS)), axis=0) / 10
    gain = np.random.default_rng(1).uniform(0.5, 2, (1, NODES, CHANNELS))
    return (gain * load + 0.2 * random.standard_normal((steps, NODES, CHANNELS))).astype(np.float32)


def rows_of(values: np.ndarray, first: int, step: int) -> RowBatch:
    """Rows of all nodes, step by step."""
    t, k, n = values.shape
    times = START + step * np.repeat(np.arange(first, first + t, dtype=np.int64), k)
    series = np.tile(np.arange(k, dtype=np.int32), t)
    return RowBatch(
        series, times, values.reshape(-1, n), np.zeros(t * k, np.uint8), np.zeros(t * k, np.int32), np.arange(t * k)
    )


def observations_of(rows: RowBatch) -> ObservationBatch:
    """The same as observations."""
    return ObservationBatch(rows.series, rows.times, rows.values, None, rows.partitions, rows.offsets, rows.times)


def cost(console: Console) -> None:
    """Microseconds a row, in one run, by how many steps come at once; and what is stored."""
    values = readings(np.random.default_rng(0), TRAIN + 4 * STEPS)
    settings = stream(1.0, TRAIN, CHANNELS)
    table = Table("steps a batch", "robust, µs a row", "siblings, µs a row", "ratio")
    for at_once in (1, 10, 60):
        engine, lane = StreamEngine(settings), lane_of(settings)
        nodes = names(engine.table)
        seconds = np.zeros(2)
        learnt = rows_of(values[: TRAIN + 6], 0, 10**9)
        engine.process(observations_of(learnt))
        began = time.perf_counter()
        lane.join((learnt, nodes))
        learning = time.perf_counter() - began
        for place, first in enumerate(range(TRAIN + 6, TRAIN + 6 + STEPS, at_once)):
            rows = rows_of(values[first : first + at_once], first, 10**9)
            # Turns alternate, because the machine may be shared.
            for which in (0, 1) if place % 2 else (1, 0):
                began = time.perf_counter()
                if which:  # as the other, without what is kept in history
                    lane.engine.process(rows)
                else:
                    engine.process(observations_of(rows))
                seconds[which] += time.perf_counter() - began
        own, siblings = seconds / STEPS / NODES * 1e6
        table.add_row(str(at_once), f"{own:.1f}", f"{siblings:.1f}", f"{siblings / own:.2f}")
    console.print(table)
    console.print(f"{NODES} nodes of {CHANNELS} channels; learning all of them took {learning:.2f} s, once")
    stored(lane, nodes, values, console)


def names(table: SeriesTable) -> SeriesTable:
    """The table with all nodes."""
    for node in range(NODES):
        table.add(f"node-{node}")
    return table


def stored(lane: SiblingLane, nodes: SeriesTable, values: np.ndarray, console: Console) -> None:
    """Bytes and milliseconds of what a commit of one step stores, and of the whole state."""
    table = Table("what", "kB", "ms to make", "ms to write, median of 30")
    with tempfile.TemporaryDirectory() as folder, History(Path(folder) / "h.duckdb") as history:
        lane.committed_state({}, whole=True)
        lane.committed()
        for what, whole in (("nothing but positions", None), ("rows of one step", False), ("whole state", True)):
            made, written, size = [], [], 0
            for again in range(30):
                if whole is None:
                    began = time.perf_counter()
                    history.commit(Commit(positions={("nodes", 0): again}))
                    written.append(time.perf_counter() - began)
                    made.append(0.0)
                    continue
                lane.join((rows_of(values[-1:], 10**4 + 100 * whole + again, 10**9), nodes))
                began = time.perf_counter()
                snapshots: list[StoredSnapshot] = lane.committed_state({("nodes", 0): again}, whole=whole)
                between = time.perf_counter()
                history.commit(Commit(positions={("nodes", 0): again}, snapshots=snapshots))
                written.append(time.perf_counter() - between)
                made.append(between - began)
                lane.committed()
                size = sum(len(one.arrays) + len(json.dumps(dict(one.extra))) for one in snapshots)
            table.add_row(what, f"{size / 1e3:.0f}", f"{np.median(made) * 1e3:.1f}", f"{np.median(written) * 1e3:.1f}")
    learnt = sum(array.nbytes for array in lane.engine.state(fitted=True)[0].values())
    console.print(table)
    console.print(f"what was learnt ({learnt / 1e3:.0f} kB) is written only when it changes")


def found(seeds: int, console: Console) -> None:
    """Faults of the simulated fleet with an alarm of the node's own (`robust`) and with one by its siblings."""
    for shared in (0.5, 1.0):
        hits: dict[tuple[str, str], list[bool]] = {}
        false: dict[str, list[float]] = {"own": [], "siblings": []}
        chance: dict[str, list[bool]] = {"own": [], "siblings": []}
        for seed in range(seeds):
            fleet = HpcFleetSettings(seed=seed, shared_load=shared)
            made = simulate_hpc_fleet(fleet)
            values = np.ascontiguousarray(made.values.transpose(1, 0, 2))
            settings = stream(300.0, 4032, len(made.features))
            engine, lane = StreamEngine(settings), lane_of(settings)
            for node in made.nodes:
                engine.table.add(node)
                lane.engine.table.add(node)
            out = engine.process(observations_of(rows_of(values, 0, 300 * 10**9)))
            said = lane.engine.process(out.rows)
            for way, one in (("own", out), ("siblings", said)):
                cells = (one.rows.times - START) // (300 * 10**9)
                for fault in made.faults:
                    inside = (one.rows.series == fault.node) & (cells >= fault.first) & (cells < fault.last)
                    hits.setdefault((way, fault.kind), []).append(bool(one.calibrated.on[inside].any()))
                for node in range(fleet.nodes):
                    own = one.rows.series == node
                    on = np.zeros(fleet.rows, np.bool_)
                    on[cells[own]] = one.calibrated.on[own]
                    days = [slice(at, at + 288) for at in range(4032, fleet.rows - 288, 288)]
                    # Of days without a fault on that node, nor just before: its alarm may still stand.
                    healthy = [day for day in days if not made.labels[node, day.start - 48 : day.stop].any()]
                    chance[way] += [bool(on[day].any()) for day in healthy]
                raised = [
                    ((t.time - START) // (300 * 10**9), made.nodes.index(t.asset))
                    for t in one.transitions
                    if t.kind == "alarm.raised"
                ]
                unasked = sum(not made.labels[node, max(0, at - 12) : at + 1].any() for at, node in raised)
                false[way].append(unasked / ((fleet.rows - 4032) / 288 * fleet.nodes))
        title = f"share of faults alarmed, {seeds} fleets of 8 nodes, one common job {100 * shared:.0f} % of the time"
        table = Table("fault", "own, robust", "siblings", title=title)
        for kind in FleetFaultKind:
            table.add_row(str(kind), *(f"{np.mean(hits[way, kind]):.2f}" for way in false))
        table.add_row("healthy days with an alarm", *(f"{np.mean(each):.2f}" for each in chance.values()))
        table.add_row("false alarms a day and node", *(f"{np.mean(each):.2f}" for each in false.values()))
        console.print(table)


def live(seeds: int, console: Console) -> None:
    """All of it."""
    cost(console)
    found(seeds, console)
