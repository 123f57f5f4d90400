"""Child processes of the demonstration: started with a log file, always ended, never silently dead."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tsad_cli.demo_errors import ProcessFailedError

__all__ = ["ChildProcess", "free_port", "tail"]

_TAIL_LINES = 15
_POLL_SECONDS = 0.05


def free_port() -> int:
    """Return a port of the loopback address that is free now.

    Another process can take it before ours does; ours then ends at once and its log says so.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log; what is there, even when it is no clean text."""
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]) or "(the log is empty)"


class ChildProcess:
    """A process of our own; a context manager that ends it.

    Parameters
    ----------
    name : str
        For messages.
    command : sequence of str
        Program and arguments.
    log : Path
        Its standard output and error.
    environment : mapping of str to str, optional
        Added to this process's.
    patience_seconds : float
        How long it may take to end after SIGTERM before it is killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        patience_seconds: float = 5.0,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._patience = patience_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as output:
            # A session of its own: Ctrl-C reaches only us, and we end the children in the right order.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(self._patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def process_id(self) -> int:
        """Its number; it must have been started."""
        return self._started().pid

    def check(self) -> None:
        """Raise when it has ended.

        Raises
        ------
        ProcessFailedError
            With the tail of its log.
        """
        status = self._started().poll()
        if status is not None:
            raise ProcessFailedError(f"{self.name} ended by itself with status {status}.{self._shown_log()}")

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until `ready` says so.

        Raises
        ------
        ProcessFailedError
            It ended, or was not ready in time.
        """
        end = time.monotonic() + timeout_seconds
        while not ready():
            self.check()
            if time.monotonic() > end:
                raise ProcessFailedError(f"{self.name} was not ready within {timeout_seconds:g} s.{self._shown_log()}")
            time.sleep(_POLL_SECONDS)

    def stop(self, timeout_seconds: float) -> float:
        """Ask it to end by SIGTERM and return how many seconds that took.

        Raises
        ------
        ProcessFailedError
            It had ended before, took longer, or ended with another status than 0.
        """
        self.check()
        process = self._started()
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):  # it ended between the check and the signal; seen below
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise ProcessFailedError(
                f"{self.name} did not end within {timeout_seconds:g} s of SIGTERM and was killed.{self._shown_log()}"
            ) from error
        if status != 0:
            raise ProcessFailedError(f"{self.name} ended with status {status} after SIGTERM.{self._shown_log()}")
        return time.monotonic() - began

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessFailedError(f"{self.name} was not started")
        return self._process

    def _shown_log(self) -> str:
        return f" The end of {self.log}:\n{tail(self.log)}"
