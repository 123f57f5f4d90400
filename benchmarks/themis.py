"""Windows a core-second of the encoders of `themis`, and rows live: ``python -m benchmarks themis``.

Chronos models have random weights in the shapes of the released ones: speed is the same, quality there is none.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tests.tsad.foundation.chronos_models import write_chronos
from tsad.detectors.registry import create_detector
from tsad.detectors.themis_adapters import local_outlier_factor, mean_similarity, spectral_residual, trimmed_top_k
from tsad.foundation.encoders import Encoder, load_encoder
from tsad.observations import RowBatch

SECONDS = 2.0
BATCH, STEPS = 16, 512
MODELS = (("t5", "tiny"), ("bolt", "tiny"), ("bolt", "mini"), ("bolt", "small"), ("chronos-2", "small"))


def core_seconds(call: Callable[[], object]) -> float:
    """Processor seconds of one call, the mean of as many as fit, after one that does not count."""
    call()
    began, calls = time.process_time(), 0
    while time.process_time() - began < SECONDS or not calls:
        call()
        calls += 1
    return (time.process_time() - began) / calls


def encoders_table(folder: Path) -> Table:
    """Encoders beside each other, windows of 512 steps."""
    table = Table("encoder", "parameters", "dtype", "windows a core-second", "ratio", "one window, ms")
    windows = np.random.default_rng(0).standard_normal((BATCH, STEPS)).astype(np.float32)
    first = 0.0

    def add(name: str, size: str, dtype: str, encoder: Encoder) -> None:
        nonlocal first
        rate = BATCH / core_seconds(lambda: encoder(windows))
        first = first or rate
        alone = 1e3 * core_seconds(lambda: encoder(windows[:1]))
        table.add_row(name, size, dtype, f"{rate:,.1f}", f"{rate / first:.3f}", f"{alone:.1f}")

    add("timercd-nano", "0.6 M", "float32", load_encoder("timercd-nano"))
    for kind, size in MODELS:
        path = write_chronos(folder / f"{kind}-{size}", kind, size)
        for dtype in ("float32", "bfloat16"):
            encoder = load_encoder(str(path), dtype=dtype)
            # The decoder is loaded too, and is no part of what is measured.
            count = sum(p.numel() for p in encoder._pipeline.inner_model.parameters())  # noqa: SLF001
            add(f"{kind} {size}", f"{count / 1e6:.1f} M", dtype, encoder)
    return table


def adapters_table() -> Table:
    """What adapters cost a window, a vector a step (512) and a patch (32)."""
    table = Table("adapter", "512 vectors, ms", "32 vectors, ms")
    rng = np.random.default_rng(0)
    several, few = rng.standard_normal((512, 256)), rng.standard_normal((32, 96))
    for name, adapter in (
        ("spectral-residual", spectral_residual),
        ("spectral-residual, signed", lambda v: spectral_residual(v, similarity="signed")),
        ("lof", local_outlier_factor),
        ("mean-similarity", mean_similarity),
        ("top-k", trimmed_top_k),
    ):
        cells = [f"{1e3 * core_seconds(lambda: adapter(v)):.2f}" for v in (several, few)]  # noqa: B023 - called at once
        table.add_row(name, *cells)
    return table


def live_table() -> Table:
    """Rows of one channel a core-second, as a stream brings them, with the nano's tokens."""
    table = Table("hop", "rows a core-second")
    t = np.arange(640)
    values = (np.sin(t / 9) + 0.2 * np.random.default_rng(0).standard_normal(640)).astype(np.float32)[:, None]
    for hop in (1, 4, 16):
        detector = create_detector("themis", {"hop": hop})
        detector.reserve(1, 1)
        detector.fit(0, values[:512], t[:512] * 10**9)
        zeros = np.zeros(128, np.int32)
        rows = RowBatch(zeros, t[512:] * 10**9, values[512:], zeros.astype(np.uint8), zeros, zeros.astype(np.int64))
        table.add_row(str(hop), f"{128 / core_seconds(lambda: detector.score(rows)):,.0f}")  # noqa: B023 - called at once
    return table


def main() -> None:
    """Measure and print the tables."""
    torch.set_num_threads(1)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        console.print(encoders_table(Path(folder)))
    console.print(adapters_table())
    console.print(live_table())


if __name__ == "__main__":
    main()
