"""What a result was made from: code, data, machine. Two runs with equal hashes give equal figures."""

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import evaluation
import tsad
from evaluation.datasets.schema import LabelledSeries
from evaluation.metrics.registry import METRICS_VERSION

__all__ = ["cell_key", "code_hash", "data_hash", "provenance"]

_READERS = ("comparison", "published", "report")
_PACKAGES = ("tsad-service", "numpy", "scipy", "numba", "torch", "joblib", "polars", "pyarrow")


@cache
def code_hash() -> str:
    """Return a hash of the source that figures depend on, and of the libraries that compute.

    Comparison, published results and the report only read figures: changing them must not run every cell again.
    """
    digest = hashlib.sha256()
    for package in (tsad, evaluation):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            if root.name == "evaluation" and path.relative_to(root).parts[0] in _READERS:
                continue
            digest.update(str(path.relative_to(root.parent)).encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(json.dumps(_versions(), sort_keys=True).encode())
    return digest.hexdigest()[:16]


def data_hash(series: LabelledSeries) -> str:
    """Return a hash of everything in a series: names, times, values, labels, split, step, severity if it has one."""
    digest = hashlib.sha256()
    names = [series.dataset, series.name, list(series.channels), series.train_length, series.step]
    digest.update(json.dumps(names).encode())
    for array in (series.times, series.values, series.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    # Only where there is one: results of series without it stay valid.
    if series.severity is not None:
        digest.update(b"severity" + np.ascontiguousarray(series.severity).tobytes())
    return digest.hexdigest()[:16]


def cell_key(configuration: Mapping[str, Any], data: str) -> str:
    """Return the key under which a finished cell is kept: it changes with code, configuration and data.

    Parameters
    ----------
    configuration
        From `Cell.configuration`.
    data
        From `data_hash`.
    """
    parts = {"code": code_hash(), "configuration": configuration, "data": data}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def provenance(
    hashes: Mapping[str, str], *, command: Sequence[str], now: datetime | None = None, **settings: Any
) -> dict[str, Any]:
    """Return where results come from, JSON-ready.

    Parameters
    ----------
    hashes
        Data hash by ``dataset/series``.
    command
        How the backtest was started.
    now
        The time; by default that of the wall clock.
    settings
        Further facts, such as the seeds.
    """
    return {
        "command": list(command),
        "time": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "versions": _versions(),
        "metrics_version": METRICS_VERSION,
        "code_hash": code_hash(),
        "git_commit": _git_commit(),
        "data_hashes": dict(hashes),
        **settings,
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": f"{sys.platform} {platform.machine()}"}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _git_commit() -> str | None:
    """The commit of a checkout, with ``+changes`` where files differ from it; None where there is no repository."""
    folder = Path(str(evaluation.__file__)).parent
    try:
        commit, changes = (
            subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, timeout=10, check=True).stdout
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", ".", "../tsad"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.strip() + ("+changes" if changes.strip() else "")
