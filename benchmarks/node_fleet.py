"""Node fleets: faults found on the simulated fleet, the two protocols, training together, and siblings live.

``python -m benchmarks node_fleet [--part faults|protocols|speed|live …] [--seeds N] [--epochs N]``. Without
``--part`` the simulated fleet and the speed; the part ``protocols`` also needs SMD and ASD. All but ``speed`` run on
one thread.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.siblings import live
from evaluation.datasets.registry import load_dataset
from evaluation.errors import DatasetNotFoundError
from evaluation.fleet.protocols import NodeRecording, differences, measure_honest, measure_paper, run_honest
from evaluation.metrics.pointwise import auc_roc
from tsad.fleet.comparison import FleetComparison, aligned
from tsad.fleet.network import Training, train_together
from tsad.fleet.rows import idle_rows
from tsad.fleet.scores import NodeScores
from tsad.fleet.settings import NodeSettings
from tsad.fleet.telemetry import NodeTelemetry
from tsad.scaling import fit_scaling
from tsad.simulation.hpc_fleet import FleetFaultKind, HpcFleetSettings, simulate_hpc_fleet

STEP = 300 * 10**9
WAYS = ("per-feature", "siblings' readings", "own, max", "own, mahalanobis", "siblings' residuals", "both")
NODES, FEATURES, ROWS = 100, 166, 2016


def simulated(seed: int, season: float) -> tuple[HpcFleetSettings, list[NodeRecording], tuple]:
    """The fleet of a seed as recordings, and its faults."""
    settings = HpcFleetSettings(seed=seed, season_c=season)
    made = simulate_hpc_fleet(settings)
    recordings = [
        NodeRecording(NodeTelemetry(name, made.features, made.times, values), labels, made.training_rows)
        for name, values, labels in zip(made.nodes, made.values, made.labels, strict=True)
    ]
    return settings, recordings, made.faults


def settings_of(error: str, idle: tuple[str, ...], epochs: int) -> NodeSettings:
    """Settings of one run."""
    return NodeSettings(error=error, idle_features=idle, training=Training(epochs=epochs))


def scores_of(settings: HpcFleetSettings, recordings: list[NodeRecording], epochs: int) -> dict[str, np.ndarray]:
    """float64[test rows, nodes] of every way, and bool arrays of rows over the threshold under ``name, alarmed``."""
    idle, rows = settings.core_features, settings.training_rows
    columns = [settings.features.index(name) for name in idle]
    _, values = aligned([one.telemetry for one in recordings], STEP)
    for node in range(values.shape[1]):
        values[idle_rows(values[:, node], columns, 10.0), node] = np.nan
    found = {}
    # Learnt from the training part, thresholds from its last 30 %, as for the models.
    first = round(rows * 0.7)
    learnt, held, test = values[:first], values[first:rows], values[rows:]
    scalings = [fit_scaling(learnt[:, node], robust=True) for node in range(values.shape[1])]
    far = [
        np.stack([largest((part[:, n] - s.location) / s.scale) for n, s in enumerate(scalings)], axis=1)
        for part in (held, test)
    ]
    found["per-feature"] = far[1]
    found["per-feature, alarmed"] = far[1] > np.nanpercentile(far[0], 97, axis=0)
    readings = FleetComparison.fit(values[:rows], [o.telemetry.node for o in recordings], settings.features)
    found["siblings' readings"] = readings.score(test).error
    found["siblings' readings, alarmed"] = found["siblings' readings"] > readings.threshold
    for error in ("max", "mahalanobis"):
        run = run_honest(recordings, settings_of(error, idle, epochs))
        names = list(run.scores)
        found[f"own, {error}"] = np.stack([run.scores[name].error for name in names], axis=1)
        limits = np.array([run.fleet.models[name].threshold.value for name in names])
        found[f"own, {error}, alarmed"] = found[f"own, {error}"] > limits
    siblings = np.stack([run.siblings[name] for name in names], axis=1)
    found["siblings' residuals"] = siblings
    _, validated = aligned(
        [residual_telemetry(run.fleet.score(o.telemetry.rows(slice(first, rows)))) for o in recordings], STEP
    )
    unit = np.nanpercentile(run.comparison.score(validated).error, 99, axis=0)
    found["siblings' residuals, alarmed"] = siblings > run.comparison.threshold / unit
    found["both"] = np.stack([run.both(name) for name in names], axis=1)
    found["both, alarmed"] = found["own, mahalanobis, alarmed"] & found["siblings' residuals, alarmed"]
    return found


def residual_telemetry(scores: NodeScores) -> NodeTelemetry:
    """Residuals as telemetry."""
    return NodeTelemetry(scores.node, scores.features, scores.times, scores.residuals)


def largest(z: np.ndarray) -> np.ndarray:
    """Largest absolute value of each row, NaN where there is none."""
    known = ~np.isnan(z).all(axis=1)
    out = np.full(len(z), np.nan)
    out[known] = np.nanmax(np.abs(z[known]), axis=1)
    return out


def faults(seeds: int, epochs: int, console: Console) -> None:
    """AUC by kind of fault, and healthy rows over the 97th percentile."""
    for season in (0.0, 4.0):
        aucs: dict[tuple[str, str], list[float]] = {}
        false: dict[str, list[float]] = {}
        for seed in range(seeds):
            settings, recordings, planted = simulated(seed, season)
            found = scores_of(settings, recordings, epochs)
            labels = np.stack([o.labels[settings.training_rows :] for o in recordings], axis=1).astype(bool)
            for way in WAYS:
                scores = found[way]
                for kind in FleetFaultKind:
                    values = []
                    for fault in planted:
                        if fault.kind is not kind:
                            continue
                        own, inside = scores[:, fault.node], np.zeros(len(scores), bool)
                        inside[fault.first - settings.training_rows : fault.last - settings.training_rows] = True
                        used = ~np.isnan(own) & (inside | ~labels[:, fault.node])
                        values.append(auc_roc(inside[used], own[used]))
                    aucs.setdefault((way, kind), []).append(float(np.mean(values)))
                healthy = ~labels & ~np.isnan(scores)
                false.setdefault(way, []).append(float(found[f"{way}, alarmed"][healthy].mean()))
        title = f"AUC over rows, {seeds} fleets of 8 nodes, {epochs} epochs, the room {season:g} °C warmer in the end"
        table = Table("fault", *WAYS, title=title)
        for kind in FleetFaultKind:
            table.add_row(str(kind), *(spread(aucs[way, kind]) for way in WAYS))
        table.add_row("healthy rows over threshold", *(spread(false[way]) for way in WAYS))
        console.print(table)


def spread(values: list[float]) -> str:
    """Mean and deviation over seeds."""
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def protocols(seeds: int, epochs: int, console: Console) -> None:
    """Paper's protocol beside the honest one, simulated and on SMD and ASD."""
    cases = [("ASD", 0), *(("simulated", seed) for seed in range(seeds)), ("SMD", 0)]
    for error, scaling in (("max", "min-max"), ("mahalanobis", "robust")):
        title = f"{error}, {scaling}, {epochs} epochs"
        table = Table("nodes", "measure", "paper (oracle)", "honest", "difference", title=title)
        rows: dict[str, list[dict]] = {}
        for name, seed in cases:
            idle: tuple[str, ...] = ()
            if name == "simulated":
                settings, recordings, _ = simulated(seed, 0.0)
                idle = settings.core_features
            else:
                try:
                    recordings = [NodeRecording.of(series) for series in load_dataset(name.lower())]
                except DatasetNotFoundError as problem:
                    console.print(f"{name} left out: {problem}")
                    continue
            own = NodeSettings(
                error=error, scaling=scaling, idle_features=idle, training=Training(epochs=epochs, seed=seed)
            )
            paper = measure_paper(recordings, own, seed)
            honest = measure_honest(run_honest(recordings, own), recordings)
            rows.setdefault(name, []).append(differences(paper, honest))
        for name, found in rows.items():
            for measure in ("auc", "weighted_f", "weighted_f_of_silence", "f1", "false_positive_rate"):
                cells = (spread([one[measure][c] for one in found]) for c in ("paper", "honest", "difference"))
                table.add_row(name, measure, *cells)
        console.print(table)


def one_by_one_with_graph(inputs: np.ndarray, hidden: int, epochs: int) -> None:
    """Train one network as PyTorch's tutorials do: a module, autograd, and Adam as it comes."""
    torch.manual_seed(0)
    n = inputs.shape[1]
    first, second = torch.nn.Linear(n, hidden), torch.nn.Linear(hidden, n)
    optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=1e-3)
    x = torch.from_numpy(inputs)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            code = torch.relu(first(x[rows]))
            loss = (second(code) - x[rows]).abs().mean() + 1e-5 * code.sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def speed(epochs: int, console: Console) -> None:
    """Fleets trained together beside the same networks one by one, in one run."""
    few = 5
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for n, hidden in ((30, 300), (FEATURES, 10 * FEATURES)):
            table = Table(
                "nodes x features", "threads", "how", "nodes timed", "s a node", "s for all", "of the fleet's"
            )
            random = np.random.default_rng(0)
            latent = random.standard_normal((NODES, ROWS, 5)).astype(np.float32)
            mixing = random.standard_normal((5, n)).astype(np.float32)
            inputs = [(one @ mixing + 0.1 * random.standard_normal((ROWS, n))).astype(np.float32) for one in latent]
            training = Training(epochs=epochs)
            alone = {
                "PyTorch's modules, one by one": partial(one_by_one_with_graph, hidden=hidden, epochs=epochs),
                "ours, one by one": partial(one_by_one, hidden=hidden, training=training),
            }
            train_together(inputs[:2], hidden, Training(epochs=1))
            # One by one before and after the fleet, because the machine may be shared.
            seconds = dict.fromkeys(alone, 0.0)
            for half in range(2):
                for how, train in alone.items():
                    seconds[how] += timed(lambda: [train(one) for one in inputs[:few]]) / few / 2  # noqa: B023
                if half == 0:
                    whole = timed(lambda: train_together(inputs, hidden, training)) / NODES  # noqa: B023
            seconds["ours, together"] = whole
            for how, each in seconds.items():
                count = NODES if how.endswith("together") else few
                figures = (f"{each:.3f}", f"{each * NODES:.1f}", f"{each / whole:.2f}")
                table.add_row(f"{NODES} x {n}", str(threads), how, str(count), *figures)
            console.print(table)
    console.print(f"{ROWS} rows a node (a week of five minutes), {epochs} epochs, batches of 64")


def one_by_one(inputs: np.ndarray, hidden: int, training: Training) -> None:
    """Train one network by itself, with our code."""
    train_together([inputs], hidden, training)


def timed(action: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> None:
    """Run the parts and print their tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", action="append", choices=("faults", "protocols", "speed", "live"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    arguments, _ = parser.parse_known_args()
    parts = arguments.part or ["faults", "speed"]
    console = Console(width=170)
    torch.set_num_threads(1)
    if "faults" in parts:
        faults(arguments.seeds, arguments.epochs, console)
    if "protocols" in parts:
        protocols(arguments.seeds, arguments.epochs, console)
    if "speed" in parts:
        speed(arguments.epochs, console)
    if "live" in parts:
        live(arguments.seeds, console)


if __name__ == "__main__":
    main()
