"""One verdict of several opinions: of detectors over a row, and of images and process over a part."""

from tsad.fusion.harmonic import PRIOR_CLUSTERS, harmonic_score

__all__ = ["PRIOR_CLUSTERS", "harmonic_score"]
