"""The folder of a backtest: finished cells, which a second run skips, and the tables made of them."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from evaluation.backtest.cell import FAILED, CellResult
from evaluation.errors import InvalidInputError

__all__ = ["ResultFolder", "results_table", "without_nan"]


def without_nan(value: Any) -> Any:
    """Return the value with every NaN and infinity replaced by None, which JSON has a word for.

    Examples
    --------
    >>> without_nan({"a": [float("nan"), 1.0]})
    {'a': [None, 1.0]}
    """
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ResultFolder:
    """Keeps what a backtest found.

    ``cells/*.json`` holds finished cells, ``scores/*.parquet`` their curves, ``results.json`` and ``results.parquet``
    all cells of the last run.

    Parameters
    ----------
    path
        The folder; made when it is not there.

    Raises
    ------
    InvalidInputError
        It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            for folder in (self._cells, self._scores):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(f"--out {path} cannot be used: {error.strerror or error}") from error

    @property
    def _cells(self) -> Path:
        return self.path / "cells"

    @property
    def _scores(self) -> Path:
        return self.path / "scores"

    @staticmethod
    def stem(record: Mapping[str, Any], key: str) -> str:
        """Return the name of a cell's files: readable, and unique by its key."""
        names = [str(record["dataset"]), str(record["series"]), str(record["detector"]), str(record["mode"])]
        return "__".join(re.sub(r"[^A-Za-z0-9_.\-+]", "-", name)[:40] for name in names) + f"__{key}"

    def finished(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the records kept from earlier runs, by key. A damaged file counts as not finished."""
        wanted = set(keys)
        found = {}
        for path in sorted(self._cells.glob("*.json")):
            key = path.stem.rpartition("__")[2]
            if key not in wanted:
                continue
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                # Half-written by a machine that lost power: the cell is run again and the file replaced.
                continue
            found[key] = record
        return found

    def keep(self, key: str, result: CellResult) -> dict[str, Any]:
        """Store a finished cell; returns its record, JSON-ready.

        A cell that failed is not stored, so that the next run tries it again; one with too little data is.
        """
        record = without_nan({"key": key, **result.record})
        stem = self.stem(record, key)
        if result.curves:
            record["scores_file"] = f"scores/{stem}.parquet"
            columns = {**result.curves, "time": result.curves["time"].view("datetime64[ns]")}
            temporary = self._scores / f"{stem}.partial"
            pl.DataFrame(columns).write_parquet(temporary)
            temporary.replace(self._scores / f"{stem}.parquet")
        if record["error_kind"] != FAILED:
            _write(self._cells / f"{stem}.json", json.dumps(record, indent=1))
        return dict(record)

    def write_results(self, document: Mapping[str, Any]) -> None:
        """Write ``results.json`` and ``results.parquet``."""
        _write(self.path / "results.json", json.dumps(without_nan(document), indent=1))
        results_table(document["cells"]).write_parquet(self.path / "results.parquet")


def results_table(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return one row a cell: identity, counts, metrics, seconds, error."""
    plain = (
        "key", "dataset", "series", "detector", "mode", "delay", "seed", "trivial", "threshold_rule", "threshold",
        "accepted_false_alarms_per_day", "false_alarms", "test_days", "seconds", "peak_memory_mb",
        "error", "error_kind",
    )  # fmt: skip
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys(record["metrics"]))
    rows = [
        {name: record.get(name) for name in plain}
        | dict(record["counts"])
        | {name: record["metrics"].get(name) for name in names}
        for record in records
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _write(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the new one, whenever the process ends."""
    temporary = path.with_suffix(".partial")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)
