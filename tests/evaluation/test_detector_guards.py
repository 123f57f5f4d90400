"""What the default numeric detector must reach on real recordings; a change that costs this much is a mistake."""

import numpy as np
import pytest

from evaluation.backtest.measures import ranking_scores
from evaluation.datasets.registry import DATASETS, load_dataset
from evaluation.metrics.vus import vus_pr
from tests.evaluation.dataset_parts import needs
from tsad.detectors.registry import create_detector


def settled(series):
    return create_detector("patchbank").score_all(series.values, series.times, series.train_length)


@needs(DATASETS["TSB-AD-U"])
@needs(DATASETS["SMAP"])
@needs(DATASETS["MSL"])
def test_patchbank_on_one_channel():
    """Specification of patchbank, section 11: MSL and SMAP, whole files, settled."""
    figures = [
        vus_pr(series.labels, ranking_scores(settled(series)), window=100)
        for series in load_dataset("TSB-AD-U")
        if "_MSL_" in series.name or "_SMAP_" in series.name
    ]
    assert len(figures) >= 20
    assert np.mean(figures) >= 0.70


@pytest.mark.slow
@needs(DATASETS["SMD"])
def test_patchbank_on_servers():
    """Specification of patchbank, section 11: SMD, after the training part, settled."""
    figures = [
        vus_pr(series.test_labels, ranking_scores(settled(series)[series.train_length :]), window=100)
        for series in load_dataset("SMD")
    ]
    assert np.mean(figures) >= 0.50
