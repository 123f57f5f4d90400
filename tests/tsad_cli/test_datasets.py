import json

from tests.tsad_cli.command_line import tsad


def test_a_known_data_set_that_is_missing_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TSAD_DATA", str(tmp_path))
    result = tsad("backtest", "--dataset", "skab")
    assert result.exit_code == 2
    assert "SKAB is not there" in result.stderr
    assert "github.com/waico/SKAB" in result.stderr
    listed = json.loads(tsad("datasets", "--json").stdout)
    assert [entry["present"] for entry in listed] == [False, False, False]
    assert all(str(tmp_path) in entry["looked_for"] for entry in listed)


def test_data_sets_are_listed():
    shown = tsad("datasets").stdout
    assert all(name in shown for name in ("SMAP", "MSL", "SKAB", "licence", "TSAD_DATA"))
