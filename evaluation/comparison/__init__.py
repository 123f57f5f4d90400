"""Whether detectors differ: paired over series, because series differ far more than detectors do."""
