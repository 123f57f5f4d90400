"""The configuration file that the demonstration's daemon runs from."""

import base64
import secrets
from pathlib import Path
from typing import Any

import yaml

from tsad_cli.demo_feed import DEAD_LETTERS, Feed

__all__ = ["SECRET_VARIABLE", "new_secret", "write_configuration"]

SECRET_VARIABLE = "TSAD_DEMO_WEBHOOK_SECRET"  # noqa: S105 - the name of the variable, not a secret

_HEADER = f"""\
# Written by `tsad demo`. Check it with `tsad check`, run it with `tsad run`; the secret of the webhooks comes from
# the environment variable {SECRET_VARIABLE} (whsec_…).
"""


def new_secret() -> str:
    """Make a secret to sign webhooks with."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def write_configuration(
    path: Path, feed: Feed, *, bootstrap: str, start: str, webhook_url: str, http_port: int, history: str
) -> None:
    """Write the file.

    Parameters
    ----------
    path : Path
        Where.
    feed : Feed
        Whose streams the daemon reads.
    bootstrap : str
        The broker, ``host:port``.
    start : str
        ``earliest`` or ``latest``: where to begin in a topic.
    webhook_url : str
        The receiver.
    http_port : int
        Port of the daemon's own HTTP door.
    history : str
        Name of the history file, beside this one.
    """
    configuration: dict[str, Any] = {
        "source": {"kind": "kafka", "bootstrap": [bootstrap], "start": start},
        "streams": [dict(stream) for stream in feed.streams],
        "history": {"path": history},
        # Shorter than the default second: event time runs fast here.
        "commit": {"every": "500ms"},
        "webhooks": [{"name": "control-room", "url": webhook_url, "secrets": [f"${{{SECRET_VARIABLE}}}"]}],
        "http": {"port": http_port},
        "dead_letters": {"topic": DEAD_LETTERS},
    }
    path.write_text(_HEADER + yaml.safe_dump(configuration, sort_keys=False), encoding="utf-8")
