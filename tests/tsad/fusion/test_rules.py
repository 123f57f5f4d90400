"""p-values, the rules that combine them, false discoveries, stacking, and whether fusion does harm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn.metrics import average_precision_score

from tsad.errors import ConfigurationError, NotEnoughDataError, SnapshotError
from tsad.fusion.combination import RULES, Dependence, brown, combine, fisher, stouffer
from tsad.fusion.conformal import ConformalCalibration
from tsad.fusion.do_no_harm import average_precision, check_fusion
from tsad.fusion.false_discovery import OnlineFalseDiscovery, flag_by_shift
from tsad.fusion.stacking import Stacking

P_VALUES = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(1e-12, 1.0))


def tied_normals(n, rho, k=2, seed=0):
    """float64[k, n], normal deviates with correlation `rho`."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal(n)
    return np.sqrt(rho) * shared + np.sqrt(1 - rho) * rng.standard_normal((k, n))


# ---------------------------------------------------------------------------------------------- conformal p-values


def test_p_values_count_the_good_parts_that_score_as_high():
    scores = np.random.default_rng(0).integers(0, 30, 200).astype(float)
    asked = np.array([-1.0, 0.0, 7.0, 29.0, 30.0, np.inf])

    found = ConformalCalibration(scores).p_values(asked)

    assert found.tolist() == [(1 + sum(c >= s for c in scores)) / 201 for s in asked]


def test_new_good_parts_get_uniform_p_values():
    rng = np.random.default_rng(1)
    calibration = ConformalCalibration(rng.gamma(2, size=4000))
    p = calibration.p_values(rng.gamma(2, size=4000))

    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert ConformalCalibration(np.arange(30.0)).p_values(np.array([99.0])) == 1 / 31


def test_a_tail_reaches_beyond_the_number_of_parts_and_is_refused_where_it_does_not_fit():
    rng = np.random.default_rng(3)
    good = ConformalCalibration(rng.exponential(size=4000), tail=True)
    assert good.tail is not None
    assert good.tail.accepted
    assert 1e-6 < good.p_values(np.array([12.0]))[0] < good.smallest  # e^-12 is 6e-6
    lumpy = np.concatenate([rng.random(3600), 5 + 1e-3 * rng.random(200), 9 + 1e-3 * rng.random(200)])
    bad = ConformalCalibration(rng.permutation(lumpy), tail=True)
    assert bad.tail is not None
    assert not bad.tail.accepted
    assert bad.p_values(np.array([100.0]))[0] == bad.smallest


@given(st.integers(0, 10))
def test_with_a_tail_odder_never_gets_a_larger_p_value(seed):
    rng = np.random.default_rng(seed)
    calibration = ConformalCalibration(rng.exponential(size=2000), tail=True)
    p = calibration.p_values(np.linspace(0, 15, 500))
    assert (np.diff(p) <= 0).all()
    again = ConformalCalibration.restored(calibration.state())
    assert (again.p_values(np.linspace(0, 15, 500)) == p).all()


def test_own_p_values_are_uniform_without_ties():
    scores = np.random.default_rng(0).random(100)
    assert sorted(ConformalCalibration(scores).own_p_values(scores)) == [i / 100 for i in range(1, 101)]


def test_a_calibration_needs_finite_scores_and_enough_of_them():
    with pytest.raises(NotEnoughDataError, match="20 good parts, 19"):
        ConformalCalibration(np.r_[np.arange(19.0), np.nan])
    with pytest.raises(ValueError, match=r"score 3 .* infinite"):
        ConformalCalibration(np.r_[0.0, 1, 2, np.inf, np.arange(40)])
    with pytest.raises(SnapshotError, match="damaged"):
        ConformalCalibration.restored({"sorted": np.arange(40.0)})


# ---------------------------------------------------------------------------------------------- combination


@given(P_VALUES)
def test_fisher_and_stouffer_are_those_of_scipy(p):
    for rule, name in ((fisher, "fisher"), (stouffer, "stouffer")):
        expected = [stats.combine_pvalues(np.minimum(c, 1 - 1e-16), name).pvalue for c in p.T]
        assert rule(p) == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_stouffer_takes_weights():
    p, w = np.array([[0.01], [0.4], [0.2]]), np.array([3.0, 1.0, 2.0])
    assert stouffer(p, w)[0] == pytest.approx(stats.combine_pvalues(p[:, 0], "stouffer", w).pvalue)


@pytest.mark.parametrize("rule", [*RULES, "brown"])
@given(p=P_VALUES, seed=st.integers(0, 99))
def test_rules_are_bounded_ignore_the_order_and_what_is_missing_and_grow_with_evidence(rule, p, seed):
    dependence = Dependence(np.diag(np.full(len(p), 4.0)), np.full((len(p), len(p)), 999))
    found, methods = combine(p, rule, dependence)

    assert ((found > 0) & (found <= 1)).all()
    order = np.random.default_rng(seed).permutation(len(p))
    assert combine(p[order], rule, dependence)[0] == pytest.approx(found, rel=1e-9)
    stronger, _ = combine(p / 2, rule, dependence)
    assert (stronger <= found * (1 + 1e-9)).all()
    more = np.vstack([p, np.full(p.shape[1], np.nan)])
    wider = Dependence(np.diag(np.full(len(more), 4.0)), np.full((len(more), len(more)), 999))
    assert combine(more, rule, wider)[0] == pytest.approx(found, rel=1e-12)
    assert set(methods) == ({"single"} if len(p) == 1 else {rule})


@pytest.mark.parametrize("rule", [*RULES, "brown"])
def test_no_stream_says_nothing_and_one_speaks_for_itself(rule):
    p = np.array([[np.nan, 0.03], [np.nan, np.nan]])
    found, methods = combine(p, rule)
    assert np.isnan(found[0])
    assert found[1] == 0.03
    assert methods.tolist() == ["", "single"]


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_brown_keeps_its_size_where_fisher_does_not(rho):
    p = stats.norm.sf(tied_normals(40_000, rho, k=3))
    dependence = Dependence.fit(p[:, :20_000])
    said = brown(p[:, 20_000:], dependence)

    assert 0.006 < (said <= 0.01).mean() < 0.018
    if rho > 0.9:
        assert (fisher(p[:, 20_000:]) <= 0.01).mean() > 0.04


@pytest.mark.parametrize("rule", ["tippett", "harmonic", "e-values"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.999])
def test_rules_for_any_dependence_are_never_too_often(rule, rho):
    p = stats.norm.sf(tied_normals(40_000, rho, k=4))
    assert (RULES[rule](p) <= 0.01).mean() < 0.0115


def test_cauchy_speaks_until_enough_pairs_are_known():
    p = stats.norm.sf(tied_normals(300, 0.5, k=3))
    p[2, 100:] = np.nan
    dependence = Dependence.fit(p)
    assert dependence.fewest_pairs(np.array([0, 2])) == 100
    _, methods = combine(p, "brown", dependence, min_pairs=200)
    assert set(methods[:100]) == {"cauchy"}
    assert set(methods[100:]) == {"brown"}
    assert set(combine(p, "brown")[1]) == {"cauchy"}


def test_streams_that_exclude_each_other_count_as_independent():
    u = np.linspace(0.001, 0.999, 500)
    assert Dependence.fit(np.stack([u, 1 - u])).covariance.tolist() == [[4, 0], [0, 4]]


def test_unknown_rule_and_no_parts():
    with pytest.raises(ConfigurationError, match="'mean' is unknown; use brown, fisher"):
        combine(np.ones((2, 1)), "mean")
    with pytest.raises(NotEnoughDataError):
        Dependence.fit(np.ones((2, 0)))


# ---------------------------------------------------------------------------------------------- false discoveries


def false_share(flagged, defects):
    return (flagged & ~defects).sum() / max(1, flagged.sum())


def test_the_share_of_good_parts_among_the_flagged_is_kept():
    by_shift, online, power = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        defects = rng.random(1000) < 0.1
        p = np.where(defects, stats.norm.sf(rng.normal(3.5, 1, 1000)), rng.random(1000))
        found = OnlineFalseDiscovery(0.1).decide(p)
        by_shift.append(false_share(flag_by_shift(p, np.zeros(1000, int), 0.1), defects))
        online.append(false_share(found, defects))
        power.append(found[defects].mean())
    assert np.mean(by_shift) < 0.11
    assert np.mean(online) < 0.11
    assert np.mean(power) > 0.4


def naive_threshold(p_values, level, gamma):
    """LORD++ as the paper writes it, from scratch for the last part."""
    w0, times = level / 2, []
    for t in range(1, len(p_values) + 1):
        alpha = gamma[t - 1] * w0
        if times and t > times[0]:
            alpha += (level - w0) * gamma[t - times[0] - 1]
        alpha += level * sum(gamma[t - tau - 1] for tau in times[1:] if t > tau)
        if p_values[t - 1] <= alpha:
            times.append(t)
    return alpha


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 0.05)))
def test_thresholds_are_those_of_the_paper(p):
    control = OnlineFalseDiscovery(0.1, restart_every=100)
    control.decide(p[:-1])
    assert control.threshold() == pytest.approx(naive_threshold(p, 0.1, control._gamma), rel=1e-12)


@given(st.integers(0, 40))
def test_online_control_continues_and_starts_anew(cut):
    p = np.r_[np.random.default_rng(0).random(40) ** 4, np.nan]
    whole = OnlineFalseDiscovery(0.1, restart_every=15)
    first, second = OnlineFalseDiscovery(0.1, restart_every=15), OnlineFalseDiscovery(0.1, restart_every=15)
    head = first.decide(p[:cut])
    second.restore(first.state())
    assert np.r_[head, second.decide(p[cut:])].tolist() == whole.decide(p).tolist()


def test_levels_are_checked():
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        OnlineFalseDiscovery(1.0)
    with pytest.raises(ConfigurationError, match="restart_every"):
        OnlineFalseDiscovery(0.1, 0)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        flag_by_shift(np.ones(1), np.zeros(1, int), 0.0)


# ---------------------------------------------------------------------------------------------- stacking


def labelled(n=4000, seed=0, strength=(3.0, 0.0)):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.05
    z = rng.standard_normal((2, n)) + np.array(strength)[:, None] * labels
    return stats.norm.sf(z), labels


def test_stacking_weighs_what_helps_and_never_against_evidence():
    p, labels = labelled()
    # A stream that is lower for defects: a free fit would turn it round.
    p[1] = stats.norm.sf(np.random.default_rng(5).standard_normal(len(labels)) - 2.0 * labels)
    p[0, ::10] = np.nan
    found = Stacking.fit(p, labels)

    assert found.weights[0] > 1
    assert found.weights[1] == 0
    cross = found.cross_fitted
    assert average_precision(labels[1:], cross[1:]) > 0.4
    assert np.isnan(found.score(np.full((2, 1), np.nan))[0])
    again = Stacking.restored(found.state())
    assert (again.score(p) == found.score(p)).all()


def test_cross_fitted_scores_do_not_know_their_own_labels():
    rng = np.random.default_rng(0)
    p, labels = rng.random((2, 3000)), rng.random(3000) < 0.1
    assert average_precision(labels, Stacking.fit(p, labels).cross_fitted) < 0.14


def test_stacking_needs_defects():
    p, labels = labelled(400)
    with pytest.raises(NotEnoughDataError, match="50 defects"):
        Stacking.fit(p, labels)
    with pytest.raises(SnapshotError):
        Stacking.restored({"coefficients": np.zeros(4), "cross_fitted": np.zeros(0)})
    with pytest.raises(SnapshotError):
        Stacking.restored({})


# ---------------------------------------------------------------------------------------------- do no harm


@given(
    arrays(np.int64, 30, elements=st.integers(0, 8)),
    arrays(np.bool_, 30).filter(lambda labels: labels.any()),
    arrays(np.float64, 30, elements=st.integers(1, 4).map(float)),
)
def test_average_precision_is_that_of_scikit_learn(scores, labels, weights):
    expected = average_precision_score(labels, scores, sample_weight=weights)
    assert average_precision(labels, scores.astype(float), weights) == pytest.approx(expected)


def test_fusion_with_noise_falls_back_and_fusion_with_news_stays():
    rng = np.random.default_rng(2)
    labels = rng.random(4000) < 0.05
    image = rng.standard_normal(4000) + 2.5 * labels
    news = rng.standard_normal(4000) + 2.5 * labels
    noise = 3 * rng.standard_normal(4000)
    good = check_fusion(labels, image + news, {"image": image, "process": news})
    bad = check_fusion(labels, image + noise, {"image": image, "process": noise})

    assert (good.use, good.chance_of_harm) == ("fused", 0.0)
    assert good.low > 0
    assert (bad.use, bad.best_stream) == ("image", "image")
    assert "image alone is used" in bad.reason
    assert bad.difference == pytest.approx(bad.average_precision["fused"] - bad.average_precision["image"])


def test_missing_scores_rank_last_and_few_labels_are_refused():
    labels = np.arange(100) < 30
    found = check_fusion(labels, -np.arange(100.0), {"image": np.where(labels, np.nan, 1.0)}, resamples=20)
    assert found.use == "fused"
    with pytest.raises(NotEnoughDataError, match="20 labelled defects"):
        check_fusion(np.arange(100) < 19, np.zeros(100), {"image": np.zeros(100)})
