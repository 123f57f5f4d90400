"""`tsad detectors`."""

import json
from typing import Any

import typer

from tsad_cli.output import AsJson, console

__all__ = ["detectors"]


def detectors(as_json: AsJson = False) -> None:
    """List the detectors with their options: of numbers, and of categorical events.

    Example: tsad detectors --json
    """
    from rich.table import Table
    from rich.text import Text

    from tsad.detectors.registry import create_detector, detector_class, detector_names, detector_options
    from tsad.events.registry import event_detector_class, event_detector_names, event_detector_options

    found: list[dict[str, Any]] = []
    for name in detector_names():
        described = detector_class(name)
        found.append(
            {
                "name": name,
                "cost": described.cost,
                "window": create_detector(name).window,
                "lookahead": described.lookahead,
                "multivariate": described.multivariate,
                "options": detector_options(name),
                "summary": described.summary,
            },
        )
    found += [
        {
            "name": name,
            "cost": "events",
            "window": None,
            "lookahead": 0,
            "multivariate": True,
            "options": event_detector_options(name),
            "summary": event_detector_class(name).summary,
        }
        for name in event_detector_names()
    ]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("name", "cost", "window", "lookahead", "options with defaults", "summary")
    for entry in found:
        shown = ", ".join(f"{key}={value}" for key, value in entry["options"].items())
        cells = (entry["name"], entry["cost"], entry["window"] or "", entry["lookahead"], shown, entry["summary"])
        table.add_row(*(Text(str(cell)) for cell in cells))
    console().print(table)
