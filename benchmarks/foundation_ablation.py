"""What the recipe of `timercd-nano` gains by each of its parts: ``python -m benchmarks foundation_ablation --out DIR``.

Every row is a recipe (settings of `tsad pretrain timercd` that differ from the shipped ones), trained from several
seeds, each in a process of its own. The mean of its checkpoints is judged as the shipped weights were: mean VUS-PR of
the validation half of NAB, mode full. Beside it stands the average precision on synthetic plants of 2 to 24 channels
that no training sees. Lines of DIR/results.jsonl are written as runs end; the same command again goes on.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from tsad.detectors.registry import detector_options
from tsad.devices import torch_device
from tsad.foundation.corpus import CorpusSettings, corpus_batch
from tsad.foundation.nano import NanoNetwork
from tsad.foundation.training import Checkpoint, average_weights, kept_steps, train
from tsad.foundation.weights import save_nano
from tsad_cli.pretrain_settings import training_settings
from tsad_cli.pretrain_validation import load_validation, validate

PLANT_LIKE = '["states","recurring_events","bursts","regimes","charging","counts","volatile"]'
MANY = ("corpus.most_channels=24", "corpus.multivariate=0.4")
UNITS = (*MANY, "corpus.most_faults=4", "corpus.common=0.4")
WIDER = ("network.width=128",)
DEEPER = ("network.layers=6", "network.joint=[3,6]")
LONGER = ("steps=3000", "every=500")
QUICKER = ("learning_rate=3e-3",)
RECIPES: dict[str, tuple[str, ...]] = {
    "shipped": (),
    "every change labelled": ("corpus.visible_only=false",),
    "changes up to 0.35": ("corpus.longest=0.35",),
    "no plant-like signals": (f"corpus.leave_out={PLANT_LIKE}",),
    "one channel only": ("corpus.multivariate=0",),
    "no rebuilding": ("rebuild_weight=0", "hidden_patches=0"),
    "smaller": ("network.width=64", "network.layers=3", "network.joint=[1,3]"),
    "wider": WIDER,
    "deeper": DEEPER,
    "wider and deeper": (*WIDER, *DEEPER),
    "3,000 batches": LONGER,
    "10,000 batches": ("steps=10000", "every=1000"),
    "wider, 3,000 batches": (*WIDER, *LONGER),
    "larger batches": ("corpus.batch=128",),
    "fresh windows": ("repeats=1",),
    "windows of 1,024": ("corpus.window=1024", "network.window=1024"),
    "smooth labels": ("smoothing=0.05",),
    "half the learning rate": ("learning_rate=7.5e-4",),
    "twice the learning rate": QUICKER,
    "twice the learning rate, 3,000 batches": (*QUICKER, *LONGER),
    "twice the learning rate, 6,000 batches": (*QUICKER, "steps=6000", "every=1000"),
    "four times the learning rate": ("learning_rate=6e-3",),
    "wider, twice the learning rate": (*WIDER, *QUICKER),
    "wider, twice the learning rate, 3,000 batches": (*WIDER, *QUICKER, *LONGER),
    "wider and deeper, 3,000 batches": (*WIDER, *DEEPER, *LONGER),
    "positives once": ("positive_weight=1",),
    "many channels": MANY,
    "many channels, faults of units": UNITS,
    "many channels, faults of units, 3,000 batches": (*UNITS, *LONGER),
    "many channels, faults of units, twice the learning rate, 3,000 batches": (*UNITS, *QUICKER, *LONGER),
    "float32": ("bf16=false",),
}
"""Settings that differ from those of the shipped weights (1,000 batches, a checkpoint every 200, bfloat16)."""

_HELD_OUT_SEED, _PLANTS = 1_000_000_007, 12
_HELD_OUT = CorpusSettings(batch=96, multivariate=1, most_channels=24)


def plants_precision(network: NanoNetwork) -> float:
    """Average precision of the logits on held-out plants, all steps and channels together."""
    labels, scores = [], []
    settings = _HELD_OUT.without(window=network.config.window)
    for number in range(_PLANTS):
        batch = corpus_batch(settings, _HELD_OUT_SEED, number)
        with torch.inference_mode():
            logits, _ = network(torch.from_numpy(batch.values), torch.from_numpy(batch.valid))
        there = batch.valid == 1
        labels.append(batch.labels[there])
        scores.append(logits.numpy()[there])
    return float(average_precision_score(np.concatenate(labels), np.concatenate(scores)))


def run(row: str, seed: int, overrides: Sequence[str], device: str, out: Path) -> dict[str, Any]:
    """Train one recipe from one seed, keep the mean of its checkpoints, and judge it; returns a line of results."""
    threadpool_limits(1)
    torch.set_num_threads(1)
    began = time.perf_counter()
    given: dict[str, Any] = {"seed": seed, "steps": 1000, "every": 200, "bf16": True}
    settings = training_settings(overrides, **given)
    reached: list[Checkpoint] = []
    train(settings, device=device, heard=reached.append)
    trained = time.perf_counter() - began
    kept = set(kept_steps([one.step for one in reached]))
    network = average_weights([one.network for one in reached if one.step in kept])
    defaults, series = detector_options("timercd-nano"), load_validation()
    figures = {
        one: validate(of, series, scales=defaults["scales"], stride=defaults["stride"])
        for one, of in (("validation", network), ("validation_last", reached[-1].network))
    }
    line = {
        "row": row, "seed": seed, "settings": list(overrides), **figures, "plants": plants_precision(network),
        "loss": reached[-1].loss, "parameters": sum(p.numel() for p in network.parameters()),
        "training_seconds": round(trained, 1), "seconds": round(time.perf_counter() - began, 1), "device": device,
    }  # fmt: skip
    save_nano(network, out / "networks" / f"{row.replace(' ', '-')}-{seed}.safetensors", line)
    return line


def done(results: Path, recipes: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Lines of earlier runs that still hold: of a row of today's settings."""
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    return [line for line in lines if tuple(line["settings"]) == recipes.get(line["row"])]


def runs(
    rows: Sequence[str], seeds: Sequence[int], finished: Sequence[dict[str, Any]], recipes: dict[str, tuple[str, ...]]
) -> list[tuple[str, int]]:
    """What is left to do, the longest first, so that nobody waits for one run at the end."""
    over = {(line["row"], line["seed"]) for line in finished}
    left = [(row, seed) for row in rows for seed in seeds if (row, seed) not in over]

    def cost(one: tuple[str, int]) -> float:
        settings = training_settings(recipes[one[0]], steps=1000)
        return settings.steps * settings.corpus.batch * settings.corpus.window

    return sorted(left, key=cost, reverse=True)


def table(lines: Sequence[dict[str, Any]], rows: Sequence[str]) -> Iterator[str]:
    """Means and deviations over seeds, as Markdown."""
    yield "| recipe | seeds | validation VUS-PR | last checkpoint | held-out plants | parameters | training, s |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for row in rows:
        of = [line for line in lines if line["row"] == row]
        if not of:
            continue
        figures = []
        for name in ("validation", "validation_last", "plants"):
            values = np.array([line[name] for line in of])
            figures.append(f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(of) > 1 else ""))
        seconds = np.mean([line["training_seconds"] for line in of])
        yield f"| {row} | {len(of)} | {' | '.join(figures)} | {of[0]['parameters']:,} | {seconds:.0f} |"


def main() -> None:
    """Train what is left and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", help="names, parted by semicolons; all by default")
    parser.add_argument(
        "--recipe", action="append", default=[], metavar="NAME:SETTING;SETTING", help="a row of one's own"
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--setting", action="append", default=[], help="a setting that every row has besides")
    parser.add_argument("--out", type=Path, required=True)
    arguments, _ = parser.parse_known_args()
    recipes = dict(RECIPES)
    for text in arguments.recipe:
        name, _, settings = text.partition(":")
        recipes[name] = tuple(settings.split(";"))
    rows = arguments.rows.split(";") if arguments.rows else list(recipes)
    recipes = {name: (*recipes[name], *arguments.setting) for name in rows}
    device = str(torch_device(arguments.device))
    (arguments.out / "networks").mkdir(parents=True, exist_ok=True)
    results = arguments.out / "results.jsonl"
    lines = done(results, recipes)
    left = runs(rows, [int(seed) for seed in arguments.seeds.split(",")], lines, recipes)
    # Forked processes would share the GPU's context, which does not survive that.
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(run, row, seed, recipes[row], device, arguments.out) for row, seed in left]
        for number, future in enumerate(as_completed(waiting), start=1):
            line = future.result()
            lines.append(line)
            with results.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            print(
                f"{number}/{len(left)} {line['row']}, seed {line['seed']}: {line['validation']:.3f} on validation, "
                f"{line['plants']:.3f} on plants, {line['training_seconds']:.0f} + "
                f"{line['seconds'] - line['training_seconds']:.0f} s", flush=True,
            )  # fmt: skip
    print("\n".join(table(lines, rows)))


if __name__ == "__main__":
    main()
