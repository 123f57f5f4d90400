import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, spearmanr

from tests.tsad.events.event_parts import ATTRIBUTES, auc, cliques, mixed
from tsad.errors import ConfigurationError
from tsad.events.ape_model import noise_contrastive_loss, pair_matrix
from tsad.events.ape_training import NoiseSampler, log_unigram
from tsad.events.batch import UNSEEN, EventBatch
from tsad.events.entities import EntityCounts
from tsad.events.registry import create_event_detector
from tsad.kernels.ape import pair_scores, surprises


def model(seed, m, sizes, d):
    """Random tables of an APE model in float64, and events whose codes may be newer than the tables."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    weights = rng.uniform(0, 1, (m, m))
    weights = np.triu(weights, 1) + np.triu(weights, 1).T
    codes = np.column_stack([rng.integers(0, size + 2, 20) for size in sizes]).astype(np.int32)
    return codes, offsets, rng.standard_normal((offsets[-1], d)), rng.standard_normal(offsets[-1]), weights


def rows_of(codes, offsets):
    return [[offsets[i] + (c if c < offsets[i + 1] - offsets[i] else 0) for i, c in enumerate(row)] for row in codes]


@given(seed=st.integers(0, 10_000), m=st.integers(2, 6), d=st.integers(1, 9))
def test_score_equals_the_double_loop(seed, m, d):
    codes, offsets, vectors, biases, weights = model(seed, m, [3 + i for i in range(m)], d)
    out = np.empty(len(codes))
    pair_scores(codes, offsets, vectors, biases, weights, out)
    plain = [
        sum(biases[a] for a in row)
        + sum(weights[i, j] * float(vectors[row[i]] @ vectors[row[j]]) for i, j in itertools.combinations(range(m), 2))
        for row in rows_of(codes, offsets)
    ]
    np.testing.assert_allclose(out, plain, rtol=1e-10, atol=1e-10)


@given(seed=st.integers(0, 10_000), order=st.permutations(range(4)))
def test_permuting_attributes_with_their_weights_changes_no_score(seed, order):
    order = np.array(order)
    sizes = np.array([3, 4, 5, 6])
    codes, offsets, vectors, biases, weights = model(seed, 4, sizes, 5)
    out, other = np.empty(len(codes)), np.empty(len(codes))
    pair_scores(codes, offsets, vectors, biases, weights, out)
    rows = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in order])
    moved = np.concatenate(([0], np.cumsum(sizes[order])))
    pair_scores(
        np.ascontiguousarray(codes[:, order]), moved, vectors[rows], biases[rows],
        np.ascontiguousarray(weights[np.ix_(order, order)]), other,
    )  # fmt: skip
    np.testing.assert_allclose(out, other, rtol=1e-10, atol=1e-12)


@given(seed=st.integers(0, 10_000), count=st.integers(0, 4))
def test_surprises_equal_the_plain_softmax(seed, count):
    m, d = 3, 4
    codes, offsets, vectors, biases, weights = model(seed, m, [4, 5, 6], d)
    rng = np.random.default_rng(seed)
    prior = np.where(rng.random(offsets[-1]) < 0.2, -np.inf, rng.standard_normal(offsets[-1]))
    prior[offsets[:-1]] = -1.0
    listed = np.isfinite(prior)
    listed[offsets[:-1]] = False
    active = np.array([True, True, False])
    shape = (len(codes), m)
    surprise, expected, probability = np.empty(shape), np.empty((*shape, count), np.int32), np.empty((*shape, count))
    surprises(codes, offsets, vectors, biases, weights, prior, listed, active, surprise, expected, probability)
    for r, row in enumerate(rows_of(codes, offsets)):
        for i in range(m):
            context = sum(weights[i, j] * vectors[row[j]] for j in range(m))
            own = slice(offsets[i], offsets[i + 1])
            logits = vectors[own] @ context + biases[own] + prior[own]
            log_p = logits - np.log(np.exp(logits).sum())
            if active[i]:
                assert surprise[r, i] == pytest.approx(-log_p[row[i] - offsets[i]], rel=1e-9, abs=1e-9)
            else:
                assert surprise[r, i] == 0
            allowed = np.flatnonzero(listed[own])
            best = allowed[np.argsort(-log_p[allowed], kind="stable")][:count]
            assert expected[r, i, : len(best)].tolist() == best.tolist()
            np.testing.assert_allclose(probability[r, i, : len(best)], np.exp(log_p[best]), rtol=1e-9)
            assert (expected[r, i, len(best) :] == -1).all()


def loss_inputs(form):
    """Three attributes, four dimensions, float64."""
    generator = torch.Generator().manual_seed(form)
    sizes, m, d = (4, 5, 3), 3, 4
    e = sum(sizes)
    offsets = torch.tensor([0, 4, 9])
    parameters = {
        "vectors": torch.randn(e, d, generator=generator, dtype=torch.float64),
        "biases": torch.randn(e, generator=generator, dtype=torch.float64),
        "raw_weights": torch.randn(3, generator=generator, dtype=torch.float64),
        "intercepts": torch.randn(m, generator=generator, dtype=torch.float64),
    }
    size = torch.tensor(sizes)
    rows = (torch.rand(6, m, generator=generator) * size).long() + offsets
    noise = (torch.rand(6, m, 2, generator=generator) * size[:, None]).long() + offsets[:, None]
    log_noise = torch.log_softmax(torch.randn(e, generator=generator, dtype=torch.float64), 0)
    return parameters, rows, noise, log_noise


def loss(parameters, rows, noise, log_noise, form, kind="learned", active=(True, True, True)):
    active = np.array(active)
    matrix = pair_matrix(parameters["raw_weights"], active, kind)
    return noise_contrastive_loss(parameters, matrix, torch.from_numpy(active), rows, noise, log_noise, form)


@pytest.mark.parametrize("kind", ["learned", "signed", "none"])
@pytest.mark.parametrize("form", [1, 2, 3])
def test_gradient_of_the_loss_equals_finite_differences(form, kind):
    parameters, rows, noise, log_noise = loss_inputs(form)
    names = list(parameters)
    inputs = tuple(parameters[name].requires_grad_() for name in names)

    def total(*values):
        return loss(dict(zip(names, values, strict=True)), rows, noise, log_noise, form, kind).sum()

    assert torch.autograd.gradcheck(total, inputs)


@pytest.mark.parametrize("form", [1, 2, 3])
def test_loss_equals_its_plain_twin(form):
    # Every noise event is scored from scratch, as the specification writes it.
    parameters, rows, noise, log_noise = loss_inputs(form)
    v, b, c = (parameters[name].numpy() for name in ("vectors", "biases", "intercepts"))
    w = pair_matrix(parameters["raw_weights"], np.ones(3, bool), "learned").numpy()
    log_n, m, k = log_noise.numpy(), 3, 2

    def score(event):
        pairs = itertools.combinations(range(m), 2)
        return sum(w[i, j] * float(v[event[i]] @ v[event[j]]) for i, j in pairs) + sum(b[a] for a in event)

    def log_sigmoid(x):
        return -np.log1p(np.exp(-x))

    expected = []
    for event, redrawn in zip(rows.tolist(), noise.tolist(), strict=True):
        found = 0.0
        if form == 3:
            for i in range(m):
                with_i = [sum(w[i, j] * float(v[a] @ v[event[j]]) for j in range(m) if j != i) + b[a] + c[i]
                          for a in (event[i], *redrawn[i])]  # fmt: skip
                found -= log_sigmoid(with_i[0]) + sum(log_sigmoid(-x) for x in with_i[1:])
        else:
            density = np.mean([log_n[a] for a in event]) + np.log(k * m) if form == 1 else 0.0
            found -= log_sigmoid(score(event) + c[0] - density)
            for i, a in [(place, value) for place in range(m) for value in redrawn[place]]:
                density = log_n[a] + np.log(k * m) if form == 1 else 0.0
                found -= log_sigmoid(-(score([*event[:i], a, *event[i + 1 :]]) + c[0]) + density)
        expected.append(found)
    np.testing.assert_allclose(loss(parameters, rows, noise, log_noise, form).detach().numpy(), expected, rtol=1e-10)


def test_an_inactive_attribute_takes_no_part_in_the_loss():
    parameters, rows, noise, log_noise = loss_inputs(1)
    parameters["biases"] *= 0
    for form in (1, 2, 3):
        found = [
            loss(parameters, rows.clone().index_fill_(1, torch.tensor([2]), row), noise, log_noise, form,
                 active=(True, True, False))
            for row in (9, 11)
        ]  # fmt: skip
        torch.testing.assert_close(*found)


@pytest.mark.parametrize("pair_weights", ["learned", "signed", "none"])
@pytest.mark.parametrize("form", [1, 2, 3])
def test_mixed_groups_are_odd(form, pair_weights):
    detector = create_event_detector("ape", {"form": form, "pair_weights": pair_weights, "dimensions": 8, "epochs": 30})
    detector.fit(cliques(3000))
    normal = cliques(500, seed=1)
    assert auc(detector.score(mixed(normal)).score, detector.score(normal).score) > 0.99
    if pair_weights == "none":
        np.testing.assert_array_equal(detector.pair_weights, 1 - np.eye(4))
    if pair_weights == "learned":
        assert (detector.pair_weights >= 0).all()


def table_of_two(seed=0, n=40_000, a=12, b=10):
    """Events of two attributes with a known joint distribution."""
    rng = np.random.default_rng(seed)
    joint = np.exp(rng.standard_normal((a, 3)) @ rng.standard_normal((3, b)))
    joint /= joint.sum()
    cells = rng.choice(a * b, n, p=joint.ravel())
    codes = np.column_stack((cells // b, cells % b)).astype(np.int32) + 2
    return EventBatch(("a", "b"), codes), joint


def test_form_3_recovers_pointwise_mutual_information():
    events, joint = table_of_two()
    # Every combination is real, so nothing may be drawn again, and nothing shrunk.
    detector = create_event_detector(
        "ape", {"form": 3, "redraw": 0, "shrinkage": 0, "epochs": 12, "patience": 12, "unseen_rate": 0.0}
    )
    detector.fit(events)
    a, b = (axis.ravel() for axis in np.indices(joint.shape))
    scores = detector.score(EventBatch(("a", "b"), np.column_stack((a, b)).astype(np.int32) + 2)).score
    information = np.log(joint / joint.sum(axis=1, keepdims=True) / joint.sum(axis=0))
    often = joint.ravel() * 32_000 > 20
    assert spearmanr(-scores[often], information.ravel()[often]).statistic > 0.95
    # Forms with popularity divided out get it back where a probability is asked for.
    found = detector.explain(EventBatch(("a", "b"), np.array([[2, 2]], np.int32)), 10)
    conditional = joint[0] / joint[0].sum()
    order = np.argsort(-conditional)
    assert found.expected[0, 1, 0] - 2 == order[0]
    assert found.probability[0, 1, 0] == pytest.approx(conditional[order[0]], abs=0.05)


def test_form_1_finds_rare_values_odd_and_form_3_does_not():
    # Users of two groups; one user in each group comes seldom, and always with the values of the group.
    rng = np.random.default_rng(0)
    group = rng.integers(0, 2, 12_000)
    user = rng.choice(4, 12_000, p=[0.49, 0.25, 0.25, 0.01])
    rest = rng.integers(0, 4, (12_000, 2))
    codes = (2 + group[:, None] * 4 + np.column_stack((user, rest))).astype(np.int32)
    events = EventBatch(("user", "host", "zone"), codes)
    gap = {}
    for form in (1, 3):
        detector = create_event_detector("ape", {"form": form, "shrinkage": 0, "redraw": 0})
        detector.fit(events)
        scores = detector.score(events).score
        gap[form] = scores[user == 3].mean() - scores[user == 0].mean()
    assert gap[1] > 1.0
    assert abs(gap[3]) < 0.5 * gap[1]


def test_noise_follows_the_frequencies():
    rng = np.random.default_rng(0)
    codes = np.column_stack((rng.integers(2, 6, 500), 2 + rng.binomial(5, 0.3, 500))).astype(np.int32)
    entities = EntityCounts.of(EventBatch(("a", "b"), codes))
    log_noise = log_unigram(entities, 1.0, 0.05)
    rows = codes + entities.offsets[:-1]
    generator = torch.Generator().manual_seed(1)
    sampler = NoiseSampler(entities.offsets, log_noise, rows, 0, generator, torch.device("cpu"))
    drawn = sampler.draw(torch.from_numpy(rows), 20).numpy()
    for place in range(2):
        start, stop = entities.offsets[place], entities.offsets[place + 1]
        counts = np.bincount(drawn[:, place].ravel() - start, minlength=stop - start)
        shares = np.exp(log_noise[start:stop])
        assert counts[shares == 0].sum() == 0
        assert chisquare(counts[shares > 0], shares[shares > 0] * counts.sum()).pvalue > 1e-3


def test_noise_power_flattens_the_frequencies():
    entities = EntityCounts(np.array([0, 4]), np.array([0.0, 0.0, 1.0, 16.0]))
    np.testing.assert_allclose(np.exp(log_unigram(entities, 0.5, 0.0))[2:], [0.2, 0.8])


def test_noise_is_drawn_again_where_it_makes_a_real_event():
    # Of nine combinations of two attributes all but one are real.
    codes = np.array([(a, b) for a in (2, 3, 4) for b in (2, 3, 4) if (a, b) != (4, 4)], np.int32)
    entities = EntityCounts.of(EventBatch(("a", "b"), codes))
    rows = torch.from_numpy(codes + entities.offsets[:-1])
    shares = []
    for redraw in (0, 3, 60):
        generator = torch.Generator().manual_seed(1)
        sampler = NoiseSampler(
            entities.offsets, log_unigram(entities, 1.0, 0.0), rows.numpy(), redraw, generator, torch.device("cpu")
        )
        made = sampler.draw(rows, 200).numpy()[codes[:, 1] == 4, 0] - entities.offsets[0]
        shares.append(float((made == 4).mean()))
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.99


@pytest.mark.parametrize("unseen", ["score", "neutral", "alert"])
def test_unseen_values_count_as_the_option_says(unseen):
    detector = create_event_detector("ape", {"unseen": unseen, "dimensions": 8, "epochs": 20, "batch_size": 64})
    train = cliques(1500)
    detector.fit(train)
    codes = cliques(200, seed=1).codes.copy()
    codes[:, 0] = UNSEEN
    scores = detector.score(EventBatch(ATTRIBUTES, codes)).score
    known = detector.score(train).score
    if unseen == "alert":
        kept = ~np.isin(np.arange(1500) * 10 // 1500, (3, 7))
        assert scores.min() > known[kept].max()
    else:
        assert known.min() < np.median(scores) < detector.score(mixed(train)).score.mean()


def test_rare_values_shrink_towards_nothing():
    codes = cliques(1000).codes.copy()
    codes[0, 0] = 20  # seen once, in a block that is learnt
    found = {}
    for shrinkage in (0.0, 5.0):
        detector = create_event_detector("ape", {"shrinkage": shrinkage, "epochs": 3, "dimensions": 8})
        detector.fit(EventBatch(ATTRIBUTES, codes))
        found[shrinkage] = np.linalg.norm(detector._vectors[20])
    assert found[5.0] == pytest.approx(found[0.0] / 6, rel=1e-4)


def test_pseudo_log_likelihood_is_the_sum_of_surprises():
    events = cliques(100, seed=2)
    detector = create_event_detector("ape", {"score": "pll", "epochs": 20, "dimensions": 8, "batch_size": 64})
    detector.fit(cliques(800))
    np.testing.assert_allclose(detector.score(events).score, detector.explain(events, 0).surprise.sum(axis=1))
    assert auc(detector.score(mixed(events)).score, detector.score(events).score) > 0.99


def test_the_oddest_training_events_can_be_dropped():
    train = cliques(1500)
    codes = train.codes.copy()
    dirty = np.arange(0, 1500, 50)
    codes[dirty] = mixed(train).codes[dirty]
    detector = create_event_detector("ape", {"drop_share": 0.03, "epochs": 20, "dimensions": 8})
    detector.fit(EventBatch(ATTRIBUTES, codes))
    assert detector.report["dropped"] == pytest.approx(36, abs=1)


def test_an_attribute_with_one_value_has_no_weight():
    codes = cliques(600).codes.copy()
    codes[:, 3] = 5
    detector = create_event_detector("ape", {"epochs": 5, "dimensions": 4})
    detector.fit(EventBatch(ATTRIBUTES, codes))
    assert (detector.pair_weights[3] == 0).all()
    assert (detector.pair_weights[:3, :3][~np.eye(3, dtype=bool)] > 0).all()


def test_training_leaves_the_random_state_of_torch_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    create_event_detector("ape", {"epochs": 1}).fit(cliques(100))
    assert torch.equal(before, torch.get_rng_state())


@settings(max_examples=10)
@given(copies=st.integers(2, 4))
def test_equal_events_weigh_as_often_as_they_come(copies):
    # Every event as often as every other: the same weights, so the same model.
    train = cliques(200)
    blocks = np.repeat(np.arange(200), copies)
    options = {"epochs": 2, "dimensions": 4, "unseen_rate": 0.0, "shrinkage": 0.0}
    scores = []
    for rows in (np.arange(200), blocks):
        detector = create_event_detector("ape", options)
        detector.fit(train.rows(rows))
        scores.append(detector.score(cliques(30, seed=1)).score)
    np.testing.assert_allclose(*scores, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": 4}, "form is 4; choose one of 1, 2, 3"),
        ({"pair_weights": "some"}, "pair_weights is 'some'"),
        ({"unseen": "raise"}, "unseen is 'raise'"),
        ({"score": "max"}, "score is 'max'"),
        ({"dimensions": 0}, "dimensions is 0"),
        ({"unseen_rate": 0.9}, "unseen_rate is 0.9"),
        ({"drop_share": -0.1}, "drop_share is -0.1"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ConfigurationError, match=message):
        create_event_detector("ape", options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told():
    with pytest.raises(ConfigurationError, match="torch sees no GPU"):
        create_event_detector("ape", {"device": "cuda"})
