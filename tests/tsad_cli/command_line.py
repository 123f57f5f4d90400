from typer.testing import CliRunner

from tsad_cli.main import app

RUNNER = CliRunner()


def tsad(*arguments):
    """Run the command line in this process."""
    return RUNNER.invoke(app, [str(argument) for argument in arguments])
