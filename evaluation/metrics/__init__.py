"""Metrics of anomaly scores and predictions against labels. Start at `evaluation.metrics.registry`."""
