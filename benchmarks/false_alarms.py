"""Realised against accepted false alarms, on the quiet parts of the labelled sets.

Nothing was tuned on them but `tsad.fusion.PRIOR_CLUSTERS`, which concerns combinations alone.

``python -m benchmarks.false_alarms [--dataset NAME …] [--detector NAME[+NAME] …] [--prior-clusters N …]``. Every series
goes through the engine once; its scores then go through the engine's calibrator once a budget, those of combinations
also once for each N (by default the engine's own). A day is 1,440 rows whatever the step, so that sets can be put
together; quiet are test rows at least 100 rows from any label; an alarm that is raised there is false.
"""

import argparse
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from evaluation.backtest.causal import CausalRun, run_causal, stream_settings
from evaluation.backtest.plan import load_series
from evaluation.datasets.schema import LabelledSeries
from evaluation.errors import EvaluationError
from evaluation.metrics.segments import event_bounds
from tsad.calibration.episodes import EpisodeCalibrator
from tsad.errors import TsadError
from tsad.fusion import PRIOR_CLUSTERS
from tsad.kernels.episodes import RAISE
from tsad.observations import RowFlag
from tsad.settings import DetectorSettings

DATASETS = ("smap", "msl", "skab", "nab", "smd", "asd", "ctn", "tep", "batadal")
DETECTORS = ("patchbank", "sub-pca", "robust")
OPTIONS = {"timercd-nano": {"hop": 16}}
BUDGETS = (10.0, 1.0, 0.1)
ROWS_A_DAY = 1440
QUIET_DISTANCE = 100
LEAST_QUIET_ROWS = 300
LATE_ROWS = 32
RESAMPLES = 10_000


@dataclass(frozen=True)
class Found:
    """One series under one budget: false alarms, accepted ones, and for each event whether and how soon it was told."""

    false: int
    accepted: float
    quiet_alarmed: float
    touched: NDArray[np.bool_]
    raised_inside: NDArray[np.bool_]
    delays: NDArray[np.float64]


def quiet_rows(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Rows at least `QUIET_DISTANCE` rows from a label."""
    near = np.convolve(labels, np.ones(2 * QUIET_DISTANCE + 1), mode="same") > 0
    return np.asarray(~near, dtype=np.bool_)


def judge(run: CausalRun, series: LabelledSeries, budget: float, prior: float) -> Found:
    """Send the scores of a run through the calibrator with another budget."""
    policy = replace(run.settings.alarm.policy(run.settings.step), false_alarms_per_day=budget)
    calibrator = EpisodeCalibrator(policy, ROWS_A_DAY, prior)
    calibrator.fit(0, run.prefix_scores)
    begun = int(np.searchsorted(run.times, run.fit.time, side="right"))
    breaks = (run.flags[begun:] & RowFlag.BREAK) != 0
    result = calibrator.update(np.zeros(len(breaks), np.int32), run.verdict[begun:], breaks)
    # Rows of the engine to rows of the recording, by the newest engine row that is not later.
    raised = np.zeros(len(series.test_labels), np.bool_)
    places = np.searchsorted(run.last_rows, np.flatnonzero(result.events == RAISE) + begun)
    raised[places[places < len(raised)]] = True
    rows = run.last_rows - begun
    on = np.where(rows >= 0, result.on[np.maximum(rows, 0)], False)
    quiet = quiet_rows(series.test_labels)
    starts, ends = event_bounds(series.test_labels)
    touched = np.array([on[a : z + 1 + LATE_ROWS].any() for a, z in zip(starts, ends, strict=True)], np.bool_)
    inside = [np.flatnonzero(raised[a : z + 1]) for a, z in zip(starts, ends, strict=True)]
    return Found(
        false=int((raised & quiet).sum()),
        accepted=budget * quiet.sum() / ROWS_A_DAY,
        quiet_alarmed=float(on[quiet].mean()) if quiet.any() else float("nan"),
        touched=touched,
        raised_inside=np.array([hits.size > 0 for hits in inside], np.bool_),
        delays=np.array([float(hits[0]) for hits in inside if hits.size]),
    )


def summary(found: list[Found]) -> list[str]:
    """Cells of a table: fleet ratio with its interval, range over series, events and delay."""
    false, accepted = np.array([one.false for one in found], float), np.array([one.accepted for one in found])
    draws = np.random.default_rng(0).integers(0, len(found), (RESAMPLES, len(found)))
    ratios = false[draws].sum(axis=1) / accepted[draws].sum(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    by_series = false / accepted
    p5, p50, p95 = np.quantile(by_series, [0.05, 0.5, 0.95])
    touched = np.concatenate([one.touched for one in found])
    inside = np.concatenate([one.raised_inside for one in found])
    delays = np.concatenate([one.delays for one in found])
    return [
        str(len(found)),
        f"{false.sum() / accepted.sum():.2f} ({low:.2f} to {high:.2f})",
        f"{p50:.2f} ({p5:.2f} to {p95:.2f})",
        f"{touched.mean():.2f}",
        f"{inside.mean():.2f}",
        f"{np.median(delays):.0f}" if delays.size else "-",
        f"{np.nanmean([one.quiet_alarmed for one in found]):.3f}",
    ]


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", action="append")
    parser.add_argument("--detector", action="append")
    parser.add_argument("--prior-clusters", action="append", type=float)
    arguments, _ = parser.parse_known_args()
    if arguments.prior_clusters and not any("+" in name for name in arguments.detector or ()):
        parser.error("--prior-clusters is for combinations, such as --detector robust+sub-pca")
    recordings = load_series(arguments.dataset or list(DATASETS))
    table = Table("detector", "budget a day", "series", "realised / accepted (95 %)", "by series: median (5 to 95 %)",
                  "events touched", "raised inside", "delay, rows", "quiet rows alarmed")  # fmt: skip
    console = Console(width=170)
    for name in arguments.detector or DETECTORS:
        members = [DetectorSettings(name=one, options=OPTIONS.get(one, {})) for one in name.split("+")]
        priors = [0.0] if len(members) == 1 else arguments.prior_clusters or [PRIOR_CLUSTERS]
        ways = [(prior, budget) for prior in priors for budget in BUDGETS]
        found: dict[tuple[float, float], list[Found]] = {way: [] for way in ways}
        left_out = 0
        for series in track(recordings, description=name, console=Console(stderr=True)):
            if quiet_rows(series.test_labels).sum() < LEAST_QUIET_ROWS:
                continue
            try:
                run = run_causal(series, stream_settings(series, members))
            except (TsadError, EvaluationError):
                left_out += 1
                continue
            for prior, budget in ways:
                found[prior, budget].append(judge(run, series, budget, prior))
        for prior, budget in ways:
            label = name if len(members) == 1 else f"{name}, prior {prior:g}"
            table.add_row(label, f"{budget:g}", *summary(found[prior, budget]))
        console.print(f"{name}: {left_out} series with too little training data left out")
    console.print(table)


if __name__ == "__main__":
    main()
