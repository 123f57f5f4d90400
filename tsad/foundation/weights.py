"""Weights of foundation models on disk: safetensors and a JSON card, never anything that could run code."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tsad.errors import ConfigurationError
from tsad.foundation.nano import NanoConfig, NanoNetwork

__all__ = ["SHIPPED", "fill", "load_nano", "read_card", "read_weights", "save_nano", "shipped_folder", "weights_path"]

SHIPPED = "timercd-nano"
"""Name of the weights that come with the package."""
_PICKLES = {".bin", ".ckpt", ".pkl", ".pickle", ".pt", ".pth"}


def shipped_folder() -> Path:
    """Folder of the weights that come with the package."""
    return Path(str(files("tsad.foundation") / "weights_shipped"))


def weights_path(source: str | Path) -> Path:
    """File of the weights that a setting names: ``timercd-nano``, or a path."""
    return shipped_folder() / f"{SHIPPED}.safetensors" if str(source) == SHIPPED else Path(source)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, by name.

    Raises
    ------
    ConfigurationError
        The file is missing, damaged, or a pickle; the message says what to do.
    """
    if path.suffix in _PICKLES:
        raise ConfigurationError(
            f"{path} is a pickle, which can run code when opened, so it is refused; convert it where you trust it: "
            f"stored = torch.load('{path.name}', weights_only=True); "
            f"safetensors.torch.save_file(stored.get('model_state_dict', stored), 'model.safetensors')"
        )
    if not path.is_file():
        raise ConfigurationError(
            f"there are no weights at {path}; give a .safetensors file, or a folder that holds one"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"{path} is no whole safetensors file ({error}); copy or download it again") from error


def fill(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], where: str) -> None:
    """Copy tensors into a module that must have exactly these.

    Raises
    ------
    ConfigurationError
        A tensor is missing, superfluous, or of another shape; the message names it.
    """
    own = module.state_dict()
    missing, beyond = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
    if missing or beyond:
        what = f"lack {missing[0]!r}" if missing else f"have {beyond[0]!r}, which the model has not"
        raise ConfigurationError(f"the weights of {where} {what}; they belong to another model or version")
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            raise ConfigurationError(
                f"the weights of {where} have {name!r} of shape {tuple(weights[name].shape)}, this model "
                f"{tuple(tensor.shape)}; they are of another patch size or number of channels"
            )
    module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})


def save_nano(network: NanoNetwork, path: Path, card: Mapping[str, Any]) -> None:
    """Write a network: `path` (.safetensors) and beside it the card (.json), which also holds the network's shape."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    text = json.dumps({"network": network.config.json(), **card}, indent=2)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def read_card(path: Path) -> dict[str, Any]:
    """The card beside a file of weights.

    Raises
    ------
    ConfigurationError
        There is none, or it is damaged.
    """
    card = path.with_suffix(".json")
    try:
        stored = json.loads(card.read_text(encoding="utf-8"))
        return dict(stored)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{card} cannot be read ({error}); it belongs beside {path.name}") from error


def load_nano(source: str | Path = SHIPPED) -> tuple[NanoNetwork, dict[str, Any]]:
    """Load a nano network and its card.

    Parameters
    ----------
    source
        ``timercd-nano`` for the shipped weights, or a .safetensors file that `tsad pretrain` wrote.

    Raises
    ------
    ConfigurationError
        They are missing, damaged, a pickle, or of another model.

    Examples
    --------
    >>> network, card = load_nano()
    >>> card["network"]["window"]
    512
    """
    path = weights_path(source)
    weights = read_weights(path)
    card = read_card(path)
    try:
        config = NanoConfig.of(card["network"])
    except (KeyError, TypeError) as error:
        raise ConfigurationError(f"the card of {path} does not tell the network's shape: {error}") from error
    # First weights are drawn and thrown away; torch's own random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        network = NanoNetwork(config)
    fill(network, weights, str(path))
    return network.eval(), card
