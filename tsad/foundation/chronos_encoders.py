"""Encoders of Chronos-T5, Chronos-Bolt and Chronos-2, with weights that the user brings; nothing is downloaded."""

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from tsad.devices import torch_device
from tsad.errors import ConfigurationError
from tsad.foundation.encoders import Vectors, Windows, file_hash, refuse_long, silenced
from tsad.foundation.hub import local_weights

__all__ = ["DTYPES", "ChronosEncoder", "load_chronos"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
Family = Literal["t5", "bolt", "chronos-2"]
_FAMILIES: dict[str, Family] = {
    "ChronosPipeline": "t5",
    "ChronosBoltPipeline": "bolt",
    "Chronos2Pipeline": "chronos-2",
}


_FORECASTING = ("decoder.", "lm_head.", "output_patch_embedding.", "quantiles")
"""First parts of the names of tensors that only forecasts need."""


class ChronosEncoder:
    """The encoder of a Chronos model: one vector a step (T5) or a patch (Bolt, Chronos-2), special tokens dropped.

    Every window is one series by itself; variates share nothing. Source: package chronos-forecasting.

    Parameters
    ----------
    pipeline
        That of chronos-forecasting.
    family
        ``t5``, ``bolt`` or ``chronos-2``.
    settings
        The ``chronos_config`` of the model.
    identity
        Name and hash of the weights.
    width
        Numbers of one vector.
    """

    def __init__(self, pipeline: Any, family: Family, settings: dict[str, Any], identity: str, width: int) -> None:
        self._pipeline, self.family, self.identity, self.width = pipeline, family, identity, width
        self.context = int(settings["context_length"])
        self.patch = 1 if family == "t5" else int(settings["input_patch_size"])
        self._special = {
            "t5": int(bool(settings.get("use_eos_token"))),
            "bolt": int(bool(settings.get("use_reg_token"))),
            # Besides the register token it encodes the first patch of the future, masked.
            "chronos-2": 1 + int(bool(settings.get("use_reg_token"))),
        }[family]

    def __call__(self, windows: Windows) -> Vectors:
        """See `Encoder`."""
        refuse_long(self, windows)
        context = torch.from_numpy(np.ascontiguousarray(windows, np.float32))
        with torch.inference_mode():
            if self.family == "chronos-2":
                found = torch.stack([one[0] for one in self._pipeline.embed(context[:, None])[0]])
            else:
                found = self._pipeline.embed(context)[0]
        patches = -(-windows.shape[1] // self.patch)
        if found.shape[1] != patches + self._special:
            raise ValueError(
                f"encoder {self.identity} gave {found.shape[1]} tokens of windows of {windows.shape[1]} steps, not "
                f"{patches} and {self._special} special ones; this version of chronos-forecasting does not fit"
            )
        # numpy has no bfloat16.
        vectors = found[:, :patches].float().cpu().numpy()
        return silenced(np.array(vectors), windows, self.patch)


def load_chronos(source: str, device: str = "auto", dtype: str = "float32") -> ChronosEncoder:
    """The encoder of a Chronos model on this machine.

    Parameters
    ----------
    source
        Its folder (config.json and model.safetensors), or the hub id of a model that was fetched before.
    device
        A torch device.
    dtype
        ``float32``, ``bfloat16`` or ``float16``: what it computes in, whatever the weights were saved in.

    Raises
    ------
    ConfigurationError
        Model, package, device or dtype are not there, or the model is damaged, no Chronos model, or holds code or
        pickles; the message says what to do.
    """
    if dtype not in DTYPES:
        raise ConfigurationError(f"dtype is {dtype!r}; choose {', '.join(DTYPES)}")
    device = str(torch_device(device))
    folder = _folder(source)
    config = _config(folder)
    files = _weights(folder)
    if find_spec("chronos") is None:
        raise ConfigurationError(
            f"encoder {source} is a Chronos model, which needs the package chronos-forecasting: "
            f"pip install 'tsad-service[chronos]'"
        )
    family = _FAMILIES[config.get("chronos_pipeline_class", "ChronosPipeline")]
    pipeline = _pipeline(folder, device, dtype)
    _refuse_invented(pipeline, files, folder)
    name = f"{family}:{file_hash(folder / 'config.json', *files)}:{dtype}:{torch.device(device).type}"
    return ChronosEncoder(pipeline, family, config["chronos_config"], name, int(config["d_model"]))


def _folder(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise ConfigurationError(f"encoder {source} is a file; give the folder of the model, with config.json")
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ConfigurationError(
            f"there is no encoder {source!r}: give timercd-nano, or the folder of a Chronos model; where there is a "
            f"network `hf download amazon/chronos-bolt-tiny --local-dir DIR` makes one, then give encoder=DIR"
        )
    return local_weights(source).parent


def _config(folder: Path) -> dict[str, Any]:
    """The configuration, looked through before any other package reads it."""
    path = folder / "config.json"
    if (folder / "adapter_config.json").exists():
        raise ConfigurationError(f"{folder} is an adapter of another model; merge it where you trust it, and save that")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); give the whole folder of the model") from error
    if not isinstance(config, dict) or not isinstance(config.get("chronos_config"), dict):
        raise ConfigurationError(f"{path} is not that of a Chronos model: it has no chronos_config")
    if "auto_map" in config:
        raise ConfigurationError(f"{path} names code of its own (auto_map), which is never run")
    kind = config.get("chronos_pipeline_class", "ChronosPipeline")
    if kind not in _FAMILIES:
        raise ConfigurationError(f"{path} is of kind {kind!r}; themis knows {', '.join(_FAMILIES)}")
    settings = config["chronos_config"]
    needed = ["context_length"] + ([] if _FAMILIES[kind] == "t5" else ["input_patch_size", "input_patch_stride"])
    missing = [name for name in needed if not isinstance(settings.get(name), int)]
    if missing or not isinstance(config.get("d_model"), int):
        raise ConfigurationError(f"{path} does not tell {', '.join(missing) or 'd_model'}")
    tokenizer, shape = settings.get("tokenizer_class"), settings.get("model_type")
    if _FAMILIES[kind] == "t5" and (tokenizer != "MeanScaleUniformBins" or shape != "seq2seq"):
        raise ConfigurationError(
            f"{path} has tokenizer {tokenizer!r}, model_type {shape!r}; themis knows MeanScaleUniformBins and seq2seq"
        )
    if settings.get("input_patch_stride") != settings.get("input_patch_size"):
        raise ConfigurationError(f"{path} has patches that overlap, which themis does not know how to lay over rows")
    return config


def _weights(folder: Path) -> list[Path]:
    """Files of weights, each whole."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = [one.name for kind in ("bin", "pt", "pth", "ckpt") for one in sorted(folder.glob(f"*.{kind}"))]
        why = f"only {pickles[0]}, a pickle, which can run code when opened and is refused" if pickles else "none"
        raise ConfigurationError(f"{folder} should hold model.safetensors, but there is {why}; fetch it again")
    for path in files:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ConfigurationError(
                f"{path} is no whole safetensors file ({error}); copy or download it again"
            ) from error
    return files


def _pipeline(folder: Path, device: str, dtype: str) -> Any:
    # Read when the package is imported: nothing it does later may reach for a hub.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # Seconds to import, and an extra.
    from chronos import BaseChronosPipeline  # noqa: PLC0415
    from transformers.utils import logging as library_logging  # noqa: PLC0415

    logging: Any = library_logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        # What a model is filled with before its weights are read must not move torch's random state.
        with torch.random.fork_rng(devices=[]):
            pipeline = BaseChronosPipeline.from_pretrained(
                folder, device_map=device, dtype=DTYPES[dtype], local_files_only=True, use_safetensors=True
            )
    except (ValueError, TypeError, KeyError, RuntimeError, OSError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigurationError(f"{folder} could not be loaded as a Chronos model: {reason}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    return pipeline


def _refuse_invented(pipeline: Any, files: list[Path], folder: Path) -> None:
    """Refuse a model whose encoder was not all in the files: the library would draw the rest at random."""
    stored: set[str] = set()
    for path in files:
        with safe_open(path, framework="numpy") as file:
            stored.update(file.keys())
    model = pipeline.inner_model
    tensors = dict(model.state_dict(keep_vars=True))
    known = {id(tensor) for name, tensor in tensors.items() if name in stored}
    invented = sorted(
        name for name, tensor in tensors.items() if id(tensor) not in known and not name.startswith(_FORECASTING)
    )
    if invented:
        raise ConfigurationError(
            f"the weights in {folder} lack {invented[0]!r} ({len(invented)} tensors in all); they belong to another "
            f"model, or a part is missing"
        )
