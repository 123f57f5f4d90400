"""Numeric detectors, one module a family. All obey `tsad.detectors.base.Detector`."""
