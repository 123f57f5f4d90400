"""A thousand series at 1 Hz with the nano beside `robust`, live: ``python -m benchmarks foundation_live``.

From a record handed to the producer until the receiver has accepted the signed webhook, with producer, broker, daemon
and receiver on the same processors; and how many rows the network was too late for. The first line is without it.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.latency import Setup, measure
from benchmarks.throughput import broker

_TRAIN_ROWS = 120
_RUNS = (
    ("robust", None, None),
    ("robust, timercd-nano", 16, None),
    ("robust, timercd-nano", 16, "200ms"),
    ("robust, timercd-nano", 4, "200ms"),
)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--series", type=int, default=1_000)
    arguments, _ = parser.parse_known_args()
    columns = ("detectors", "hop", "deadline", "told", "p50, s", "p99, s", "worst, s", "waiting", "late rows")
    print("| " + " | ".join(columns) + " |\n|---" + "|---:" * (len(columns) - 1) + "|", flush=True)
    for name, hop, deadline in _RUNS:
        detectors: tuple[object, ...] = ("robust",)
        if hop:
            options = {"hop": hop, "calibration_rows": 80}
            detectors = ("robust", {"name": "timercd-nano", "options": options})
        setup = Setup(arguments.series, "200ms", arguments.seconds, detectors, deadline, _TRAIN_ROWS)
        with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as bootstrap:
            found = measure(Path(folder), bootstrap, setup)
        quantiles = np.quantile(found.latencies, [0.5, 0.99, 1.0]) if len(found.latencies) else [np.nan] * 3
        cells = (
            name, str(hop or ""), deadline or "none", f"{len(found.latencies)} of {found.planted}",
            *(f"{one:.2f}" for one in quantiles), str(found.waiting), f"{100 * found.late:.1f} %",
        )  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
