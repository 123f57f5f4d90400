from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tsad.calibration.test_episodes import golden_scores
from tsad.calibration.tail import TailFit, cluster_spans, fit_tail


def test_golden_fit():
    # The note prints 9.355513526724 for the last threshold, two digits swapped, and 13.499358433677 in the table below;
    # 40-digit decimal arithmetic of its own formula gives what stands here.
    tail = fit_tail(golden_scores()[:400], gap=32)

    assert tail.start == pytest.approx(1.632673267327, abs=1e-12)
    assert (tail.clusters, tail.exposure) == (7, 400)
    assert tail.excess == pytest.approx(5.971287128713, abs=1e-12)
    assert [tail.threshold(r) for r in (1e-2, 1e-3, 1e-4)] == pytest.approx(
        [2.343014265309, 5.277733948911, 9.355513726524], abs=1e-11
    )
    assert [tail.rate(s) for s in (2, 3, 5, 8)] == pytest.approx(
        [0.013856305252, 0.005569904887, 0.001207080812, 0.000198314442], abs=1e-12
    )


@pytest.mark.parametrize(
    ("k", "mean", "zeta", "rate", "expected"),
    [(1, 1, 0.01, 1e-3, 18), (5, 1, 0.01, 1e-4, 9.07131858905748), (50, 2, 0.005, 1e-5, 13.499358432877)],
)
def test_threshold_in_closed_form(k, mean, zeta, rate, expected):
    tail = TailFit(0.0, float(k), k * float(mean), (k + 1) / zeta, degenerate=False)

    assert tail.threshold(rate) == pytest.approx(expected, abs=1e-11)
    assert tail.rate(tail.threshold(rate)) == pytest.approx(rate, rel=1e-12)


@given(k=st.integers(0, 40), mean=st.floats(0.05, 20.0), prior=st.floats(0.5, 100.0), excess=st.floats(0.01, 30.0))
def test_what_is_known_beforehand_tells_of_the_excess_and_not_of_how_often_there_is_one(k, mean, prior, excess):
    plain = TailFit(2.0, float(k), max(k, 1) * mean, 400.0, degenerate=False)
    known = replace(plain, prior_clusters=prior)
    # As many clusters more, of mean excess 1, seen in rows that have no others.
    seen = replace(plain, clusters=k + prior, excess=plain.excess + prior)

    assert known.rate(2.0) == plain.rate(2.0) == (k + 1) / 400
    assert known.threshold(known.rate(2.0 + excess)) == pytest.approx(2.0 + excess, rel=1e-9)
    if k + prior >= 1:
        assert known.rate(2.0 + excess) / known.rate(2.0) == pytest.approx(
            seen.rate(2.0 + excess) / seen.rate(2.0), rel=1e-9
        )


def test_what_is_known_for_sure_is_an_exponential_tail_of_mean_one():
    tail = TailFit(2.0, 3.0, 30.0, 400.0, degenerate=False, prior_clusters=1e9)

    assert tail.rate(7.0) == pytest.approx(0.01 * np.exp(-5.0), rel=1e-6)
    assert tail.threshold(1e-6) == pytest.approx(2.0 + np.log(1e4), rel=1e-6)


def test_clusters_have_their_first_and_last_row_and_their_peaks_excess():
    scores = np.array([0.0, 3.0, 0.0, 5.0, 0.0, 0.0, 0.0, 2.0, 0.0])

    first, last, excesses = cluster_spans(scores, 1.0, gap=2)

    assert (first.tolist(), last.tolist(), excesses.tolist()) == ([1, 7], [3, 7], [4.0, 1.0])
    assert [len(part) for part in cluster_spans(scores, 5.0, gap=2)] == [0, 0, 0]


def test_a_tail_without_excess_gets_a_token_one():
    tail = fit_tail(np.ones(200), gap=32)

    assert tail.degenerate
    assert (tail.start, tail.clusters, tail.excess) == (1.0, 0.0, 0.05)
