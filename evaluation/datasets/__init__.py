"""Labelled data sets, all in one shape. Start at `evaluation.datasets.registry`."""
