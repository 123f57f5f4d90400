"""`tsad fleet`: many like nodes, each judged by its own model and against its siblings."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsad_cli.output import AsJson, console, fail

if TYPE_CHECKING:
    from evaluation.fleet.protocols import NodeRecording
    from tsad.fleet.comparison import FleetComparison
    from tsad.fleet.fleet import NodeFleet
    from tsad.fleet.scores import NodeScores
    from tsad.fleet.settings import NodeSettings
    from tsad.fleet.telemetry import NodeTelemetry

__all__ = ["fleet"]

fleet = typer.Typer(name="fleet", help="Models of many like nodes, trained together, and siblings compared.")

ARRAYS, DESCRIPTION = "fleet.safetensors", "fleet.json"
FORMAT = 1
_VALIDATION_SHARE = 0.3

Inputs = Annotated[
    list[Path], typer.Option("--input", metavar="FILE", help="CSV or Parquet file of one node, named after it. Repeat.")
]
Error = Annotated[str, typer.Option(help="Over the features: max (the paper's), mean, ratio or mahalanobis.")]
Scaling = Annotated[str, typer.Option(help="robust, standard or min-max (the paper's).")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training rows.")]
Percentile = Annotated[float, typer.Option(help="Of the healthy errors, that is the threshold.")]
Idle = Annotated[
    list[str] | None,
    typer.Option("--idle-feature", metavar="NAME", help="Rows whose named features sum to less than 10 are idle."),
]


@fleet.command("fit")
def fit(
    inputs: Inputs,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the fleet; it must not hold one yet.")],
    error: Error = "max",
    scaling: Scaling = "robust",
    epochs: Epochs = 100,
    percentile: Percentile = 97.0,
    idle_feature: Idle = None,
    as_json: AsJson = False,
) -> None:
    """Learn a fleet from healthy rows: the first 70 % of each file train, the rest fixes the threshold.

    Exit codes: 0 done, 1 the fleet cannot be written, 2 wrong arguments or files.

    Example: tsad fleet fit --input n1.csv --input n2.csv --input n3.csv --input n4.csv --out fleet/
    """
    from evaluation.errors import DatasetError, InvalidInputError
    from tsad.errors import TsadError
    from tsad.fleet.comparison import FEWEST_SIBLINGS
    from tsad.fleet.fleet import NodeFleet

    if (out / DESCRIPTION).exists():
        fail("fleet fit", f"{out} holds a fleet already; give another folder, or remove it")
    try:
        settings = _settings(error, scaling, epochs, percentile, tuple(idle_feature or ()))
        nodes = [_telemetry(path) for path in inputs]
        first = [round(len(node) * (1.0 - _VALIDATION_SHARE)) for node in nodes]
        later = {node.node: node.rows(slice(rows, None)) for node, rows in zip(nodes, first, strict=True)}
        made = NodeFleet.fit(
            [node.rows(slice(0, rows)) for node, rows in zip(nodes, first, strict=True)], settings, validation=later
        )
        comparison = None
        if len(nodes) > FEWEST_SIBLINGS:
            comparison = _compared([made.score(one) for one in later.values()], percentile)
    except (InvalidInputError, DatasetError, TsadError, ValueError) as problem:
        fail("fleet fit", problem)
    try:
        save_fleet(out, made, comparison)
    except OSError as problem:
        typer.echo(f"tsad fleet fit: {out} cannot be written: {problem}", err=True)
        raise typer.Exit(1) from problem
    said = {
        "fleet": str(out), "nodes": {node: str(made.model(node).source) for node in made.nodes},
        "siblings": comparison is not None, "bytes": (out / ARRAYS).stat().st_size,
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(said, indent=2))
        return
    alone = "" if comparison else f"; siblings are compared from {FEWEST_SIBLINGS + 1} nodes"
    typer.echo(f"learnt {len(made.nodes)} nodes into {out} ({said['bytes']:,} bytes){alone}")


@fleet.command("score")
def score(
    inputs: Inputs,
    model: Annotated[Path, typer.Option(metavar="DIR", help="What `tsad fleet fit` wrote.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of scores, one CSV file a node.")],
    unknown: Annotated[
        str, typer.Option(help="Nodes the fleet does not know: raise, or base (its base model).")
    ] = "raise",
    as_json: AsJson = False,
) -> None:
    """Score the rows that follow, by the node's own model and against its siblings.

    Columns of the output: timestamp, error, alarm (3 of 5 rows over the threshold, or a constant broke), siblings
    (error against the other nodes), siblings_alarm, valid, oddest (the feature). The summary also tells drift by day.

    Exit codes: 0 done, 1 the scores cannot be written, 2 wrong arguments or files.

    Example: tsad fleet score --model fleet/ --input n1.csv --input n2.csv --input n3.csv --input n4.csv --out scores/
    """
    from evaluation.errors import DatasetError, InvalidInputError
    from tsad.errors import TsadError

    if unknown not in ("raise", "base"):
        fail("fleet score", f"--unknown is {unknown!r}; choose raise or base")
    try:
        made, comparison = load_fleet(model)
        found = [made.score(_telemetry(path), unknown) for path in inputs]  # type: ignore[arg-type]
        beside = _sibling_scores(found, comparison)
    except (InvalidInputError, DatasetError, TsadError, ValueError) as problem:
        fail("fleet score", problem)
    try:
        out.mkdir(parents=True, exist_ok=True)
        summary = [_write(out, made, one, *beside.get(one.node, (None, None))) for one in found]
    except OSError as problem:
        typer.echo(f"tsad fleet score: {out} cannot be written: {problem}", err=True)
        raise typer.Exit(1) from problem
    if as_json:
        typer.echo(json.dumps({"nodes": summary}, indent=2))
        return
    from rich.table import Table

    table = Table(
        "node", "model", "rows", "alarmed", "against siblings", "threshold", "clipped", "drifting days", "oddest"
    )
    for one in summary:
        siblings = "-" if one["siblings_alarmed"] is None else f"{one['siblings_alarmed']:,}"
        table.add_row(
            one["node"], one["model"], f"{one['rows']:,}", f"{one['alarmed']:,}", siblings, f"{one['threshold']:.4g}",
            f"{one['clipped']:.3f}", f"{one['drifting_days']} of {one['days']}", one["oddest"] or "-",
        )  # fmt: skip
    console().print(table)


@fleet.command("measure")
def measure(
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="As of `tsad backtest`: every series of it is a node. May be repeated."),
    ] = None,
    simulated: Annotated[bool, typer.Option("--simulated", help="The simulated fleet of 8 nodes instead.")] = False,
    series: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Some series only.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulation, the training and the random split.")] = 0,
    error: Error = "max",
    scaling: Scaling = "robust",
    epochs: Epochs = 30,
    percentile: Percentile = 97.0,
    idle_feature: Idle = None,
    as_json: AsJson = False,
) -> None:
    """Measure node models on labels by the paper's protocol and by an honest one, and tell the difference.

    The paper's splits at random and chooses the percentile on the labels of the test (an oracle); the honest one splits
    by time and fixes the percentile beforehand. Figures are means over nodes.

    Exit codes: 0 done, 2 wrong arguments or files.

    Example: tsad fleet measure --simulated
    """
    from dataclasses import replace

    from evaluation.errors import DatasetError, InvalidInputError
    from evaluation.fleet import protocols
    from tsad.errors import TsadError

    if bool(dataset) == simulated:
        fail("fleet measure", "give either --dataset NAME or --simulated")
    try:
        settings = _settings(error, scaling, epochs, percentile, tuple(idle_feature or ()), seed)
        groups = _simulated(seed) if simulated else _recordings(dataset or [], series or [])
        said: dict[str, dict[str, Any]] = {}
        for name, (recordings, idle) in groups.items():
            own = replace(settings, idle_features=settings.idle_features or idle)
            paper = protocols.measure_paper(recordings, own, seed)
            honest = protocols.measure_honest(protocols.run_honest(recordings, own), recordings)
            said[name] = {
                "nodes": len(recordings), "means": protocols.differences(paper, honest),
                "results": [one.as_dict() for one in (*paper, *honest)],
            }  # fmt: skip
    except (InvalidInputError, DatasetError, TsadError, ValueError) as problem:
        fail("fleet measure", problem)
    if as_json:
        typer.echo(json.dumps(said, indent=2))
        return
    from rich.table import Table

    for name, one in said.items():
        table = Table("measure", "paper (oracle)", "honest", "difference", title=f"{name}, {one['nodes']} nodes")
        for row, values in one["means"].items():
            table.add_row(row, *(f"{values[column]:.3f}" for column in ("paper", "honest", "difference")))
        console().print(table)


def _settings(
    error: str, scaling: str, epochs: int, percentile: float, idle: tuple[str, ...], seed: int = 0
) -> "NodeSettings":
    from tsad.fleet.network import Training
    from tsad.fleet.settings import NodeSettings
    from tsad.fleet.thresholds import ThresholdRule

    return NodeSettings(
        error=error,  # type: ignore[arg-type]
        scaling=scaling,  # type: ignore[arg-type]
        idle_features=idle,
        threshold=ThresholdRule(percentile=percentile),
        training=Training(epochs=epochs, seed=seed),
    )


def _telemetry(path: Path) -> "NodeTelemetry":
    from evaluation.errors import InvalidInputError
    from evaluation.recordings import read_recording
    from tsad.fleet.telemetry import NodeTelemetry

    recording = read_recording(path)
    if recording.times is None:
        raise InvalidInputError(f"{path}: column 'timestamp' is missing; siblings are compared at the same time")
    return NodeTelemetry(path.stem, recording.channels, recording.times, recording.values)


def _simulated(seed: int) -> "dict[str, tuple[list[NodeRecording], tuple[str, ...]]]":
    from evaluation.fleet.protocols import NodeRecording
    from tsad.fleet.telemetry import NodeTelemetry
    from tsad.simulation.hpc_fleet import HpcFleetSettings, simulate_hpc_fleet

    settings = HpcFleetSettings(seed=seed)
    made = simulate_hpc_fleet(settings)
    recordings = [
        NodeRecording(NodeTelemetry(name, made.features, made.times, values), labels, made.training_rows)
        for name, values, labels in zip(made.nodes, made.values, made.labels, strict=True)
    ]
    return {"simulated": (recordings, settings.core_features)}


def _recordings(names: list[str], patterns: list[str]) -> "dict[str, tuple[list[NodeRecording], tuple[str, ...]]]":
    """The nodes of every data set, each a fleet."""
    from evaluation.backtest.plan import load_series
    from evaluation.fleet.protocols import NodeRecording

    groups: dict[str, tuple[list[NodeRecording], tuple[str, ...]]] = {}
    for series in load_series(names, patterns=patterns):
        groups.setdefault(series.dataset, ([], ()))[0].append(NodeRecording.of(series))
    return groups


def _compared(scores: "list[NodeScores]", percentile: float) -> "FleetComparison":
    """The comparison learnt from the residuals of rows that no network was trained on."""
    from tsad.fleet.comparison import FleetComparison

    _, values = _residuals(scores)
    return FleetComparison.fit(values, [s.node for s in scores], scores[0].features, percentile=percentile)


def _residuals(scores: "list[NodeScores]") -> Any:
    import numpy as np

    from tsad.fleet.comparison import aligned
    from tsad.fleet.telemetry import NodeTelemetry

    step = int(np.median(np.concatenate([np.diff(s.times) for s in scores])))
    return aligned([NodeTelemetry(s.node, s.features, s.times, s.residuals) for s in scores], step)


def _sibling_scores(scores: "list[NodeScores]", comparison: "FleetComparison | None") -> dict[str, tuple[Any, Any]]:
    """By node, error against siblings and its alarms, on the node's rows; empty where the group is not all there."""
    import numpy as np

    from tsad.fleet.thresholds import ThresholdRule, alarms

    by_name = {s.node: s for s in scores}
    if comparison is None or not set(comparison.nodes) <= set(by_name):
        return {}
    group = [by_name[name] for name in comparison.nodes]
    times, values = _residuals(group)
    errors = comparison.score(values).error
    step = int(np.median(np.diff(times))) if len(times) > 1 else 1
    beside = {}
    for node, one in enumerate(group):
        own = errors[np.searchsorted(times, one.times // step * step), node]
        beside[one.node] = own, alarms(own, float(comparison.threshold[node]), ThresholdRule())
    return beside


def _write(out: Path, made: "NodeFleet", found: "NodeScores", siblings: Any, siblings_alarm: Any) -> dict[str, Any]:
    """Write one node's scores; returns what the summary says of it."""
    import numpy as np
    import polars as pl

    from tsad.fleet.drift import FleetDrift

    oddest = np.array(found.features)[np.argmax(np.where(found.broken, np.inf, found.ratios), axis=1)]
    known = np.isfinite(found.error)
    columns = {
        "timestamp": pl.Series(found.times).cast(pl.Datetime("ns")),
        "error": pl.Series(found.error).fill_nan(None),
        "alarm": found.alarm,
        "siblings": pl.Series(np.full(len(known), np.nan) if siblings is None else siblings).fill_nan(None),
        "siblings_alarm": np.zeros(len(known), np.bool_) if siblings_alarm is None else siblings_alarm,
        "valid": known,
        "oddest": pl.Series(
            [name if there else None for name, there in zip(oddest.tolist(), known, strict=True)], dtype=pl.String
        ),
    }
    pl.DataFrame(columns).write_csv(out / f"{found.node}.csv")
    drift = FleetDrift([made.model(found.node, "base").healthy])
    days = np.unique(found.times // (86_400 * 10**9))
    drifting = 0
    for day in days:
        rows = found.times // (86_400 * 10**9) == day
        told = drift.day(found.error[rows, None], found.alarm[rows, None], found.clipped[rows, None]).told[0]
        drifting += bool(told)
    top = int(np.nanargmax(found.error)) if known.any() else None
    return {
        "node": found.node, "model": str(found.source), "rows": len(known), "valid": int(known.sum()),
        "alarmed": int(found.alarm.sum()),
        "siblings_alarmed": None if siblings_alarm is None else int(siblings_alarm.sum()),
        "threshold": found.threshold.value, "clipped": float(np.nanmean(found.clipped)) if known.any() else 0.0,
        "days": len(days), "drifting_days": drifting, "oddest": None if top is None else str(oddest[top]),
        "imputed": list(found.imputed),
    }  # fmt: skip


def save_fleet(folder: Path, made: "NodeFleet", comparison: "FleetComparison | None") -> None:
    """Write a fleet: arrays as safetensors, the rest as JSON.

    Raises
    ------
    OSError
        A file cannot be written.
    """
    from streams.snapshots import arrays_to_bytes

    arrays, described = made.state()
    description: dict[str, Any] = {"format": FORMAT, "fleet": described, "comparison": None}
    stored = {f"fleet|{name}": array for name, array in arrays.items()}
    if comparison is not None:
        more, description["comparison"] = comparison.state()
        stored |= {f"comparison|{name}": array for name, array in more.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARRAYS).write_bytes(arrays_to_bytes(stored))
    # Last: a folder with a description is whole.
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load_fleet(folder: Path) -> "tuple[NodeFleet, FleetComparison | None]":
    """The fleet of a folder that `save_fleet` wrote, and its comparison if it has one.

    Raises
    ------
    SnapshotError
        There is no fleet, it is damaged, or another version made it.
    """
    from streams.snapshots import arrays_from_bytes
    from tsad.errors import SnapshotError
    from tsad.fleet.comparison import FleetComparison
    from tsad.fleet.fleet import NodeFleet

    try:
        stored = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        arrays = arrays_from_bytes((folder / ARRAYS).read_bytes())
    except OSError as error:
        raise SnapshotError(f"{folder} holds no fleet that can be read: {error}; `tsad fleet fit` makes one") from error
    except ValueError as error:
        raise SnapshotError(
            f"{folder / DESCRIPTION} is damaged: {error}; make it again with `tsad fleet fit`"
        ) from error
    if stored.get("format") != FORMAT:
        raise SnapshotError(f"{folder} is of format {stored.get('format')}, this version reads {FORMAT}; make it again")
    parts: dict[str, dict[str, Any]] = {"fleet": {}, "comparison": {}}
    for key, array in arrays.items():
        part, _, name = key.partition("|")
        parts[part][name] = array
    told = stored["comparison"]
    return (
        NodeFleet.restore(parts["fleet"], stored["fleet"]),
        None if told is None else FleetComparison.restore(parts["comparison"], told),
    )
