"""What learning a series by `timercd-nano` costs: ``python -m benchmarks foundation_learning``."""

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.foundation import noisy_waves
from tsad.detectors.registry import create_detector

SECONDS = 3.0


def seconds_a_series(hop: int, rows: int, channels: int) -> float:
    """Processor seconds of one `fit`, the mean of as many as fit into `SECONDS`."""
    detector = create_detector("timercd-nano", {"hop": hop})
    values, times = noisy_waves(rows, channels), np.arange(rows) * 10**9
    detector.fit(0, values, times)
    began, series = time.process_time(), 0
    while time.process_time() - began < SECONDS or not series:
        detector.fit(0, values, times)
        series += 1
    return (time.process_time() - began) / series


def main() -> None:
    """Measure and print the table."""
    table = Table("rows", "channels", "hop", "ms a series", "ms a row")
    for rows, channels in ((120, 1), (2000, 1), (2000, 8)):
        for hop in (1, 4, 16) if channels == 1 else (16,):
            seconds = seconds_a_series(hop, rows, channels)
            table.add_row(str(rows), str(channels), str(hop), f"{seconds * 1e3:,.0f}", f"{seconds / rows * 1e3:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
