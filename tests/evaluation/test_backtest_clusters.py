"""The same cells on real local clusters of Ray and Dask."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.backtest_parts import recording, write_csv

ROOT = Path(__file__).parents[2]


def metrics(folder):
    cells = json.loads((folder / "results.json").read_text())["cells"]
    assert all(cell["error"] is None for cell in cells)
    return {(cell["series"], cell["detector"]): cell["metrics"] for cell in cells}


def backtest(data, out, backend):
    """A process of its own: clusters leave threads and sockets behind that would disturb other tests."""
    arguments = ["--dataset", data, "--detector", "robust,sub-pca", "--jobs", "2", "--backend", backend, "--out", out]
    command = [sys.executable, "-m", "tsad_cli.main", "backtest", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False, cwd=ROOT)


@pytest.mark.parametrize(("backend", "module"), [("ray", "ray"), ("dask", "distributed")])
def test_a_local_cluster_gives_the_same_figures(tmp_path, backend, module):
    pytest.importorskip(module, reason=f"{module} is not installed: pip install 'tsad-service[{backend}]'")
    data = tmp_path / "plant"
    data.mkdir()
    for seed, name in enumerate(("fan", "pump", "valve")):
        write_csv(data / f"{name}.csv", recording(rows=500, train=300, seed=seed))
    alone = backtest(data, tmp_path / "loky", "loky")
    assert alone.returncode == 0, alone.stderr
    done = backtest(data, tmp_path / backend, backend)
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path / backend) == metrics(tmp_path / "loky")
    again = backtest(data, tmp_path / backend, backend)
    assert "15 of 15 cells were finished" in again.stdout, "finished cells of a cluster are kept too"
