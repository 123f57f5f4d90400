"""Published results beside ours for the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from evaluation.published.compare import DIFFERING

__all__ = ["SHOWN", "protocol_text", "published_tables"]

SHOWN = "vus_pr"
"""The metric of the terminal's tables; ``results.json`` and the report have all."""

_FILES_SHOWN = 10


def protocol_text(run: Mapping[str, Any]) -> str:
    """Return in one sentence what of our run is not done as the published values were.

    Examples
    --------
    >>> protocol_text({"mode": "full", "scored_rows": ["all"], "metric": "vus_pr", "vus_lengths": ["auto"]})
    'ours: mode full, the whole file, as published'
    >>> protocol_text({"mode": "causal", "scored_rows": ["test"], "metric": "auc_pr", "vus_lengths": ["100"]})
    'ours: mode causal, the rows after the training part only; published: with hindsight, the whole file'
    """
    whole = run["scored_rows"] == ["all"]
    rows = "the whole file" if whole else "the rows after the training part only"
    ours, theirs = [f"mode {run['mode']}", rows], ["with hindsight", "the whole file"]
    soft = run["metric"].startswith("vus_") and run["vus_lengths"] != ["auto"]
    if soft:
        ours.append(f"soft labels up to {', '.join(run['vus_lengths'])} rows")
        theirs.append("up to a period of the file")
    if whole and run["mode"] == "full" and not soft:
        return f"ours: {', '.join(ours)}, as published"
    return f"ours: {', '.join(ours)}; published: {', '.join(theirs)}"


def published_tables(published: Mapping[str, Any]) -> Iterator[Group]:
    """Yield the tables of VUS-PR: the same algorithm file by file, then everyone's means.

    Parameters
    ----------
    published
        From `evaluation.published.compare.compare_published`.
    """
    for run in published["runs"]:
        if run["metric"] != SHOWN:
            continue
        where = f"TSB-AD-{run['suite']}, VUS-PR"
        for pair in run["same_algorithm"]:
            yield _pair_table(where, pair)
        table = Table()
        table.add_column("detector")
        table.add_column("whose")
        table.add_column("mean", justify="right")
        for entry in run["means"]:
            style = "dim" if entry["trivial"] else "bold" if entry["ours"] else ""
            whose = "ours" if entry["ours"] else "published"
            table.add_row(Text(entry["detector"], style=style), whose, f"{entry['mean']:.3f}")
        title = f"{where}: means over the same {run['files']} files, ours and published"
        yield _under_title(title, table, protocol_text(run))


def _pair_table(where: str, pair: Mapping[str, Any]) -> Group:
    title = (
        f"{where}: {pair['detector']} against published {pair['published']} on {pair['files']} files: "
        f"mean absolute difference {pair['mean_absolute_difference']:.3f}, mean difference "
        f"{pair['mean_difference']:+.3f}; {len(pair['differing'])} files differ by more than {DIFFERING}"
    )
    differing = [entry for entry in pair["per_file"] if entry["file"] in set(pair["differing"])]
    differing.sort(key=lambda entry: -abs(entry["ours"] - entry["published"]))
    left = len(differing) - _FILES_SHOWN
    if not differing:
        return Group(Text(title, style="bold"))
    table = Table()
    table.add_column("file that differs")
    for name in ("ours", "published", "difference"):
        table.add_column(name, justify="right")
    for entry in differing[:_FILES_SHOWN]:
        difference = entry["ours"] - entry["published"]
        table.add_row(Text(entry["file"]), f"{entry['ours']:.3f}", f"{entry['published']:.3f}", f"{difference:+.3f}")
    return _under_title(title, table, f"and {left} more files in results.json" if left > 0 else "")


def _under_title(title: str, table: Table, note: str) -> Group:
    """A table whose title and note may be wider than it. They are Text, because a name is not markup."""
    if not note:
        return Group(Text(title, style="bold"), table)
    return Group(Text(title, style="bold"), table, Text(note, style="italic"))
