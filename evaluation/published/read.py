"""Reads tables of published per-file results of the benchmark TSB-AD.

Two shapes, as Parquet or CSV, told apart by their columns:

- a column a detector (``uni_mergedTable_VUS-PR``, ``leaderboard_Multi_CHARM``): the metric is in the file's name, or
  else VUS-PR, which is what the leaderboard ranks by;
- a column a metric (``leaderboard_Uni_MMPAD``): the detector is what follows the suite in the file's name.

Q. Liu, J. Paparrizos, "The Elephant in the Room", NeurIPS 2024 Datasets and Benchmarks.
"""

import re
from pathlib import Path

import polars as pl

from evaluation.errors import PublishedResultsError

__all__ = ["METRIC_NAMES", "read_published"]

METRIC_NAMES: dict[str, str] = {
    "VUS-PR": "vus_pr",
    "VUS-ROC": "vus_roc",
    "AUC-PR": "auc_pr",
    "AUC-ROC": "auc_roc",
    "Standard-F1": "oracle_best_f1",
    "Event-based-F1": "oracle_best_composite_f1",
    "R-based-F1": "oracle_best_range_based_f1",
    "Affiliation-F": "oracle_best_affiliation_f1",
    "PA-F1": "oracle_best_point_adjusted_f1",
}
"""Published name to ours. Their F1 values are the best over all thresholds, so they meet our oracle values."""

_MEASURED_ALONE = frozenset({
    "Standard-Precision", "Standard-Recall", "PA-Precision", "PA-Recall", "Affiliation-P", "Affiliation-R",
    "F1_T", "Precision_T", "Recall_T",
})  # fmt: skip
"""Figures without one of ours that is defined alike."""
_FACTS = frozenset({
    "ts_len", "anomaly_len", "num_anomaly", "avg_anomaly_len", "anomaly_ratio", "point_anomaly", "seq_anomaly",
    "Time", "AD_Name", "sliding_window", "test_window_key", "test_window_value", "train_index", "data_shape",
    "output_length", "label_length", "aligned_length",
})  # fmt: skip
"""What a table says of a file or a run, not of a score."""
_KEYS = ("file", "filename")
_NAME = re.compile(
    r"(?:(?P<merged>uni|multi)_mergedTable_(?P<metric>.+)|leaderboard_(?P<suite>Uni|Multi)_(?P<name>.+))"
)
_SUITES = {"uni": "U", "multi": "M"}
_ROUNDING = 1e-9
_COLUMNS = ("suite", "file", "detector", "metric", "value")


def read_published(folder: Path) -> pl.DataFrame:
    """Read every table of a directory; files with other names than those of the benchmark are left alone.

    Parameters
    ----------
    folder
        For example ``published_results`` of a copy of TSB-AD's tables.

    Returns
    -------
    polars.DataFrame
        Columns ``suite`` ("U" or "M"), ``file`` (without its ending), ``detector``, ``metric`` (our name),
        ``value``; sorted, one row each. Empty values are left out.

    Raises
    ------
    PublishedResultsError
        The directory is not there or holds no such table; a table cannot be read, has an unknown column, a value that
        is no number or outside 0 to 1, or a file twice; or two tables differ in what one detector got.
    """
    if not folder.is_dir():
        raise PublishedResultsError(
            f"{folder} is not a directory; give the one that holds tables such as uni_mergedTable_VUS-PR.parquet"
        )
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in {".csv", ".parquet"} and _parse(path)]
    if not paths:
        raise PublishedResultsError(
            f"{folder} holds no table of published results; their names are (uni|multi)_mergedTable_METRIC or "
            f"leaderboard_(Uni|Multi)_DETECTOR, ending in .parquet or .csv"
        )
    rows = pl.concat([_read_table(path) for path in paths])
    keys = ["suite", "file", "detector", "metric"]
    spread = rows.group_by(keys).agg(
        (pl.col("value").max() - pl.col("value").min()).alias("spread"), pl.col("source").unique().sort()
    )
    # Later tables repeat earlier detectors; that is fine as long as they say the same.
    differing = spread.filter(pl.col("spread") > _ROUNDING).sort(keys)
    if differing.height:
        first = differing.row(0, named=True)
        raise PublishedResultsError(
            f"{' and '.join(first['source'])} differ in {first['metric']} of {first['detector']} on {first['file']} "
            f"(and {differing.height - 1} more values); keep only one of the tables in {folder}"
        )
    return rows.unique(keys, keep="first").select(_COLUMNS).sort(keys)


def _parse(path: Path) -> re.Match[str] | None:
    return _NAME.fullmatch(path.stem)


def _read_table(path: Path) -> pl.DataFrame:
    match = _parse(path)
    assert match is not None
    try:
        table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PublishedResultsError(f"{path} cannot be read: {error}") from error
    key = next((name for name in _KEYS if name in table.columns), None)
    if key is None:
        raise PublishedResultsError(f"{path} has neither a column 'file' nor 'filename'; it has {_listed(table)}")
    table = table.with_columns(pl.col(key).cast(pl.String).str.strip_suffix(".csv"))
    if table[key].null_count() or table[key].n_unique() < table.height:
        repeated = table[key].filter(table[key].is_duplicated())
        what = f"file {repeated[0]!r} is there twice" if len(repeated) else "a file has no name"
        raise PublishedResultsError(f"{path}: {what}; keep one row a file")
    columns = [name for name in table.columns if name != key and name not in _FACTS]
    known = METRIC_NAMES.keys() | _MEASURED_ALONE
    if any(name in known for name in columns):
        return _of_metrics(path, table, key, columns, match)
    return _of_detectors(path, table, key, columns, match)


def _of_metrics(path: Path, table: pl.DataFrame, key: str, columns: list[str], match: re.Match[str]) -> pl.DataFrame:
    unknown = [name for name in columns if name not in METRIC_NAMES and name not in _MEASURED_ALONE]
    if unknown:
        raise PublishedResultsError(
            f"{path}: column {unknown[0]!r} is neither a metric nor a fact of a file; known metrics are "
            f"{', '.join(METRIC_NAMES)}. Drop or rename the column"
        )
    if match["suite"] is None:
        raise PublishedResultsError(f"{path} has a column a metric, so its name must be leaderboard_SUITE_DETECTOR")
    chosen = [name for name in columns if name in METRIC_NAMES]
    long = _long(path, table, key, chosen, "metric")
    detector = pl.lit(match["name"]).alias("detector")
    return long.with_columns(detector, _suite(match), pl.col("metric").replace_strict(METRIC_NAMES)).select(
        *_COLUMNS, "source"
    )


def _of_detectors(path: Path, table: pl.DataFrame, key: str, columns: list[str], match: re.Match[str]) -> pl.DataFrame:
    if not columns:
        raise PublishedResultsError(
            f"{path} has neither a column of a detector nor of a metric; it has {_listed(table)}"
        )
    metric = match["metric"] or "VUS-PR"
    if metric not in METRIC_NAMES:
        raise PublishedResultsError(
            f"{path}: {metric!r} in its name is no known metric; known are {', '.join(METRIC_NAMES)}"
        )
    long = _long(path, table, key, columns, "detector")
    return long.with_columns(pl.lit(METRIC_NAMES[metric]).alias("metric"), _suite(match)).select(*_COLUMNS, "source")


def _suite(match: re.Match[str]) -> pl.Expr:
    return pl.lit(_SUITES[(match["merged"] or match["suite"]).lower()]).alias("suite")


def _long(path: Path, table: pl.DataFrame, key: str, columns: list[str], variable: str) -> pl.DataFrame:
    """One row a value: ``file``, `variable`, ``value``, ``source``."""
    for name in columns:
        if not (table[name].dtype.is_numeric() or table[name].dtype == pl.Null):
            raise PublishedResultsError(f"{path}: column {name!r} holds {table[name].dtype}, not numbers")
    numbers = table.select(pl.col(key).alias("file"), *(pl.col(name).cast(pl.Float64) for name in columns))
    long = numbers.unpivot(index="file", variable_name=variable, value_name="value").filter(
        pl.col("value").is_not_null() & pl.col("value").is_not_nan()
    )
    outside = long.filter((pl.col("value") < -_ROUNDING) | (pl.col("value") > 1 + _ROUNDING))
    if outside.height:
        first = outside.row(0, named=True)
        raise PublishedResultsError(
            f"{path}: {first['value']} for {first['file']} in column {first[variable]!r} is outside 0 to 1"
        )
    return long.with_columns(pl.lit(path.name).alias("source"), pl.col("value").clip(0.0, 1.0))


def _listed(table: pl.DataFrame) -> str:
    return ", ".join(table.columns[:12]) + (" …" if table.width > 12 else "")
