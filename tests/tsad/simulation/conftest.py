import pytest

from tsad.simulation import PlantSettings, default_faults, simulate

START = 1_750_000_000_000_000_000  # 2025-06-15 15:06:40 UTC


@pytest.fixture(scope="session")
def start():
    return START


@pytest.fixture(scope="session")
def settings():
    return PlantSettings(seed=11, training_seconds=1_800.0)


@pytest.fixture(scope="session")
def faulty(settings):
    """An hour and a half with the default schedule; the first half hour is for training."""
    return simulate(settings, START, 5_400.0, default_faults(settings, START, 5_400.0))
