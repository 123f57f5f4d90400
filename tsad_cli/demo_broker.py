"""The broker of the demonstration: a small Kafka-protocol broker from a wheel, or one that runs already."""

import contextlib
import shutil
import stat
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from tsad_cli.demo_errors import DemoError
from tsad_cli.demo_process import ChildProcess, free_port

__all__ = ["create_topics", "running_broker"]

_BINARY = "noida-db"
_START_SECONDS = 15.0
_REQUEST_MILLISECONDS = 5_000


@contextlib.contextmanager
def running_broker(directory: Path, bootstrap: str | None) -> Iterator[tuple[str, ChildProcess | None]]:
    """Give the address of a broker that answers; one that was started here ends with the block.

    Parameters
    ----------
    directory : Path
        Where a broker of our own keeps its program, data and log.
    bootstrap : str or None
        ``host:port`` of a broker that runs already; None starts one.

    Raises
    ------
    DemoError
        The broker's package is not installed, or the given broker does not answer.
    ProcessFailedError
        The broker could not be started.
    """
    if bootstrap is not None:
        if not _answers(bootstrap):
            raise DemoError(f"no Kafka broker answers at {bootstrap}; start it, or leave --bootstrap out")
        yield bootstrap, None
        return
    program = _program(directory)
    port = free_port()
    address = f"127.0.0.1:{port}"
    command = [str(program), "start", "--only", "kafka", "--kafka-port", str(port)]
    command += ["--data-dir", str(directory / "broker-data")]
    with ChildProcess("the broker", command, directory / "broker.log") as process:
        process.wait_until(lambda: _answers(address), _START_SECONDS)
        yield address, process


def create_topics(bootstrap: str, topics: Sequence[str]) -> None:
    """Create topics of one partition each; those that exist stay as they are.

    Parameters
    ----------
    bootstrap : str
        ``host:port`` of a broker.
    topics : sequence of str
        Names.

    Raises
    ------
    DemoError
        The broker refuses.
    """
    # One partition each: all assets of a stream share one clock, by which one that falls silent is noticed.
    wanted = [NewTopic(name=topic, num_partitions=1, replication_factor=1) for topic in topics]
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=_REQUEST_MILLISECONDS)
        with contextlib.closing(admin):
            for topic in wanted:
                with contextlib.suppress(TopicAlreadyExistsError):
                    admin.create_topics([topic])
    except KafkaError as error:
        raise DemoError(f"topics cannot be created at {bootstrap}: {type(error).__name__}: {error}") from error


def _program(directory: Path) -> Path:
    """Copy the broker out of its package: the executable bit does not survive every installer."""
    try:
        packaged = resources.files("noida_db").joinpath(_BINARY)
    except ModuleNotFoundError as error:
        raise DemoError(
            "the demonstration's broker is not installed. Remedy: pip install 'tsad-service[demo]', or give the"
            " address of a broker that runs: tsad demo --bootstrap HOST:PORT"
        ) from error
    program = directory / _BINARY
    with resources.as_file(packaged) as source:
        shutil.copyfile(source, program)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def _answers(address: str) -> bool:
    """Whether something at `address` speaks Kafka."""
    try:
        KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=_REQUEST_MILLISECONDS).close()
    except (KafkaError, OSError):
        return False
    return True
