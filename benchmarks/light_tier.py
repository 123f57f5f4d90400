"""The light detectors on thousands of series: points a second and core, bytes a series, beside river and PySAD.

``python -m benchmarks.light_tier [--references PYTHON]``. PYTHON is that of an environment of its own with the
packages::

    python3.11 -m venv .venv-light && .venv-light/bin/pip install river==0.26.1 pysad==0.7.0
    .venv/bin/python -m benchmarks.light_tier --references .venv-light/bin/python

Each reference scores one series, one point after the other, as its interface asks; thousands of series are thousands of
such objects, so its points a second do not depend on their number.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SERIES = 10_000
TRAIN = 1000
LARGE = {"patchbank": 1000}
"""Fewer series where the state of ten thousand would not fit beside other work on the machine."""
BESIDE = {
    "robust": ("river StandardAbsoluteDeviation", "pysad MedianAbsoluteDeviation"),
    "poly": ("river PredictiveAnomalyDetection",),
    "kmeans": ("river HalfSpaceTrees",),
    "matrix-profile": ("pysad KNNCAD",),
    "spectral-residual": (),
    "sub-pca": ("pysad LODA",),
    "patchbank": ("pysad KNNCAD",),
}
"""References of the same kind, or of the same purpose (several values of one window judged jointly)."""


def signal(rows: int) -> np.ndarray:
    """A wave with noise, float32[rows]."""
    noise = np.random.default_rng(0).standard_normal(rows)
    return (np.sin(np.arange(rows) / 15) + 0.3 * noise).astype(np.float32)


def ours(name: str) -> dict[str, float]:
    """Points a second and bytes a series of a detector, each call one row of every series."""
    from tsad.detectors.registry import create_detector
    from tsad.observations import RowBatch

    series = LARGE.get(name, SERIES)
    one = create_detector(name)
    one.reserve(1, 1)
    values = signal(TRAIN + 200)
    one.fit(0, values[:TRAIN, None], np.arange(TRAIN) * 10**9)
    states = [one.state(1, fitted=fitted) for fitted in (True, False)]
    size = sum(a.nbytes for state in states for a in state.values())
    many = create_detector(name)
    many.restore({key: np.resize(a, (series, *a.shape[1:])) for state in states for key, a in state.items()})
    numbers, zeros = np.arange(series, dtype=np.int32), np.zeros(series, np.int64)

    def call(row: int) -> float:
        rows = RowBatch(
            numbers, np.full(series, (TRAIN + row) * 10**9), np.full((series, 1), values[TRAIN + row]),
            np.zeros(series, np.uint8), zeros.astype(np.int32), zeros,
        )  # fmt: skip
        began = time.process_time()
        many.score(rows)
        return time.process_time() - began

    call(0)
    seconds: list[float] = []
    while len(seconds) < 199 and (len(seconds) < 5 or sum(seconds) < 3.0):
        seconds.append(call(1 + len(seconds)))
    return {"series": series, "points": series / float(np.median(seconds)), "bytes": size}


def reference(case: str) -> float:
    """Points a second of a reference, learning and scoring as it goes; runs in its own environment."""
    package, name = case.split()
    values = signal(100_000).astype(float)
    if package == "river":
        from river import anomaly

        detector: Any = getattr(anomaly, name)()
        if name == "HalfSpaceTrees":
            # Windows as in `kmeans`: 20 values are one point.
            windows = np.lib.stride_tricks.sliding_window_view(values, 20)
            steps = iter([dict(enumerate(window.tolist())) for window in windows[:20_000]])

            def step() -> None:
                point = next(steps)
                detector.score_one(point)
                detector.learn_one(point)
        else:
            rest = iter(values.tolist())
            if name == "PredictiveAnomalyDetection":
                from river import time_series

                # Like `poly` a forecast of the next value by the last ones.
                forecaster = time_series.SNARIMAX(p=32, d=0, q=0)
                detector = anomaly.PredictiveAnomalyDetection(forecaster, horizon=1)

            def step() -> None:
                value = next(rest)
                detector.score_one(None, value)
                detector.learn_one(None, value)
    else:
        from pysad import models

        options = {"KNNCAD": {"probationary_period": 500}}.get(name, {})
        detector = getattr(models, name)(**options)
        width = 20 if name == "LODA" else 1
        windows = np.lib.stride_tricks.sliding_window_view(values, width)
        rows = iter(windows)
        if name == "LODA":
            detector.fit(windows[:TRAIN])

        def step() -> None:
            detector.fit_score_partial(next(rows))

    for _ in range(TRAIN):
        step()
    began, count = time.process_time(), 0
    while time.process_time() - began < 3.0 and count < 15_000:
        step()
        count += 1
    return count / (time.process_time() - began)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--references", metavar="PYTHON", help="the Python of the environment with river and PySAD")
    parser.add_argument("--alone", metavar="CASE", help=argparse.SUPPRESS)
    arguments, _ = parser.parse_known_args()
    if arguments.alone:
        print(json.dumps({"points": reference(arguments.alone)}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("detector", "series", "bytes a series", "points/s and core", "reference", "points/s", "times faster")
    theirs: dict[str, float] = {}
    for name, cases in BESIDE.items():
        found = ours(name)
        first = [name, f"{found['series']:,.0f}", f"{found['bytes']:,.0f}", f"{found['points']:,.0f}"]
        for case in (cases if arguments.references else ()) or ("",):
            if case and case not in theirs:
                command = [arguments.references, str(Path(__file__)), "--alone", case]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{case}: the reference failed:\n{done.stderr[-2000:]}")
                theirs[case] = json.loads(done.stdout.splitlines()[-1])["points"]
            beside = [case, f"{theirs[case]:,.0f}", f"{found['points'] / theirs[case]:,.0f}"] if case else ["", "", ""]
            table.add_row(*first, *beside)
            first = [""] * 4
    Console(width=150).print(table)
    if not arguments.references:
        print("no --references PYTHON given: see the head of this file", file=sys.stderr)


if __name__ == "__main__":
    main()
