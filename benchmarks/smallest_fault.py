"""The smallest fault that two detectors raise an alarm for together, beside either alone, after little training.

``python -m benchmarks smallest_fault``: three channels of white noise at a row a second, one false alarm a day
accepted; 30 rows of one channel are lifted by ever more deviations. Combinations also with other weights of what their
calibration knows beforehand (`tsad.fusion.PRIOR_CLUSTERS`).
"""

from collections.abc import Sequence
from unittest.mock import patch

import numpy as np

from tsad.engine import StreamEngine
from tsad.fusion import PRIOR_CLUSTERS
from tsad.observations import ObservationBatch
from tsad.settings import DetectorSettings, StreamSettings

TRAIN_ROWS = (100, 200, 400, 1_000, 4_000)
SEEDS = range(4)
HEIGHTS = (6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1_024, 4_096)
FAULT_ROWS, CHANNELS = 30, 3
PRIORS = (0.0, 4.0, 8.0, 16.0, 32.0)


def is_told(detectors: Sequence[str], train_rows: int, height: float, seed: int) -> bool:
    """Whether an alarm is raised while the fault lasts."""
    rows = train_rows + 200 + FAULT_ROWS
    values = np.random.default_rng(seed).standard_normal((rows, CHANNELS)).astype(np.float32)
    values[-FAULT_ROWS:, 0] += height
    start, zeros = 10**18, np.zeros(rows, np.int64)
    times = start + np.arange(rows) * 10**9
    settings = StreamSettings(
        name="noise", step=1, channels=tuple(f"c{i}" for i in range(CHANNELS)), train_rows=train_rows,
        detectors=tuple(DetectorSettings(name=name) for name in detectors),
    )  # fmt: skip
    engine = StreamEngine(settings)
    engine.table.add("asset")
    found = engine.process(
        ObservationBatch(
            zeros.astype(np.int32), times, values, None, zeros.astype(np.int32), np.arange(rows), zeros
        )
    )  # fmt: skip
    return any(t.kind == "alarm.raised" and t.time >= times[-FAULT_ROWS] for t in found.transitions)


def smallest(detectors: Sequence[str], train_rows: int, prior: float) -> str:
    """The smallest height by seed, the least and the greatest of them."""
    with patch("tsad.scoring_tier.PRIOR_CLUSTERS", prior):
        found = [next((h for h in HEIGHTS if is_told(detectors, train_rows, h, seed)), np.inf) for seed in SEEDS]
    low, high = (f"{one:,.0f}" if np.isfinite(one) else "none" for one in (min(found), max(found)))
    return low if low == high else f"{low} to {high}"


def main() -> None:
    """Print a row a length of the training part."""
    ways: list[tuple[str, Sequence[str], float]] = [
        ("robust", ("robust",), PRIOR_CLUSTERS),
        ("sub-pca", ("sub-pca",), PRIOR_CLUSTERS),
        *((f"both, {prior:g}", ("robust", "sub-pca"), prior) for prior in PRIORS),
    ]
    print("| training rows | " + " | ".join(name for name, _, _ in ways) + " |")
    print("|---:|" + "---|" * len(ways))
    for train_rows in TRAIN_ROWS:
        cells = (smallest(detectors, train_rows, prior) for _, detectors, prior in ways)
        print(f"| {train_rows:,} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
