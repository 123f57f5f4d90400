"""Quality of telemetry: what cannot be a measurement, what its sender says of it, and sensors that are broken."""

from tsad.quality.values import QualityCounts, RangeLimits, screen

__all__ = ["QualityCounts", "RangeLimits", "screen"]
