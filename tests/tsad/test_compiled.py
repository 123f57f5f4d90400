import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tsad.compiled import _kept_in, compiled

CALLER = """
from inner import step
from tsad.compiled import compiled

@compiled
def total(n):
    found = 0
    for i in range(n):
        found += step(i)
    return found

print(total(4), total.stats.cache_hits.total())
"""
INNER = """
from tsad.compiled import compiled

@compiled
def step(i):
    return {}
"""
ROOT = Path(__file__).parents[2]


def run(folder, **environment):
    said = subprocess.run(
        [sys.executable, "caller.py"], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    return [int(number) for number in said.stdout.split()]


def test_a_change_in_another_file_is_noticed(tmp_path):
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "inner.py").write_text(INNER.format("i"))
    assert run(tmp_path) == [6, 0]
    assert run(tmp_path) == [6, 1], "kept"
    (tmp_path / "inner.py").write_text(INNER.format("2 * i"))
    assert run(tmp_path) == [12, 0]
    assert len(list((tmp_path / "__pycache__").glob("compiled-*"))) == 1, "what is old is removed"


def test_where_machine_code_is_kept(tmp_path):
    source, mine = tmp_path / "source", tmp_path / "mine"
    source.mkdir()
    (source / "caller.py").write_text(CALLER)
    (source / "inner.py").write_text(INNER.format("i"))
    assert run(source, NUMBA_CACHE_DIR=str(mine)) == [6, 0]
    assert run(source, NUMBA_CACHE_DIR=str(mine)) == [6, 1]
    assert [path.name[:9] for path in mine.iterdir()] == ["compiled-"]


def test_without_a_folder_to_write_to_the_users_cache_is_taken(tmp_path):
    source, cache = tmp_path / "source", tmp_path / "cache"
    source.mkdir()
    (source / "caller.py").write_text(CALLER)
    (source / "inner.py").write_text(INNER.format("i"))
    # A file where the folder would be: nobody can write there, not even root.
    (source / "__pycache__").write_text("")
    environment = {"XDG_CACHE_HOME": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    assert run(source, **environment) == [6, 0]
    assert run(source, **environment) == [6, 1]
    assert len(list((cache / "tsad").glob("compiled-*"))) == 1


def test_where_nobody_may_write_nothing_is_kept(tmp_path):
    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "inner.py").write_text(INNER.format("i"))
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "cache").write_text("")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    assert run(tmp_path, **environment) == [6, 0]
    assert run(tmp_path, **environment) == [6, 0]


def test_without_a_home_nothing_fails(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "__pycache__").write_text("")

    assert _kept_in(tmp_path / "source", "") == ""
    assert not (tmp_path / "~").exists()


def test_options_are_passed_on():
    @compiled(fastmath=True)
    def mean(values):
        total = 0.0
        for value in values:
            total += value
        return total / len(values)

    assert mean(np.arange(5.0)) == pytest.approx(2.0)
    assert mean.targetoptions["fastmath"]
    assert mean.targetoptions["nogil"]
