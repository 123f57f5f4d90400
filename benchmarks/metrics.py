"""Metrics beside their reference packages: the same arrays, one after the other, in one run.

``make bench-metrics`` builds the environment of the references first; ``python -m benchmarks.metrics --references
PYTHON`` uses one that is there. Without it only this project's own times and memory are measured.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from evaluation.backtest.memory import PeakMemory
from evaluation.metrics.affiliation import affiliation, oracle_best_affiliation_f1
from evaluation.metrics.pate import pate
from evaluation.metrics.point_adjust import oracle_best_point_adjusted_f1, pa_k_area
from evaluation.metrics.pointwise import average_precision
from evaluation.metrics.range_based import oracle_best_range_based_f1, range_based
from evaluation.metrics.registry import evaluate
from evaluation.metrics.vus import vus_pr

OURS: dict[str, Callable[[Any, Any], float]] = {
    "pate": lambda y, s: pate(y, s, early=100, delay=100),
    "vus_pr": lambda y, s: vus_pr(y, s, window=100),
    "vus_pr of tsb-ad": lambda y, s: vus_pr(y, s, window=100),
    "affiliation_f1": lambda y, s: affiliation(y, s >= 1.5).f1,
    "oracle_best_affiliation_f1": oracle_best_affiliation_f1,
    "oracle_best_point_adjusted_f1": lambda y, s: oracle_best_point_adjusted_f1(y, s).f1,
    "oracle_best_range_based_f1": oracle_best_range_based_f1,
    "pa_k_area": lambda y, s: pa_k_area(y, s >= 1.5),
    "range_based_f1": lambda y, s: range_based(y, s >= 1.5, alpha=0.2, cardinality="reciprocal").f1,
    "average_precision": average_precision,
}
BESIDE = (
    ("pate", 10_000), ("vus_pr", 10_000), ("vus_pr", 100_000), ("vus_pr of tsb-ad", 100_000),
    ("affiliation_f1", 100_000), ("oracle_best_affiliation_f1", 100_000), ("oracle_best_point_adjusted_f1", 100_000),
    ("oracle_best_range_based_f1", 10_000), ("pa_k_area", 100_000), ("range_based_f1", 10_000),
    ("average_precision", 100_000),
)  # fmt: skip
LENGTHS = (100_000, 200_000, 400_000, 1_000_000)


def arrays(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels with an event of 200 steps in every 2,000, and scores that see a part of it."""
    generator = np.random.default_rng(7)
    y = np.zeros(steps, np.int64)
    for start in range(500, steps - 200, 2000):
        y[start : start + 200] = 1
    return y, generator.normal(size=steps) + y


def timed(run: Callable[[], float]) -> tuple[float, float]:
    """Median seconds of at least three calls after one to compile, and the value."""
    value = float(run())
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds) < 0.3 and len(seconds) < 200):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)), value


def beside(references: str) -> Table:
    """Seconds of both, their ratio, and how far the values are apart."""
    table = Table("metric", "rows", "ours, ms", "reference, ms", "times faster", "ours", "reference")
    for name, steps in BESIDE:
        y, s = arrays(steps)
        seconds, value = timed(lambda name=name, y=y, s=s: OURS[name](y, s))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "arrays.npz"
            np.savez(path, labels=y, scores=s)
            script = Path(__file__).with_name("reference_metrics.py")
            done = subprocess.run(
                [references, str(script), name, str(path)], capture_output=True, text=True, check=False
            )
        if done.returncode:
            raise SystemExit(f"{name}: the reference failed:\n{done.stderr[-2000:]}")
        theirs = json.loads(done.stdout.splitlines()[-1])
        table.add_row(
            name, f"{steps:,}", f"{seconds * 1e3:,.2f}", f"{theirs['seconds'] * 1e3:,.0f}",
            f"{theirs['seconds'] / seconds:,.0f}", f"{value:.10f}", f"{theirs['value']:.10f}",
        )  # fmt: skip
    return table


def growth() -> Table:
    """Seconds and added memory against the number of rows, each in a process of its own."""
    table = Table("what", "rows", "seconds", "added memory, MiB", "bytes a row")
    for what in ("pate", "vus_pr", "evaluate"):
        for steps in LENGTHS:
            code = f"from benchmarks.metrics import alone; alone({what!r}, {steps})"
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            memory = found["added_memory_mb"]
            table.add_row(
                what, f"{steps:,}", f"{found['seconds']:.3f}", f"{memory:,.1f}", f"{memory * 2**20 / steps:,.0f}"
            )
    return table


def alone(what: str, steps: int) -> None:
    """Print the seconds and the added memory of one call, compiled before on a short series."""

    def run(y: np.ndarray, s: np.ndarray) -> object:
        if what == "evaluate":
            return evaluate(y, s, threshold=1.5, rows_per_day=1440)
        return OURS[what](y, s)

    run(*arrays(5000))
    y, s = arrays(steps)
    memory = PeakMemory.start()
    began = time.perf_counter()
    run(y, s)
    print(json.dumps({"seconds": time.perf_counter() - began, **memory.record()}))


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--references", metavar="PYTHON", help="the Python of the environment with the references")
    arguments, _ = parser.parse_known_args()
    console = Console(width=150)
    if arguments.references:
        console.print(beside(arguments.references))
    else:
        console.print("no --references PYTHON given (make bench-metrics builds it): only growth with the rows")
    console.print(growth())


if __name__ == "__main__":
    main()
