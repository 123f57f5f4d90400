"""Small fleets for tests."""

import numpy as np

from tsad.fleet.network import Training
from tsad.fleet.settings import NodeSettings
from tsad.fleet.telemetry import NodeTelemetry

STEP = 300 * 10**9
FEATURES = 8


def telemetry(node="a", rows=900, seed=0, features=FEATURES):
    """Eight features of three loads; every node has gains of its own."""
    random = np.random.default_rng(seed)
    loads = np.random.default_rng(1000 + seed).standard_normal((rows, 3))
    mixing = np.random.default_rng(7).standard_normal((3, features))
    gains = 1 + 0.1 * random.standard_normal(features)
    values = 20 + 5 * gains * np.tanh(loads @ mixing) + 0.1 * random.standard_normal((rows, features))
    names = tuple(f"f{i}" for i in range(features))
    return NodeTelemetry(node, names, np.arange(rows, dtype=np.int64) * STEP, values.astype(np.float32))


def changed(one, values):
    return NodeTelemetry(one.node, one.features, one.times, np.asarray(values, np.float32))


def settings(epochs=10, **options):
    return NodeSettings(training=Training(epochs=epochs), **options)
