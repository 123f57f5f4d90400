"""Microseconds a row of ``patchbank``, by channels: ``python -m benchmarks.patchbank``."""

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from tsad.detectors.registry import create_detector
from tsad.observations import RowBatch

LEARNT, SCORED = 2048, 5000


def main() -> None:
    """Learn and score noise around a slow wander, compiled before, and print the table."""
    table = Table("channels", "immediate, µs a row", "with delays, µs a row", "learning, µs a row")
    for channels in (1, 8, 38):
        generator = np.random.default_rng(0)
        noise = generator.normal(size=(2, LEARNT + SCORED, channels))
        values = (noise[0] + 0.01 * noise[1].cumsum(axis=0)).astype(np.float32)
        times = np.arange(len(values)) * 10**9
        zeros = np.zeros(SCORED, np.int64)
        rows = RowBatch(
            zeros.astype(np.int32),
            times[LEARNT:],
            values[LEARNT:],
            zeros.astype(np.uint8),
            zeros.astype(np.int32),
            zeros,
        )
        scoring = {}
        for delays in (False, True, False, True):  # the first round of each compiles
            detector = create_detector("patchbank")
            if delays:
                detector.give_delayed()
            detector.reserve(1, channels)
            began = time.perf_counter()
            detector.fit(0, values[:LEARNT], times[:LEARNT])
            learnt = time.perf_counter()
            detector.score(rows)
            scoring[delays] = (time.perf_counter() - learnt) / SCORED * 1e6
        table.add_row(
            str(channels), f"{scoring[False]:.0f}", f"{scoring[True]:.0f}", f"{(learnt - began) / LEARNT * 1e6:.0f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
