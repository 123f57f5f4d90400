"""The one place where detectors are found by name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tsad.detectors.base import Detector
from tsad.errors import ConfigurationError
from tsad.options import made_with, options_of

__all__ = ["create_detector", "detector_class", "detector_names", "detector_options"]

# Modules are imported when their detector is asked for: torch alone takes longer than everything else together.
_CLASSES = {
    "auto": ("tsad.detectors.auto", "AutoDetector"),
    "robust": ("tsad.detectors.robust", "RobustDetector"),
    "patchbank": ("tsad.detectors.patchbank", "PatchBankDetector"),
    "kmeans": ("tsad.detectors.kmeans", "KMeansDetector"),
    "matrix-profile": ("tsad.detectors.matrix_profile", "MatrixProfileDetector"),
    "poly": ("tsad.detectors.poly", "PolyDetector"),
    "spectral-residual": ("tsad.detectors.spectral_residual", "SpectralResidualDetector"),
    "sub-pca": ("tsad.detectors.sub_pca", "SubPcaDetector"),
    "autoencoder": ("tsad.detectors.autoencoder", "AutoencoderDetector"),
    "timercd-nano": ("tsad.detectors.timercd_nano", "TimercdNanoDetector"),
    "themis": ("tsad.detectors.themis", "ThemisDetector"),
}

# Found by name, but in no list of what works as it is: they need something that the user brings.
_WITH_OWN_WEIGHTS = {"timercd": ("tsad.detectors.timercd", "TimercdDetector")}


def detector_names() -> tuple[str, ...]:
    """Names of all detectors."""
    return tuple(_CLASSES)


def detector_class(name: str) -> type[Detector]:
    """The detector called `name`.

    Raises
    ------
    ConfigurationError
        There is none; the message lists those that exist.
    """
    if name.startswith("pyod:"):
        return import_module("tsad.detectors.pyod").pyod_detector(name)  # type: ignore[no-any-return]
    try:
        module, attribute = (_CLASSES | _WITH_OWN_WEIGHTS)[name]
    except KeyError:
        raise ConfigurationError(
            f"there is no detector {name!r}; `tsad detectors` lists them: {', '.join(sorted(_CLASSES))}",
        ) from None
    found: type[Detector] = getattr(import_module(module), attribute)
    return found


def detector_options(name: str) -> dict[str, Any]:
    """Options of a detector with their defaults."""
    return options_of(detector_class(name))


def create_detector(name: str, options: Mapping[str, Any] | None = None) -> Detector:
    """Make a detector.

    Raises
    ------
    ConfigurationError
        No detector has this name, or it has no such option, or an option's value is wrong.

    Examples
    --------
    >>> create_detector("sub-pca", {"window": 16}).window
    16
    """
    return made_with(f"detector {name!r}", detector_class(name), options)
