"""One verdict of several opinions: of detectors over a row, and of images and process over a part."""

from tsad.fusion.harmonic import harmonic_score

__all__ = ["harmonic_score"]
