"""Metrics, labelled data sets and backtests: runs the engine on recorded data."""
