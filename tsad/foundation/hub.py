"""Where weights that a setting names lie on this machine; nothing is ever downloaded."""

import os
from pathlib import Path

from tsad.errors import ConfigurationError

__all__ = ["local_weights"]

_NAME = "model.safetensors"


def local_weights(source: str) -> Path:
    """File of the weights called `source`: a file, a folder that holds one, or the id of a hub that was fetched before.

    Parameters
    ----------
    source
        A path, or ``organisation/name``, which is looked for in the cache of the Hugging Face tools (``HF_HUB_CACHE``,
        ``HF_HOME``), its newest snapshot first.

    Raises
    ------
    ConfigurationError
        Nothing is there; the message says how to get it.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.exists() or path.suffix or source.startswith((".", "/", "~")) or source.count("/") != 1:
        return path
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub")) / f"models--{source.replace('/', '--')}" / "snapshots"
    snapshots = sorted((one for one in cache.glob("*") if one.is_dir()), key=lambda one: one.stat().st_mtime)
    if snapshots:
        return _in_folder(snapshots[-1])
    raise ConfigurationError(
        f"weights {source!r} are not on this machine, and tsad downloads nothing; where there is a network run "
        f"`hf download {source} --local-dir DIR`, then give DIR"
    )


def _in_folder(folder: Path) -> Path:
    """The one file of weights in a folder."""
    found = sorted(folder.rglob("*.safetensors"))
    chosen = [one for one in found if one.name == _NAME] or found
    if len(chosen) == 1:
        return chosen[0]
    pickles = sorted(one for kind in ("pth", "pt", "bin", "ckpt") for one in folder.rglob(f"*.{kind}"))
    if not chosen and pickles:
        # Refused where it is read, with the sentence that says how to convert it.
        return pickles[0]
    what = f"several: {', '.join(one.name for one in chosen)}; give one of them" if chosen else "no .safetensors file"
    raise ConfigurationError(f"{folder} holds {what}")
