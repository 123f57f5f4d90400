import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from tsad.errors import ConfigurationError, SnapshotError
from tsad.foundation.corpus import CorpusBatch, CorpusSettings, corpus_batch
from tsad.foundation.nano import NanoConfig, NanoNetwork
from tsad.foundation.training import TrainingSettings, average_weights, loss_of, train

CORPUS = CorpusSettings(window=128, batch=12, most_channels=3)
SMALL = TrainingSettings(
    steps=12, every=6, warm_up=3, corpus=CORPUS, network=NanoConfig(window=128, width=16, layers=2, heads=2, joint=(1,))
)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    one, again, other = train(SMALL), train(SMALL), train(dataclasses.replace(SMALL, seed=1))

    assert same(one, again)
    assert not same(one, other)


def test_batches_made_by_workers_are_the_same():
    settings = dataclasses.replace(SMALL, steps=70, every=70)

    assert same(train(settings, workers=2), train(settings))


def test_torch_keeps_its_random_state():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(dataclasses.replace(SMALL, steps=1))

    assert torch.equal(torch.rand(3), expected)


def test_goes_on_exactly_where_it_stopped(tmp_path):
    class StopError(Exception):
        pass

    def stop(checkpoint):
        if checkpoint.step == 6:
            raise StopError

    heard = []
    with pytest.raises(StopError):
        train(SMALL, folder=tmp_path, heard=stop)
    resumed = train(SMALL, folder=tmp_path, heard=lambda c: heard.append(c.step))

    assert heard == [12]
    assert same(resumed, train(SMALL))


def test_another_training_is_not_gone_on_with(tmp_path):
    train(dataclasses.replace(SMALL, steps=2), folder=tmp_path)

    with pytest.raises(SnapshotError, match="another steps"):
        train(SMALL, folder=tmp_path)


def test_training_lowers_the_loss_and_beats_chance_on_windows_it_never_saw():
    settings = dataclasses.replace(SMALL, steps=240, every=40, warm_up=20, learning_rate=4e-3, averaging=0.95)
    losses = []
    network = train(settings, heard=lambda c: losses.append(c.loss))

    assert losses[-1] < 0.8 * losses[0]
    labels, scores = [], []
    for number in range(12):
        batch = corpus_batch(CORPUS, seed=99, number=number)
        with torch.inference_mode():
            logits, _ = network(torch.from_numpy(batch.values), torch.from_numpy(batch.valid))
        seen = batch.valid == 1
        labels.append(batch.labels[seen])
        scores.append(logits.numpy()[seen])
    labels, scores = np.concatenate(labels), np.concatenate(scores)
    assert average_precision_score(labels, scores) > 2 * labels.mean()


def test_what_is_not_valid_counts_nowhere():
    torch.manual_seed(0)
    network = NanoNetwork(SMALL.network).eval()
    batch = corpus_batch(dataclasses.replace(CORPUS, padded=1.0), seed=0, number=0)
    hidden = torch.zeros(*batch.values.shape[:2], 8, dtype=torch.bool)
    other = CorpusBatch(
        batch.values, np.where(batch.valid == 0, 9, batch.clean).astype(np.float32),
        np.where(batch.valid == 0, 1, batch.labels).astype(np.float32), batch.valid, batch.severity,
    )  # fmt: skip

    with torch.no_grad():
        one, two = (loss_of(network, b, hidden, SMALL, torch.device("cpu")) for b in (batch, other))

    assert (batch.valid == 0).any()
    assert float(one) == float(two)


def test_hidden_patches_are_not_seen():
    torch.manual_seed(0)
    network = NanoNetwork(SMALL.network).eval()
    values = torch.randn(1, 2, 128)
    changed = values.clone()
    changed[..., 17:31] += 3
    hidden = torch.zeros(1, 2, 8, dtype=torch.bool)
    hidden[..., 1] = True

    with torch.inference_mode():
        one, other = (network(x, torch.ones_like(x), hidden)[0] for x in (values, changed))
        seen = network(changed, torch.ones_like(changed))[0]

    assert torch.equal(one, other)
    assert not torch.equal(one, seen)


def test_channels_hear_each_other_and_their_order_does_not_matter():
    torch.manual_seed(0)
    network = NanoNetwork(SMALL.network).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    values = torch.randn(1, 3, 128)
    ones = torch.ones_like(values)
    alone = values[:, :1]

    with torch.inference_mode():
        together, _ = network(values, ones)
        turned, _ = network(values[:, [2, 0, 1]], ones)
        single, _ = network(alone, torch.ones_like(alone))

    torch.testing.assert_close(together[:, [2, 0, 1]], turned, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[:, :1], single, atol=1e-3)


def test_a_patch_without_values_is_no_context():
    torch.manual_seed(0)
    network = NanoNetwork(SMALL.network).eval()
    values = torch.randn(1, 1, 128)
    valid = torch.ones_like(values)
    valid[..., :32] = 0
    other = values.clone()
    other[..., :32] = 0

    with torch.inference_mode():
        one = network(values * valid, valid)[0]
        two = network(other, valid)[0]

    assert torch.equal(one, two)


def test_the_mean_of_weights_is_their_mean():
    torch.manual_seed(0)
    networks = [NanoNetwork(SMALL.network) for _ in range(3)]
    mean = average_weights(networks)

    torch.testing.assert_close(
        mean.embed_directly.weight, torch.stack([n.embed_directly.weight for n in networks]).mean(dim=0)
    )


def test_bfloat16_trains_to_nearly_the_same():
    losses = {}
    for bf16 in (False, True):
        heard = []
        train(dataclasses.replace(SMALL, bf16=bf16), heard=heard.append)
        losses[bf16] = heard[-1].loss
    assert losses[True] == pytest.approx(losses[False], rel=0.02)
    assert losses[True] != losses[False]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigurationError, match="torch sees no GPU"):
        train(SMALL, device="cuda")
