"""The benchmark that chose how channels add up: its shipped rule is the detector's, and its halves are kept apart."""

import runpy
from pathlib import Path

import numpy as np

from tsad.detectors.registry import create_detector

benchmark = runpy.run_path(str(Path(__file__).parents[3] / "benchmarks" / "channel_evidence.py"))


def recording():
    rng = np.random.default_rng(0)
    values = (np.sin(np.arange(900)[:, None] / (7, 9, 11, 13)) + 0.1 * rng.standard_normal((900, 4))).astype(np.float32)
    values[:, 1] = 4  # stands still
    values[:, 2] = np.arange(900) % 50 < 25  # a state, which counts a twentieth
    values[300:310, 3] = np.nan
    values[500:540, 0] += 2
    return values


def test_the_shipped_rule_is_what_the_detector_does():
    values = recording()
    kept = benchmark["moving"](values)
    logits = benchmark["log_odds"](kept).astype(np.float64)

    found = benchmark["SHIPPED"].scores(logits, benchmark["fit_scaling"](kept).weight)

    expected = create_detector("timercd-nano").score_all(values, np.arange(900) * 10**9)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert benchmark["SHIPPED"] in benchmark["RULES"]


def test_rules_are_what_their_names_say():
    logits, weight = np.array([[0.0, 3.0], [2.0, np.nan], [4.0, 5.0]]), np.array([1.0, 0.5])
    rule = benchmark["Rule"]

    np.testing.assert_allclose(rule(0.5, "sharp", per_spread=False, norm=1).scores(logits, weight), [0, 0, 2 + 0.5])
    np.testing.assert_allclose(rule(0.5, "sharp", per_spread=False, norm=2).scores(logits, weight)[2], np.hypot(2, 0.5))
    np.testing.assert_allclose(rule(0.5, "sharp", per_spread=True, norm=1).scores(logits, weight), [0, 0, 1 + 0.5])
    soft = rule(0.5, "soft", per_spread=False, norm=1).scores(logits, weight)
    np.testing.assert_allclose(soft[1], np.log(2))


def test_the_other_half_has_no_say():
    found = np.array([[0.9, 0.1], [0.0, 1.0], [0.7, 0.3]])

    tuning, reported = benchmark["halves"](found)

    np.testing.assert_allclose(tuning, [0.8, 0.2])
    np.testing.assert_allclose(reported, [0.0, 1.0])
