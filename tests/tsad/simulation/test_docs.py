import re
from pathlib import Path

import pytest

from tsad.simulation import NODE_METRICS, PUMP_CHANNELS, FaultKind
from tsad.simulation.plant import _SCHEDULE

DOCS = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL))
def test_examples_run(block, capsys):
    exec(compile(block, "docs/simulator.md", "exec"), {})

    assert "plant/utilities/pump-1" in capsys.readouterr().out


def test_the_documented_schedule_is_the_planted_one():
    rows = re.findall(
        r"^\| \d+ \| `(\w+)` \| (\d+).(\d+)[^|]*\| (\S+) \| `?(\w+)`? \| `?(\w+)`? \|$", DOCS, re.MULTILINE
    )

    planted = [
        (kind, str(least), str(most), f"{size:g}" if size != 1.0 else "\u2013", pump or "all", node or "all")
        for kind, most, least, size, pump, node in _SCHEDULE
    ]
    assert rows == planted


def test_every_kind_and_pump_channel_is_documented():
    for name in (*FaultKind, *PUMP_CHANNELS):
        assert f"`{name}`" in DOCS
    assert f"the {len(NODE_METRICS)} names" in DOCS
