"""Structured logs: JSON lines for machines, short lines for a terminal."""

import logging
import sys
from typing import Literal, TextIO

import structlog

__all__ = ["configure_logs"]


def configure_logs(style: Literal["json", "console"], level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging of this process, that of libraries included.

    Parameters
    ----------
    style
        ``json`` or ``console``.
    level
        Lowest level shown.
    stream
        Default: standard error.
    """
    target = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if style == "json" else structlog.dev.set_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=target.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries say at INFO what only their developers want to know.
    root.setLevel(max(number, logging.WARNING))
