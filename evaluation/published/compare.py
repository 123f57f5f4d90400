"""Our results beside published ones, on exactly the same files."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from evaluation.comparison.units import Units, units

__all__ = ["CAVEATS", "DIFFERING", "SAME_ALGORITHM", "compare_published"]

DIFFERING = 0.05
"""A file whose two values lie farther apart is listed: so much is no rounding."""

_SUB_PCA = (
    "both are principal components of windows. Theirs: one window length from the autocorrelation, score is the "
    "distance to all directions weighted by their variances; ours adds up what lies off and what lies far out within "
    "the subspace"
)
SAME_ALGORITHM: dict[tuple[str, str], tuple[str, str]] = {("U", "sub-pca"): ("Sub-PCA", _SUB_PCA)}
"""Suite and our detector to the published name and why: a pair only where the algorithm is the same.

Not paired: ``PCA`` of suite M, which there sees single rows without windows; ``AutoEncoder``, a network of windows
trained on the head of a file, while ours sees single rows; and nothing published scores by median and deviation, as
``robust`` does.
"""

_HINDSIGHT = (
    "Published values are made with hindsight: unsupervised detectors were fitted on the whole file that they then "
    "scored, others on its head or on other data, with options tuned on other files of the suite; the whole file is "
    "measured. Later entries of the leaderboard are as their authors report them."
)
CAVEATS = (
    _HINDSIGHT,
    "Published F1 values are the best over all thresholds; they are set beside our oracle values.",
)

_SUITES = {"TSB-AD-U": "U", "TSB-AD-M": "M"}


def compare_published(cells: Sequence[Mapping[str, Any]], published: pl.DataFrame) -> dict[str, Any]:
    """Join the cells of a backtest with published values by the name of the file.

    Parameters
    ----------
    cells
        Records of a backtest. Series of ``TSB-AD-U`` and ``TSB-AD-M`` are looked for in their suite, others in the
        one suite that has a file of their name.
    published
        From `evaluation.published.read.read_published`.

    Returns
    -------
    dict
        JSON-ready: ``caveats``; ``values`` and ``values_hash``, what was compared with; ``matched`` and ``unmatched``,
        how many series; ``runs``: an entry a suite, mode and metric with ``files``, ``scored_rows``, ``vus_lengths``,
        ``same_algorithm`` (differences of pairs of `SAME_ALGORITHM`) and ``means`` (ours and theirs, best first, on
        the files where every detector of ours has a value; ``left_out`` names published detectors that lack one).
    """
    suites = _suites_of(cells, published)
    series = {(str(cell["dataset"]), str(cell["series"])) for cell in cells}
    runs = []
    for suite in ("U", "M"):
        theirs = published.filter(pl.col("suite") == suite)
        own = [cell for cell in cells if suites.get((str(cell["dataset"]), str(cell["series"]))) == suite]
        for mode in dict.fromkeys(str(cell["mode"]) for cell in own):
            part = [cell for cell in own if cell["mode"] == mode]
            for metric in theirs["metric"].unique().sort():
                run = _run(part, theirs.filter(pl.col("metric") == metric), suite, metric)
                if run is not None:
                    runs.append({"suite": suite, "mode": mode, "metric": metric} | run)
    return {
        "caveats": list(CAVEATS),
        "values": published.height,
        "values_hash": hashlib.sha256(published.write_csv().encode()).hexdigest()[:16],
        "matched": len(suites),
        "unmatched": len(series) - len(suites),
        "runs": sorted(runs, key=lambda run: (run["suite"] != "U", run["mode"], run["metric"] != "vus_pr")),
    }


def _suites_of(cells: Sequence[Mapping[str, Any]], published: pl.DataFrame) -> dict[tuple[str, str], str]:
    """The suite of every series that has published values."""
    files = {suite: set(published.filter(pl.col("suite") == suite)["file"]) for suite in ("U", "M")}
    found: dict[tuple[str, str], str] = {}
    for cell in cells:
        key = str(cell["dataset"]), str(cell["series"])
        named = _SUITES.get(key[0])
        fitting = [suite for suite in files if key[1] in files[suite] and named in {None, suite}]
        if len(fitting) == 1:
            found[key] = fitting[0]
    return found


def _run(cells: Sequence[Mapping[str, Any]], published: pl.DataFrame, suite: str, metric: str) -> dict[str, Any] | None:
    ours = units(cells, metric)
    trivial = {str(cell["detector"]) for cell in cells if cell["trivial"]}
    own = [name for name in ours.detectors if name not in trivial]
    complete = np.atleast_1d(np.isfinite(ours.values).all(axis=1))
    theirs: dict[str, dict[str, float]] = {}
    for file, detector, value in published.select("file", "detector", "value").iter_rows():
        theirs.setdefault(detector, {})[file] = value
    known = set(published["file"])
    files = [name for (_, name), whole in zip(ours.series, complete, strict=True) if whole and name in known]
    if not files:
        return None
    rows = [place for place, (_, name) in enumerate(ours.series) if name in set(files)]
    means: list[dict[str, Any]] = [
        {"detector": name, "ours": True, "trivial": name in trivial, "mean": float(np.mean(ours.column(name)[rows]))}
        for name in ours.detectors
    ]
    covering = {name: values for name, values in theirs.items() if all(file in values for file in files)}
    means += [
        {"detector": name, "ours": False, "trivial": False, "mean": float(np.mean([values[file] for file in files]))}
        for name, values in covering.items()
    ]
    return {
        "files": len(files),
        "scored_rows": sorted({str(cell.get("scored_rows", "test")) for cell in cells}),
        "vus_lengths": sorted({str(cell["configuration"]["measures"]["vus_length"]) for cell in cells}),
        "same_algorithm": [
            _same(ours, name, theirs[their], their, reason)
            for name in own
            if (suite, name) in SAME_ALGORITHM
            for their, reason in [SAME_ALGORITHM[suite, name]]
            if any(file in theirs.get(their, {}) for file in files)
        ],
        "means": sorted(means, key=lambda entry: entry["mean"], reverse=True),
        "left_out": sorted(theirs.keys() - covering.keys()),
    }


def _same(ours: Units, name: str, values: Mapping[str, float], their: str, reason: str) -> dict[str, Any]:
    """Our detector against the published one of the same algorithm, file by file, where both have a value."""
    pairs = [
        (file, float(value), values[file])
        for (_, file), value in zip(ours.series, ours.column(name), strict=True)
        if np.isfinite(value) and file in values
    ]
    differences = np.array([own - other for _, own, other in pairs])
    return {
        "detector": name,
        "published": their,
        "reason": reason,
        "files": len(pairs),
        "mean_difference": float(differences.mean()),
        "mean_absolute_difference": float(np.abs(differences).mean()),
        "per_file": [{"file": file, "ours": own, "published": other} for file, own, other in pairs],
        "differing": [file for file, own, other in pairs if abs(own - other) > DIFFERING],
    }
