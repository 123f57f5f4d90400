"""Parts: how much process and images find together, at what share of false parts, and what joining them costs.

``python -m benchmarks part_fusion [--part quality|joining …] [--seeds N] [--parts N]``. Without ``--part`` both, about
four minutes on one core.
"""

import argparse
import gc
import resource
import time

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from tsad.fusion.combination import RULES, Dependence, combine
from tsad.fusion.conformal import ConformalCalibration
from tsad.fusion.do_no_harm import average_precision, check_fusion, choose_rule
from tsad.fusion.false_discovery import OnlineFalseDiscovery, flag_by_shift
from tsad.fusion.part_engine import PartEngine
from tsad.fusion.part_events import PartEventKind, PartEvents
from tsad.fusion.part_joiner import PartJoiner
from tsad.fusion.part_settings import PartSettings, ViewSettings
from tsad.fusion.stacking import Stacking
from tsad.simulation.inspection_line import (
    DefectKind,
    InspectionLineSettings,
    line_events,
    line_settings,
    simulate_line,
)

CLEAN, HELD_OUT = 0.2, 0.3  # shares of the parts: without defects, and labelled ones to decide and to learn on
SHIFT = 500
LEVEL = 0.01
DISCOVERIES = 0.1
DEPENDENCES = (0.0, 0.5, 1.0)
DEGRADED = ("", "image", "process")
SIDES = ("image", "process")
METHODS = (*SIDES, "brown", *RULES, "stacking", "chosen")


def scores_of(p_values: np.ndarray, steps: int, dependence: Dependence) -> dict[str, np.ndarray]:
    """p-values by method: each side by brown of its own streams, and every rule over all streams."""
    found = {}
    for side, rows in (("image", slice(steps, None)), ("process", slice(0, steps))):
        own = np.full_like(p_values, np.nan)
        own[rows] = p_values[rows]
        found[side] = combine(own, "brown", dependence)[0]
    return found | {rule: combine(p_values, rule, dependence)[0] for rule in ("brown", *RULES)}


def measure(settings: InspectionLineSettings) -> dict[str, dict[str, float]]:
    """Every figure of one cell, by method."""
    line = simulate_line(settings)
    scores, steps = line.part_scores(), len(settings.stations)
    n = len(scores)
    learnt, judged = slice(0, settings.clean_parts), slice(int((CLEAN + HELD_OUT) * n), n)
    held = slice(settings.clean_parts, judged.start)
    calibrations = [ConformalCalibration(column) for column in scores[learnt].T]
    own = np.stack([c.own_p_values(s) for c, s in zip(calibrations, scores[learnt].T, strict=True)])
    p = np.stack([c.p_values(s) for c, s in zip(calibrations, scores.T, strict=True)])
    dependence = Dependence.fit(own)
    prefix = scores_of(own, steps, dependence)
    found = scores_of(p, steps, dependence)
    labels = line.defect
    stacked = Stacking.fit(p[:, held], labels[held])
    odd = {name: -np.log(values) for name, values in found.items()} | {"stacking": stacked.score(p)}
    prefix_odd = {name: -np.log(values) for name, values in prefix.items()} | {"stacking": stacked.score(own)}
    alone = {side: odd[side][held] for side in SIDES}
    default = check_fusion(labels[held], odd["brown"][held], alone, name="brown").use
    chosen = choose_rule(labels[held], {rule: odd[rule][held] for rule in ("brown", *RULES)}, alone).use
    odd["chosen"], prefix_odd["chosen"], found["chosen"] = odd[chosen], prefix_odd[chosen], found[chosen]
    figures = {}
    good, test = ~labels[judged], labels[judged]
    kinds = line.kind[judged]
    for name in METHODS:
        score = odd[name][judged]
        # The point of the curve at 1 % of the good test parts: it compares rankings, nobody can set it beforehand.
        limit = np.quantile(score[good], 1.0 - LEVEL)
        again = ConformalCalibration(prefix_odd[name]).p_values(score) <= LEVEL
        one = {
            "AUC": roc_auc_score(test, score),
            "AP": average_precision(test, score),
            "recall": (score[test] > limit).mean(),
            "recalibrated": again[good].mean(),
        }
        one |= {kind: (score[kinds == i] > limit).mean() for i, kind in enumerate(DefectKind)}
        if name in found:
            flagged = found[name][judged] <= LEVEL
            one |= {"realised": flagged[good].mean()}
            for way, far in (
                ("by shift", flag_by_shift(found[name][judged], np.arange(len(test)) // SHIFT, DISCOVERIES)),
                ("online", OnlineFalseDiscovery(DISCOVERIES).decide(found[name][judged])),
            ):
                one |= {f"false, {way}": (far & good).sum() / max(1, far.sum()), f"found, {way}": far[test].mean()}
        figures[name] = one
    better = max(figures[side]["AP"] for side in SIDES)
    for name in ("brown", "cauchy", "chosen"):
        figures[name]["gain"] = figures[name]["AP"] - better
    figures["brown"] |= {"checked": figures[default]["AP"] - better, "fell back": float(default != "brown")}
    figures["chosen"]["fell back"] = float(chosen in SIDES)
    figures["chosen"]["correlation"] = float(np.mean(dependence.covariance[:steps, steps:]) / 4.0)
    return figures


def spread(values: list[float]) -> str:
    """Mean and deviation over seeds."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def quality(seeds: int, parts: int, console: Console) -> None:
    """What is found, by method, dependence and degraded side."""
    harm = Table(
        "dependence", "noise", "brown", "brown, checked", "lowest", "fell back", "cauchy", "chosen, checked", "lowest",
        "fell back", title="average precision on test parts, less that of the better side alone",
    )  # fmt: skip
    for dependence in DEPENDENCES:
        for degraded in DEGRADED:
            cells = [
                measure(
                    InspectionLineSettings(
                        seed=seed, parts=parts, clean_parts=int(CLEAN * parts), dependence=dependence, degraded=degraded
                    )
                )
                for seed in range(seeds)
            ]
            tied = np.mean([cell["chosen"]["correlation"] for cell in cells])
            noise = f", the {degraded} side is noise" if degraded else ""
            title = (
                f"dependence {dependence:g} (correlation of ln p between the sides {tied:.2f}){noise}; {seeds} seeds"
            )
            ways = ("AUC", "AP", "recall", *DefectKind, "realised", "recalibrated")
            table = Table("method", *ways, title=title)
            for name in METHODS:
                table.add_row(
                    name, *(spread([c[name][way] for c in cells]) if way in cells[0][name] else "" for way in ways)
                )
            console.print(table)
            if not degraded:
                ways = ("false, by shift", "found, by shift", "false, online", "found, online")
                table = Table("method", *ways, title=f"accepted share of good parts among the flagged {DISCOVERIES:g}")
                for name in ("image", "process", "brown", "cauchy", "tippett", "harmonic"):
                    table.add_row(name, *(spread([c[name][way] for c in cells]) for way in ways))
                console.print(table)
            row = [f"{dependence:g}", degraded]
            for name, checked in (("brown", "checked"), ("cauchy", ""), ("chosen", "gain")):
                if name != "chosen":
                    row.append(spread([c[name]["gain"] for c in cells]))
                if checked:
                    gains = [c[name][checked] for c in cells]
                    row += [spread(gains), f"{min(gains):+.3f}"]
                    row.append(f"{sum(c[name]['fell back'] for c in cells):.0f} of {seeds}")
            harm.add_row(*row)
    console.print(harm)


def resident() -> float:
    """Resident memory in MB; the highest so far where there is no better figure."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 - a kernel's file
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def joining(console: Console) -> None:
    """Parts a second on one core, memory of open parts, and what late and missing images lead to."""
    made = InspectionLineSettings(parts=20_000, missing_images=0.02, late_images=0.02)
    line = simulate_line(made)
    events = line_events(line)
    table = Table("what", "figure", title="joining, one core")
    for name, work in (
        ("joiner", PartJoiner(line_settings(made)).take),
        ("engine (joined, calibrated, judged, alarmed)", PartEngine("line", line_settings(made)).process),
    ):
        begin = time.perf_counter()
        out = work(events)
        rate = len(line.part) / (time.perf_counter() - begin)
        table.add_row(f"{name}, parts/s", f"{rate:,.0f} ({len(events) / len(line.part):.0f} events a part)")
    counts = out.counts
    never = int((line.image_arrival < 0).any(axis=1).sum())
    table.add_row("parts with an image that never came", f"{never}")
    table.add_row("parts closed as image missing", f"{counts['image_missing']}")
    table.add_row(
        "images after the close", f"{counts['late_image']} of {int((line.image_arrival - line.captured > 9e11).sum())}"
    )
    n = 100_000
    settings = PartSettings(
        steps=("mixer", "press", "oven"), views=(ViewSettings(station="end", camera="top", after="oven"),),
        wait=10 * n, max_open=n,
    )  # fmt: skip
    joiner = PartJoiner(settings)
    every = np.arange(n, dtype=np.int64)
    opening = [
        PartEvents(
            np.full(n, PartEventKind.INTERVAL, np.uint8), every, np.full(n, step, np.int32),
            [f"part-{i:06d}" for i in range(n)], every - 5, every, np.zeros(n), np.ones(n, np.int32),
        )
        for step in range(3)
    ]  # fmt: skip
    gc.collect()
    before = resident()
    for batch in opening:
        joiner.take(batch)
    table.add_row("memory of 100,000 open parts, 4 streams", f"{resident() - before:.0f} MB")
    begin = time.perf_counter()
    joiner.state()
    table.add_row("their state", f"{time.perf_counter() - begin:.2f} s")
    more = PartEvents(
        np.full(n, PartEventKind.INTERVAL, np.uint8), every + n, np.zeros(n, np.int32),
        [f"more-{i:06d}" for i in range(n)], every, every + 5, np.zeros(n), np.ones(n, np.int32),
    )  # fmt: skip
    closed = joiner.take(more).counts["closed_early"]
    table.add_row("100,000 more: closed early, open then", f"{closed:,}, {len(joiner):,}")
    console.print(table)


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["quality", "joining"], nargs="*", default=["joining", "quality"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parts", type=int, default=20_000)
    arguments, _ = parser.parse_known_args()
    console = Console(width=200)
    if "joining" in arguments.part:
        joining(console)
    if "quality" in arguments.part:
        quality(arguments.seeds, arguments.parts, console)


if __name__ == "__main__":
    main()
