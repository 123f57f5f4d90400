import json

import pytest

from evaluation.datasets.registry import available, available_events
from tests.tsad_cli.command_line import tsad


@pytest.fixture
def nothing_there(monkeypatch, tmp_path):
    monkeypatch.setenv("TSAD_DATA", str(tmp_path))
    return tmp_path


def test_a_known_data_set_that_is_missing_says_how_to_get_it(nothing_there):
    result = tsad("backtest", "--dataset", "skab")
    assert result.exit_code == 2
    assert "SKAB is not there" in result.stderr
    assert "github.com/waico/SKAB" in result.stderr
    listed = json.loads(tsad("datasets", "--json").stdout)
    assert {entry["there"] for entry in listed} == {"no"}
    assert not any(entry["present"] for entry in listed)
    assert all(str(nothing_there) in entry["looked_for"] for entry in listed)


def test_data_sets_are_listed(nothing_there):
    shown = tsad("datasets").stdout
    assert all(name in shown for name in (*available(), *available_events(), "licence", "TSAD_DATA", "events"))
    assert "SWaT, how to get it: Get it by request from iTrust" in shown
    listed = json.loads(tsad("datasets", "--json").stdout)
    assert [entry["name"] for entry in listed] == [*available(), *available_events()]
    assert {entry["name"] for entry in listed if entry["kind"] == "events"} == set(available_events())
    assert all(entry["how_to_get"] and entry["licence"] and entry["label_policy"] for entry in listed)


def test_a_missing_event_set_says_how_to_get_it(nothing_there):
    result = tsad("backtest", "--dataset", "kdd99")
    assert result.exit_code == 2
    assert "KDD99 is not there" in result.stderr
    assert str(nothing_there) in result.stderr
    assert "Licence: " in result.stderr


def test_check_tells_what_is_absent(nothing_there):
    result = tsad("datasets", "check", "skab", "BGL")
    assert result.exit_code == 0
    assert f"SKAB is not there; looked for in {nothing_there}/skab" in result.stdout
    assert "BGL is not there" in result.stdout
    unknown = tsad("datasets", "check", "nothing")
    assert unknown.exit_code == 2
    assert "no data set 'nothing'; there are SMAP" in unknown.stderr


def test_check_fails_where_a_set_is_broken(nothing_there):
    (nothing_there / "lanl-auth-sample").mkdir()
    rows = "".join(f"{second},u,a,b\n" for second in range(749))
    (nothing_there / "lanl-auth-sample" / "redteam.csv").write_text("second,user,src_pc,dst_pc\n" + rows)
    sound = tsad("datasets", "check", "lanl-redteam")
    assert sound.exit_code == 0
    assert "LANL-REDTEAM" in sound.stdout
    assert "749" in sound.stdout
    (nothing_there / "lanl-auth-sample" / "redteam.csv").write_text("second,user,src_pc,dst_pc\n" + rows[:200])
    broken = tsad("datasets", "check", "lanl-redteam", "skab")
    assert broken.exit_code == 1
    assert "LANL-REDTEAM is broken" in broken.stdout
    assert "SKAB is not there" in broken.stdout
    (found, absent) = json.loads(tsad("datasets", "check", "--json", "lanl-redteam", "skab").stdout)
    assert (found["state"], absent["state"]) == ("broken", "absent")
    assert found["problems"]


def test_help_of_check_has_an_example():
    result = tsad("datasets", "check", "--help")
    assert result.exit_code == 0
    assert "Example: tsad datasets check" in result.stdout
