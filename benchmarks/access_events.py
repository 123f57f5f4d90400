"""Odd access events of the simulator, scored by the event engine with its defaults."""

import time

import numpy as np

from tsad.events.engine import EventEngine
from tsad.events.records import EventRecords
from tsad.events.settings import EventScoringSettings
from tsad.simulation.access_events import AccessSettings, simulate_access_events

ATTRIBUTES = ("user", "host", "process", "action", "source_zone")
DAYS, SEEDS, BATCH = 20, 5, 5_000
_DAY = 86_400 * 10**9


def run(seed: int) -> tuple[int, float, float, dict[str, float], float]:
    """Events, false odd events a day, share of odd ones found, the same by reason, and events a second."""
    start = 1_750_000_000 * 10**9 // _DAY * _DAY
    recording = simulate_access_events(AccessSettings(odd_share=0.0005), seed, start, DAYS * 86_400.0, start + _DAY)
    columns = {name: [str(value) for value in getattr(recording, name)] for name in ATTRIBUTES}
    n = len(recording.times)
    engine = EventEngine("access", EventScoringSettings(attributes=ATTRIBUTES, asset="user"))
    odd, scored = np.zeros(n, bool), np.zeros(n, bool)
    began = time.perf_counter()
    for first in range(0, n, BATCH):
        part = slice(first, min(first + BATCH, n))
        found = engine.process(
            EventRecords(
                recording.times[part], {name: values[part] for name, values in columns.items()},
                np.zeros(part.stop - first, np.int32), np.arange(first, part.stop),
            )
        )  # fmt: skip
        odd[part], scored[part] = found.odd, ~np.isnan(found.p_values)
    seconds = time.perf_counter() - began
    days = np.ptp(recording.times[scored]) / _DAY
    reasons = {
        reason: float(odd[scored & (recording.reason == reason)].mean())
        for reason in np.unique(recording.reason)
        if reason
    }
    planted = recording.odd & scored
    return n, float((odd & ~recording.odd).sum() / days), float(odd[planted].mean()), reasons, n / seconds


def main() -> None:
    """Print a row a seed."""
    print("| seed | events | false odd events a day | odd ones found | by reason | events/s, learning included |")
    print("|---:|---:|---:|---:|---|---:|")
    for seed in range(SEEDS):
        n, false, found, reasons, speed = run(seed)
        told = ", ".join(f"{name.replace('_', ' ')} {share:.2f}" for name, share in reasons.items())
        print(f"| {seed} | {n:,} | {false:.2f} | {found:.2f} | {told} | {speed:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
