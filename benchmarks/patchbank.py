"""Microseconds a row of ``patchbank``, by channels: ``python -m benchmarks.patchbank``."""

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from tsad.detectors.registry import create_detector
from tsad.observations import RowBatch

LEARNT, SCORED = 2048, 5000
FORMS: dict[str, dict[str, object]] = {"as it is": {}, "no clusters": {"clusters": "never"}, "lite": {"lite": True}}


def main() -> None:
    """Learn and score noise around a slow wander, compiled before, and print the table."""
    table = Table("channels", "form", "immediate, µs a row", "with delays, µs a row", "learning, µs a row")
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
        for form, options in FORMS.items():
            scoring = {}
            for delays in (False, True, False, True):  # the first round of each compiles
                detector = create_detector("patchbank", options)
                if delays:
                    detector.give_delayed()
                detector.reserve(1, channels)
                began = time.process_time()
                detector.fit(0, values[:LEARNT], times[:LEARNT])
                learnt = time.process_time()
                detector.score(rows)
                scoring[delays] = (time.process_time() - learnt) / SCORED * 1e6
            learning = (learnt - began) / LEARNT * 1e6
            table.add_row(str(channels), form, f"{scoring[False]:.0f}", f"{scoring[True]:.0f}", f"{learning:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
