"""Settings of a training as `tsad pretrain` takes them, NAME=VALUE."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from evaluation.errors import InvalidInputError
from tsad.foundation.training import TrainingSettings

__all__ = ["training_settings"]


def training_settings(texts: Sequence[str], **given: Any) -> TrainingSettings:
    """Training settings, from NAME=VALUE with JSON values.

    Raises
    ------
    InvalidInputError
        A name does not exist, or the text has another form.
    """
    settings = TrainingSettings(**given)
    for text in texts:
        key, equals, value = text.partition("=")
        part, dot, name = key.strip().rpartition(".")
        holder: Any = getattr(settings, part, None) if dot and part in {"corpus", "network"} else settings
        if not equals or holder is None or name not in {f.name for f in fields(holder)} - {"corpus", "network"}:
            raise InvalidInputError(f"--setting {text!r} is not NAME=VALUE of training, corpus.NAME or network.NAME")
        try:
            parsed: Any = json.loads(value)
        except json.JSONDecodeError as error:
            raise InvalidInputError(f"--setting {text!r}: {value!r} is no JSON value") from error
        changed = replace(holder, **{name: tuple(parsed) if isinstance(parsed, list) else parsed})
        nested: dict[str, Any] = {part: changed}
        settings = replace(settings, **nested) if dot else changed
    if settings.corpus.window != settings.network.window:
        raise InvalidInputError(
            f"corpus.window is {settings.corpus.window} and network.window {settings.network.window}; set both alike"
        )
    return settings
