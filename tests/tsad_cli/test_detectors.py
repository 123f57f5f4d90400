import json

from tests.tsad_cli.command_line import tsad
from tsad.detectors.registry import detector_names, detector_options
from tsad.events.registry import event_detector_names


def test_detectors_are_listed():
    found = json.loads(tsad("detectors", "--json").stdout)
    assert [entry["name"] for entry in found] == [*detector_names(), *event_detector_names()]
    keys = {"name", "cost", "window", "lookahead", "multivariate", "options", "summary"}
    assert all(set(entry) == keys for entry in found)
    assert found[0]["options"] == detector_options(found[0]["name"])
    shown = tsad("detectors").stdout
    assert all(name in shown for name in (*detector_names(), *event_detector_names()))
