import pytest

from tests.tsad_cli.command_line import tsad


@pytest.mark.parametrize(
    "command", ["backtest", "detectors", "datasets", "evaluate", "report", "fit", "score", "token"]
)
def test_help_has_an_example(command):
    result = tsad(command, "--help")
    assert result.exit_code == 0
    assert f"Example: tsad {command}" in result.stdout
