import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tsad.errors import ConfigurationError
from tsad.fleet.network import Training, train_together


def inputs(rows, features=5, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, features)).astype(np.float32)


def naive(x, hidden, training):
    """The same network by PyTorch's own derivatives and optimizer."""
    n = x.shape[1]
    generator = torch.Generator().manual_seed(training.seed)
    bound = (6.0 / (n + hidden)) ** 0.5
    w1, w2 = ((torch.rand(s, generator=generator) * 2 - 1) * bound for s in ((n, hidden), (hidden, n)))
    parameters = [w1, torch.zeros(hidden), w2, torch.zeros(n)]
    for parameter in parameters:
        parameter.requires_grad_()
    optimizer = torch.optim.Adam(parameters, lr=training.learning_rate)
    known, filled = torch.from_numpy(~np.isnan(x)), torch.from_numpy(np.nan_to_num(x))
    for _ in range(training.epochs):
        for rows in torch.randperm(len(x), generator=generator).split(training.batch_size):
            w1, b1, w2, b2 = parameters
            code = torch.relu(filled[rows] @ w1 + b1)
            error = (code @ w2 + b2 - filled[rows]).abs() * known[rows]
            loss = error.sum() / known[rows].sum() + training.activity_penalty * code.sum(dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [p.detach().numpy() for p in parameters]


@pytest.mark.parametrize("penalty", [0.0, 1e-2])
def test_gradients_are_those_of_autograd(penalty):
    x = inputs(150)
    x[::7, 2] = np.nan
    training = Training(activity_penalty=penalty, epochs=3, learning_rate=1e-3)

    (ours,) = train_together([x], 20, training)

    for mine, theirs in zip((ours.w1, ours.b1, ours.w2, ours.b2), naive(x, 20, training), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


@settings(max_examples=15)
@given(rows=st.lists(st.integers(1, 200), min_size=1, max_size=5), features=st.integers(1, 4))
def test_together_equals_one_by_one(rows, features):
    nodes = [inputs(count, features, seed) for seed, count in enumerate(rows)]
    training = Training(epochs=2)

    together = train_together(nodes, 6, training)

    for own, x in zip(together, nodes, strict=True):
        (alone,) = train_together([x], 6, training)
        for name in ("w1", "b1", "w2", "b2"):
            np.testing.assert_allclose(getattr(own, name), getattr(alone, name), atol=1e-5)


def test_groups_of_any_size_give_the_same():
    nodes = [inputs(100, seed=s) for s in range(5)]
    at_once = train_together(nodes, 20, Training(epochs=3))
    in_parts = train_together(nodes, 20, Training(epochs=3, megabytes_at_once=0.008))

    for one, other in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(one.w1, other.w1, atol=1e-5)


def test_training_leaves_torchs_random_state_alone():
    before = torch.random.get_rng_state()
    train_together([inputs(70)], 10, Training(epochs=1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_no_gpu_is_told():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigurationError, match="sees no GPU"):
        train_together([inputs(70)], 10, Training(device="cuda"))
    with pytest.raises(ConfigurationError, match="does not know"):
        train_together([inputs(70)], 10, Training(device="abacus"))
