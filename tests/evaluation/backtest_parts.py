"""Small recordings for tests of backtests."""

import numpy as np
import polars as pl

from evaluation.datasets.schema import SECOND, LabelledSeries


def recording(rows=400, train=200, name="one", dataset="made", seed=0, size=8.0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 2)).astype(np.float32)
    labels = np.zeros(rows, np.uint8)
    labels[train + 50 : train + 80] = 1
    values[labels == 1] += size
    return LabelledSeries(dataset, name, ("a", "b"), SECOND * np.arange(rows), values, labels, train, SECOND)


def write_csv(path, series):
    split = np.where(np.arange(len(series.labels)) < series.train_length, "train", "test")
    columns = {"timestamp": series.times, "label": series.labels, "split": split}
    columns |= {name: series.values[:, i] for i, name in enumerate(series.channels)}
    pl.DataFrame(columns).write_csv(path)
