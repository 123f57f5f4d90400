"""What the tests of data sets share."""

import pytest

from evaluation.datasets.entry import DatasetEntry


def needs(entry: DatasetEntry):
    """Skip a test of real data where they are not there."""
    return pytest.mark.skipif(
        not entry.is_present(),
        reason=f"no {entry.name} data: set TSAD_DATA to a directory that holds {entry.folder} (see docs/datasets.md)",
    )


def totals(loaded):
    """Series, training rows, test rows, anomalous rows."""
    return (
        len(loaded),
        sum(one.train_length for one in loaded),
        sum(one.test_labels.size for one in loaded),
        sum(int(one.labels.sum()) for one in loaded),
    )
