"""`tsad parts`: whether parts are judged better by process and images together than by the best side alone."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tsad_cli.output import AsJson

__all__ = ["parts"]

parts = typer.Typer(no_args_is_help=True, help="Parts that are judged by process and images together.")

_GOOD, _BAD = frozenset({"0", "false", "good", "ok", "no"}), frozenset({"1", "true", "defect", "bad", "nok", "yes"})
_QUERY = (
    "SELECT p.part_id, p.p_values, s.detectors FROM parts p JOIN streams s USING (stream_id) WHERE s.name = ? "
    "QUALIFY row_number() OVER (PARTITION BY p.part_id ORDER BY p.amendment DESC) = 1 ORDER BY p.time"
)


@parts.callback()
def _parts() -> None:
    """A group with one command needs a callback to stay a group."""


@parts.command("check")
def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The daemon's YAML file.")],
    labels: Annotated[Path, typer.Option(help="CSV with the columns part_id and defect (1 or 0).")],
    stream: Annotated[str | None, typer.Option(help="The stream of inspections; default: the only one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Choose the rule that parts are judged by, from labelled parts in the history, and check that fusing does no harm.

    A rule is chosen on the earlier half and checked on the later one. Needs the history at rest: stop the daemon, or
    give a copy.

    Example: tsad parts check line.yaml --labels inspected-by-hand.csv
    """
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from evaluation.part_fusion import judge_parts
    from tsad.errors import NotEnoughDataError

    truth = _labels(labels)
    rows, names = _judged(config, stream)
    known = [(p, truth[part]) for part, p in rows if part in truth]
    if not known:
        raise _stop(f"none of the {len(truth)} labelled parts is among the {len(rows)} that were judged", 1)
    p_values = np.array([[np.nan if v is None else v for v in p] for p, _ in known]).T
    try:
        found = judge_parts(p_values, np.array([bad for _, bad in known]), names)
    except NotEnoughDataError as error:
        raise _stop(error, 1) from error
    advice = _advice(found.check.use, names)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "average_precision": dict(found.average_precision), "advice": advice}))
        return
    table = Table("judged by", "average precision", title=f"{found.parts} parts, {found.defects} defects")
    for name, value in sorted(found.average_precision.items(), key=lambda one: -one[1]):
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    typer.echo(f"{found.check.reason}.\n{advice}")


def _stop(message: object, code: int = 2) -> typer.Exit:
    typer.echo(f"tsad parts: {message}", err=True)
    return typer.Exit(code)


def _advice(use: str, streams: list[str]) -> str:
    if use == "stacking":
        return "Stacking is best, and the daemon does not run it: take the best of the other rules, or use the library."
    key = "decide_by" if use in streams else "rule"
    return f"Put this under joining:  {key}: {use}"


def _labels(path: Path) -> dict[str, bool]:
    found = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"part_id", "defect"} - set(reader.fieldnames or ())
            if missing:
                raise _stop(f"--labels {path} has no column {min(missing)!r}")
            for row in reader:
                word = row["defect"].strip().lower()
                if word not in _GOOD | _BAD:
                    raise _stop(f"--labels {path}, line {reader.line_num}: defect is {row['defect']!r}, not 1 or 0")
                found[row["part_id"]] = word in _BAD
    except (OSError, UnicodeDecodeError) as error:
        raise _stop(f"--labels {path} cannot be read: {error}") from error
    return found


def _judged(config: Path, stream: str | None) -> tuple[list[tuple[str, list[Any]]], list[str]]:
    """Parts with their p-values in order of time, and the names of the streams."""
    from connectors.errors import ConnectorError
    from connectors.history.database import History
    from streams.configuration import InspectionStream, load_configuration
    from streams.errors import StreamsError

    try:
        configuration = load_configuration(config)
    except StreamsError as error:
        raise _stop(error) from error
    joined = [s for s in configuration.streams if isinstance(s, InspectionStream) and s.joining is not None]
    chosen = [s for s in joined if stream in {None, s.name}]
    if len(chosen) != 1:
        names = ", ".join(s.name for s in joined) or "none"
        raise _stop(f"name one stream of inspections with joining by --stream; there are: {names}")
    path = configuration.history.path
    if not path.is_file():
        raise _stop(f"history {path} is not there; it is made by the first `tsad run`")
    try:
        with History(path) as history, history.cursor() as cursor:
            rows = cursor.execute(_QUERY, [chosen[0].parts_name]).fetchall()
    except ConnectorError as error:
        raise _stop(error, 1) from error
    return [(part, p) for part, p, _ in rows if p is not None], list(rows[0][2]) if rows else []
