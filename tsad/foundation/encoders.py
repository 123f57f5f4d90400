"""Frozen encoders that turn windows of one channel into vectors: their protocol, the nano's tokens, users' modules."""

import hashlib
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tsad.devices import torch_device
from tsad.errors import ConfigurationError
from tsad.foundation.weights import SHIPPED, load_nano, weights_path
from tsad.foundation.windows import normalise

__all__ = [
    "EmbeddingCache",
    "Encoder",
    "ModuleEncoder",
    "NanoEncoder",
    "embed_windows",
    "file_hash",
    "load_encoder",
    "silenced",
]

Windows = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]
_BATCH = 32


@runtime_checkable
class Encoder(Protocol):
    """What `themis` needs of a frozen encoder; any object with these members serves, such as one of yours.

    Vectors stand for `patch` steps each and are aligned to the END of the window: of P vectors of a window of t steps,
    vector p stands for steps t - patch (P - p) to t - patch (P - p - 1) - 1; negative steps are padding.
    """

    @property
    def identity(self) -> str:
        """Name and hash of the weights: two encoders of one identity give the same vectors."""
        ...

    @property
    def context(self) -> int:
        """Steps of the longest window."""
        ...

    @property
    def patch(self) -> int:
        """Steps that one vector stands for."""
        ...

    @property
    def width(self) -> int:
        """Numbers of one vector."""
        ...

    def __call__(self, windows: Windows) -> Vectors:
        """Vectors float32[b, ceil(t / patch), width] of windows float32[b, t], NaN where a value is missing.

        A vector all of whose steps are missing is NaN. A window longer than `context` is refused, never cut.

        Raises
        ------
        ValueError
            A window is longer than `context`.
        """
        ...


class NanoEncoder:
    """Tokens of `timercd-nano`, one channel at a time: the encoder that comes with the package.

    Shorter windows are padded on the left with what the network knows as missing.

    Parameters
    ----------
    weights
        ``timercd-nano``, or a .safetensors file that `tsad pretrain timercd` wrote.
    device
        A torch device.

    Examples
    --------
    >>> encoder = NanoEncoder()
    >>> encoder(np.zeros((2, 100), np.float32)).shape == (2, 7, encoder.width)
    True
    """

    def __init__(self, weights: str | Path = SHIPPED, device: str = "auto") -> None:
        device = str(torch_device(device))
        network, _ = load_nano(weights)
        self._network, self._device = network.to(device).eval(), device
        config = network.config
        self.context, self.patch, self.width = config.window, config.patch, config.width
        self.identity = f"timercd-nano:{file_hash(weights_path(weights))}"

    def __call__(self, windows: Windows) -> Vectors:
        """See `Encoder`; on one thread, since a window costs less than waking others."""
        refuse_long(self, windows)
        t = windows.shape[1]
        padded = np.full((len(windows), self.context), np.nan)
        padded[:, self.context - t :] = windows
        valid = ~np.isnan(padded)
        scaled, _, _ = normalise(padded, valid)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode():
                inputs = (torch.from_numpy(x[:, None]).to(self._device) for x in (scaled, valid.astype(np.float32)))
                tokens = self._network.last(self._network.tokens(*inputs))[:, 0]
        finally:
            torch.set_num_threads(threads)
        patches = -(-t // self.patch)
        vectors = tokens[:, tokens.shape[1] - patches :].cpu().numpy()
        return silenced(np.array(vectors), windows, self.patch)


class ModuleEncoder:
    """A torch module of yours as an encoder.

    Parameters
    ----------
    module
        Maps float32[b, t], NaN where missing, to [b, ceil(t / patch), width]; put into evaluation mode and moved.
    identity
        A name that changes when the weights do; a stored state is only continued with the same one.
    context, patch, width
        See `Encoder`.
    device
        A torch device.

    Examples
    --------
    >>> class Ends(nn.Module):
    ...     def forward(self, x):
    ...         return x.nan_to_num().reshape(len(x), -1, 4)
    >>> ModuleEncoder(Ends(), "ends", context=64, patch=4, width=4)(np.ones((1, 8), np.float32)).shape
    (1, 2, 4)
    """

    def __init__(
        self, module: nn.Module, identity: str, *, context: int, patch: int, width: int, device: str = "cpu"
    ) -> None:
        device = str(torch_device(device))
        self._module, self._device = module.to(device).eval(), device
        self.identity, self.context, self.patch, self.width = identity, context, patch, width

    def __call__(self, windows: Windows) -> Vectors:
        """See `Encoder`."""
        refuse_long(self, windows)
        with torch.inference_mode():
            found = self._module(torch.from_numpy(np.ascontiguousarray(windows)).to(self._device))
        vectors = found.float().cpu().numpy()
        expected = (len(windows), -(-windows.shape[1] // self.patch), self.width)
        if vectors.shape != expected:
            raise ValueError(f"encoder {self.identity} gave vectors of shape {vectors.shape}, not {expected}")
        return silenced(np.array(vectors), windows, self.patch)


def refuse_long(encoder: Encoder, windows: Windows) -> None:
    """Refuse windows that the encoder would have to cut."""
    if windows.shape[1] > encoder.context:
        raise ValueError(
            f"windows of {windows.shape[1]} steps are longer than the {encoder.context} that encoder "
            f"{encoder.identity} takes; choose a smaller window"
        )


def silenced(vectors: Vectors, windows: Windows, patch: int) -> Vectors:
    """The vectors, NaN where none of their steps has a value; changes them in place.

    Examples
    --------
    >>> silenced(np.zeros((1, 2, 1), np.float32), np.float32([[np.nan, 1, 2]]), 2)[0, :, 0].tolist()
    [nan, 0.0]
    """
    b, t = windows.shape
    there = np.zeros((b, vectors.shape[1] * patch), np.bool_)
    there[:, there.shape[1] - t :] = ~np.isnan(windows)
    vectors[~there.reshape(b, -1, patch).any(axis=-1)] = np.nan
    return vectors


def file_hash(*paths: Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of some files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()[:16]


class EmbeddingCache:
    """Vectors of batches of windows that were embedded before, by encoder and content; the oldest go first.

    Whole batches are kept, so that what comes from the cache is what the encoder would give again, to the last bit.

    Parameters
    ----------
    megabytes
        Room for vectors; 0 keeps none.
    """

    def __init__(self, megabytes: float) -> None:
        self._room = int(megabytes * (1 << 20))
        self._held: OrderedDict[bytes, Vectors] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()
        self.hits = 0

    def __call__(self, encoder: Encoder, windows: Windows) -> Vectors:
        """Vectors of a batch of windows; see `Encoder`."""
        windows = np.ascontiguousarray(windows, np.float32)
        digest = hashlib.sha256(f"{encoder.identity} {windows.shape}".encode())
        digest.update(windows.tobytes())
        key = digest.digest()
        with self._lock:
            if key in self._held:
                self.hits += 1
                self._held.move_to_end(key)
                return self._held[key]
        vectors = encoder(windows)
        vectors.flags.writeable = False
        with self._lock:
            if vectors.nbytes <= self._room and key not in self._held:
                self._held[key] = vectors
                self._bytes += vectors.nbytes
                while self._bytes > self._room:
                    self._bytes -= self._held.popitem(last=False)[1].nbytes
        return vectors


def embed_windows(encoder: Encoder, windows: Windows, cache: EmbeddingCache, batch: int = _BATCH) -> Vectors:
    """Vectors of any number of windows, float32[n, P, width], `batch` of them at a time."""
    parts = [cache(encoder, windows[first : first + batch]) for first in range(0, len(windows), batch)]
    patches = -(-windows.shape[1] // encoder.patch)
    return np.concatenate(parts) if parts else np.zeros((0, patches, encoder.width), np.float32)


def load_encoder(encoder: str | Encoder, device: str = "auto", dtype: str = "float32") -> Encoder:
    """The encoder that a setting names.

    Parameters
    ----------
    encoder
        ``timercd-nano``, a .safetensors file of `tsad pretrain timercd`, the folder of a Chronos model or the hub id of
        one that was fetched to this machine before, or an object that is an `Encoder`.
    device, dtype
        Of torch; an object brings its own.

    Raises
    ------
    ConfigurationError
        It is not there, is damaged, or is no encoder; the message says what to do.
    """
    if not isinstance(encoder, str):
        return _checked(encoder)
    if encoder == SHIPPED or encoder.endswith(".safetensors"):
        if dtype != "float32":
            raise ConfigurationError(f"dtype is {dtype!r}, but encoder {encoder} runs in float32")
        return NanoEncoder(encoder, device)
    # Brings transformers, which takes seconds to import.
    from tsad.foundation.chronos_encoders import load_chronos  # noqa: PLC0415

    return load_chronos(encoder, device, dtype)


def _checked(encoder: Any) -> Encoder:
    if not isinstance(encoder, Encoder):
        lacks = [name for name in ("identity", "context", "patch", "width") if not hasattr(encoder, name)]
        raise ConfigurationError(
            f"encoder is {type(encoder).__name__}, which lacks {', '.join(lacks) or '__call__'}; give a name, or an "
            f"object like tsad.foundation.encoders.ModuleEncoder"
        )
    if encoder.patch < 1 or encoder.width < 1 or encoder.context < encoder.patch:
        raise ConfigurationError(
            f"encoder {encoder.identity} has patch {encoder.patch}, width {encoder.width} and context "
            f"{encoder.context}; they must be at least 1, and context at least patch"
        )
    return encoder
