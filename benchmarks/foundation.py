"""Windows a core-second of `timercd-nano` by engine, and rows live: ``python -m benchmarks foundation``."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.special import expit

from tsad.detectors.registry import create_detector
from tsad.foundation.onnx_export import export_nano
from tsad.foundation.runtime import OnnxNano, Runner, nano_runner, torch_nano
from tsad.foundation.scoring import label_recording
from tsad.foundation.weights import load_nano
from tsad.observations import RowBatch

SECONDS = 1.0
SERIES, LEARNT, LIVE = 20, 544, 32


def core_seconds(call: Callable[[], object]) -> float:
    """Processor seconds of one call, the mean of as many as fit."""
    call()
    began, calls = time.process_time(), 0
    while time.process_time() - began < SECONDS or not calls:
        call()
        calls += 1
    return (time.process_time() - began) / calls


def wall_seconds(call: Callable[[], object]) -> float:
    """Seconds of one call by the wall clock, the median of as many as fit; runners return when the GPU is done."""
    for _ in range(10):
        call()
    seconds: list[float] = []
    while sum(seconds) < SECONDS:
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def engines(folder: Path) -> dict[str, Runner]:
    """The shipped network by every engine, the 8-bit graph made afresh."""
    network, _ = load_nano()
    for int8 in (False, True):
        export_nano(network, folder / f"nano{'-int8' if int8 else ''}.onnx", int8=int8)
    return {
        "torch fp32": torch_nano(network),
        "ONNX fp32": OnnxNano(folder / "nano.onnx"),
        "ONNX int8": OnnxNano(folder / "nano-int8.onnx"),
    }


def noisy_waves(rows: int, channels: int) -> np.ndarray:
    """Waves with noise and one shift, float32[rows, channels]."""
    generator = np.random.default_rng(0)
    t = np.arange(rows)[:, None]
    values = np.sin(t / (9 + np.arange(channels))) + 0.2 * generator.standard_normal((rows, channels))
    values[rows // 2 : rows // 2 + 60] += 2
    return values.astype(np.float32)


def windows_table(runners: dict[str, Runner]) -> Table:
    """How many windows of 512 steps, and how far scores are from torch's."""
    table = Table("engine", "windows at once", "windows a core-second", "ratio", "largest difference of a score")
    recording = noisy_waves(3000, 1)
    reference = None
    first = 0.0
    for name, runner in runners.items():
        scores = expit(label_recording(runner, recording, window=512, scales=(1, 4), stride=128, batch=1))
        reference = scores if reference is None else reference
        for batch in (1, 32):
            values = np.random.default_rng(0).standard_normal((batch, 1, 512)).astype(np.float32)
            valid = np.ones_like(values)
            rate = batch / core_seconds(lambda: runner(values, valid))  # noqa: B023 - called at once
            first = first or rate
            difference = f"{np.abs(scores - reference).max():.1e}"
            table.add_row(name, str(batch), f"{rate:,.0f}", f"{rate / first:.2f}", difference)
    return table


def gpu_table() -> Table:
    """Windows a second of the wall clock by every engine on a GPU, one channel each; the first call captures."""
    table = Table("engine", "windows at once", "windows a second", "ratio", "first call, s", "difference of a score")
    recording, cpu = noisy_waves(3000, 1), torch_nano(load_nano()[0])
    options: dict[str, Any] = {"window": 512, "scales": (1, 4), "stride": 128}
    reference = expit(label_recording(cpu, recording, **options))
    rates: dict[int, float] = {}
    for engine in ("torch", "cuda-graph", "cuda-graph-tf32"):
        runner, _ = nano_runner(engine=engine, device="cuda")
        difference = np.abs(expit(label_recording(runner, recording, **options)) - reference).max()
        for batch in (1, 32, 512):
            values = np.random.default_rng(0).standard_normal((batch, 1, 512)).astype(np.float32)
            valid = np.ones_like(values)
            began = time.perf_counter()
            runner(values, valid)
            first = time.perf_counter() - began
            rate = batch / wall_seconds(lambda: runner(values, valid))  # noqa: B023 - called at once
            ratio = rate / rates.setdefault(batch, rate)
            table.add_row(
                runner.engine, str(batch), f"{rate:,.0f}", f"{ratio:.2f}", f"{first:.3f}", f"{difference:.1e}"
            )
    return table


def live_table() -> Table:
    """Rows of many series a core-second, one row of each in a batch, as a stream brings them."""
    table = Table("hop", "rows a core-second", "seconds to be ready")
    for hop in (1, 4, 16):
        began = time.process_time()
        detector = create_detector("timercd-nano", {"hop": hop, "calibration_rows": 1})
        ready = time.process_time() - began
        detector.reserve(SERIES, 1)
        # Enough rows for every scale to speak.
        values = noisy_waves(LEARNT + LIVE, SERIES).T
        times = np.arange(LEARNT + LIVE) * 10**9
        for series in range(SERIES):
            detector.fit(series, values[series, :LEARNT, None].copy(), times[:LEARNT])
        numbers = np.arange(SERIES, dtype=np.int32)
        zeros = np.zeros(SERIES, np.int32)
        began = time.process_time()
        for row in range(LEARNT, LEARNT + LIVE):
            batch = RowBatch(
                numbers, np.full(SERIES, times[row]), values[:, row, None], zeros.astype(np.uint8), zeros, zeros
            )
            detector.score(batch)
        table.add_row(str(hop), f"{LIVE * SERIES / (time.process_time() - began):,.0f}", f"{ready:.2f}")
    return table


def main() -> None:
    """Measure and print the tables."""
    torch.set_num_threads(1)
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        console.print(windows_table(engines(Path(folder))))
    if torch.cuda.is_available():
        console.print(f"on {torch.cuda.get_device_name()}, torch {torch.__version__}")
        console.print(gpu_table())
    console.print(live_table())


if __name__ == "__main__":
    main()
