"""From the start of a process to its first score, and its memory: ``python -m benchmarks foundation_start``.

Every line is a fresh interpreter that makes the detector, learns 256 rows of one channel and scores the next one; the
first line is a light detector, for what Python and its libraries take anyway. Chronos models have random weights in the
shapes of the released ones, and lie on this disk.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.tsad.foundation.chronos_models import write_chronos

REPEATS = 3
MODELS = (("t5", "tiny"), ("bolt", "tiny"), ("bolt", "small"), ("chronos-2", "small"))

_PROCESS = """
import json, sys, time
from pathlib import Path
import numpy as np
from tsad.detectors.registry import create_detector
from tsad.observations import RowBatch
name, options = json.loads(sys.argv[1])
detector = create_detector(name, options)
detector.reserve(1, 1)
t = np.arange(257)
values = (np.sin(t / 9) + 0.2 * np.random.default_rng(0).standard_normal(257)).astype(np.float32)[:, None]
detector.fit(0, values[:256], t[:256] * 10**9)
zero = np.zeros(1, np.int32)
detector.score(RowBatch(zero, t[256:] * 10**9, values[256:], zero.astype(np.uint8), zero, zero.astype(np.int64)))
most = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(json.dumps([time.clock_gettime(time.CLOCK_BOOTTIME), time.process_time(), int(most.split()[1]) / 1024]))
"""


def started(name: str, options: Mapping[str, Any]) -> tuple[float, float, float]:
    """Seconds by the wall clock and of the processor until the first score, and MiB at most; medians."""
    found = []
    for _ in range(REPEATS):
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        command = [sys.executable, "-W", "ignore", "-c", _PROCESS, json.dumps([name, dict(options)])]
        said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        found.append((said[0] - before, said[1], said[2]))
    wall, processor, memory = np.median(found, axis=0)
    return float(wall), float(processor), float(memory)


def main() -> None:
    """Print a row a detector."""
    print("| detector | seconds to the first score | of a processor | MiB | above the light one |", flush=True)
    print("|---|---:|---:|---:|---:|", flush=True)
    light = 0.0
    with tempfile.TemporaryDirectory() as folder:
        ways: list[tuple[str, str, dict[str, Any]]] = [
            ("`robust`", "robust", {}),
            ("`timercd-nano`, ONNX", "timercd-nano", {"engine": "onnx", "hop": 16}),
            ("`timercd-nano`, torch", "timercd-nano", {"engine": "torch", "hop": 16}),
            ("`themis`, nano", "themis", {"hop": 16}),
        ]
        for kind, size in MODELS:
            path = write_chronos(Path(folder) / f"{kind}-{size}", kind, size)
            ways.append((f"`themis`, {kind} {size}", "themis", {"hop": 16, "encoder": str(path)}))
        for label, name, options in ways:
            wall, processor, memory = started(name, options)
            light = light or memory
            print(f"| {label} | {wall:.1f} | {processor:.1f} | {memory:,.0f} | {memory - light:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
