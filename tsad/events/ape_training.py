"""Training of the pairwise model: noise that keeps an event's context, batches, early stopping."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from tsad.events.ape_model import (
    Form,
    PairModel,
    PairWeights,
    as_arrays,
    as_tensors,
    noise_contrastive_loss,
    pair_matrix,
)
from tsad.events.entities import EntityCounts

__all__ = ["NoiseSampler", "TrainingSettings", "initial_intercepts", "log_unigram", "train"]

_CLIP = 5.0
_STEPS = 50  # an epoch has as many, or as many as it would have without merging equal events


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a model is trained; see the parameters of `tsad.events.ape.ApeDetector`."""

    form: Form
    pair_weights: PairWeights
    bias: bool
    noise: int
    noise_power: float
    redraw: int
    unseen_rate: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    device: torch.device


def log_unigram(entities: EntityCounts, power: float, unseen_rate: float) -> npt.NDArray[np.float64]:
    """Log-probability of every value under its attribute's noise distribution, float64[e].

    -inf where a value is never drawn. Counts to the power `power`, and `unseen_rate` for the value "unseen", which
    training puts in at that rate.

    Examples
    --------
    >>> entities = EntityCounts(np.array([0, 4]), np.array([0.0, 0.0, 1.0, 3.0]))
    >>> np.exp(log_unigram(entities, 1.0, 0.2)).round(3).tolist()
    [0.2, 0.0, 0.2, 0.6]
    """
    found = np.zeros(len(entities.counts))
    for place in range(len(entities.sizes)):
        start, stop = entities.offsets[place], entities.offsets[place + 1]
        weights = entities.counts[start:stop] ** power * (entities.counts[start:stop] > 0)
        weights[0] = 0.0
        found[start:stop] = (1.0 - unseen_rate) * weights / max(float(weights.sum()), 1e-300)
        found[start] = unseen_rate
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(found))


def initial_intercepts(
    log_noise: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.int64],
    noise: int,
    form: Form,
) -> npt.NDArray[np.float32]:
    """Intercepts at which events and noise are told apart no better than by their numbers, float32[m].

    From 0, the first epochs would be spent on pushing all scores down, which turns all vectors away from each other.
    """
    m = len(offsets) - 1
    if form == 3:
        return np.full(m, -np.log(noise), np.float32)
    if form == 2:
        return np.full(m, -np.log(noise * m), np.float32)
    shares = np.exp(log_noise)
    entropy = -float(np.sum(shares * np.where(shares > 0, log_noise, 0.0))) / m
    return np.full(m, -entropy, np.float32)


class NoiseSampler:
    """Draws values from the noise distribution, and again where the noise event would be a real one.

    Parameters
    ----------
    offsets, log_noise
        int64[m + 1] and float64[e].
    known
        int64[n, m], rows of the events that are real.
    redraw
        How often a draw is repeated that gives the value of the event itself, or an event that is known.
    generator, device
        Source of randomness, and where draws end up.
    """

    def __init__(
        self,
        offsets: npt.NDArray[np.int64],
        log_noise: npt.NDArray[np.float64],
        known: npt.NDArray[np.int64],
        redraw: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self._generator = generator
        self._device = device
        self._redraw = redraw
        steps = np.exp(log_noise)
        cumulative = np.concatenate([
            place + np.minimum(np.cumsum(steps[start:stop]), 1.0)
            for place, (start, stop) in enumerate(pairwise(offsets.tolist()))
        ])  # fmt: skip
        self._cumulative = torch.from_numpy(cumulative).to(device)
        self._last = torch.from_numpy(
            np.array([int(np.flatnonzero(steps[a:b])[-1]) + a for a, b in pairwise(offsets.tolist())])
        ).to(device)
        # An event is known by the sum of random numbers of its values; two of 2**64 hardly ever meet.
        words = torch.randint(-(2**62), 2**62, (len(steps),), generator=generator).to(device)
        self._words = words
        self._known = torch.unique(words[torch.from_numpy(known).to(device)].sum(-1))

    def _values(self, attribute: torch.Tensor) -> torch.Tensor:
        """A value of each attribute number given."""
        uniform = torch.rand(attribute.shape, generator=self._generator, dtype=torch.float64).to(self._device)
        found = torch.searchsorted(self._cumulative, uniform + attribute, right=True)
        return torch.minimum(found, self._last[attribute])

    def draw(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """int64[b, m, count] for int64[b, m] observed events: redrawn values of each attribute."""
        b, m = rows.shape
        attribute = torch.arange(m, device=self._device)[None, :, None].expand(b, m, count)
        noise = self._values(attribute)
        observed = rows[:, :, None].expand(b, m, count)
        rest = self._words[rows].sum(-1)[:, None] - self._words[rows]
        rest = rest[:, :, None].expand(b, m, count)
        real = self._is_real(noise, observed, rest)
        for _ in range(self._redraw):
            where = real.nonzero(as_tuple=True)
            if not len(where[0]):
                break
            again = self._values(attribute[where])
            noise[where] = again
            real[where] = self._is_real(again, observed[where], rest[where])
        return noise

    def _is_real(self, noise: torch.Tensor, observed: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        if not self._redraw:
            return torch.zeros_like(noise, dtype=torch.bool)
        keys = rest + self._words[noise]
        at = torch.searchsorted(self._known, keys).clamp(max=len(self._known) - 1)
        real: torch.Tensor = (noise == observed) | (self._known[at] == keys)
        return real


def train(
    model: PairModel,
    entities: EntityCounts,
    training: npt.NDArray[np.int32],
    judging: npt.NDArray[np.int32],
    settings: TrainingSettings,
    *,
    epochs: int,
    seed: tuple[int, int],
) -> tuple[PairModel, list[float]]:
    """Train a model on one thread, or on a GPU.

    Equal events are trained once, with their number as weight; so the order of training events does not matter.

    Parameters
    ----------
    model
        Where to start.
    entities
        Counts of the training events' values.
    training, judging
        int32[n, m] and int32[h, m] codes; held-out events stop the training, and may be none.
    settings, epochs, seed
        How, how long at most, and the seed.

    Returns
    -------
    PairModel, list of float
        The best model on the held-out events (the last one where there are none), and the held-out loss of each epoch.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            return _train(model, entities, training, judging, settings, epochs, seed)
    finally:
        torch.set_num_threads(threads)


def _train(
    model: PairModel,
    entities: EntityCounts,
    training: npt.NDArray[np.int32],
    judging: npt.NDArray[np.int32],
    settings: TrainingSettings,
    epochs: int,
    seed: tuple[int, int],
) -> tuple[PairModel, list[float]]:
    device = settings.device
    # Torch's own random state stays as it was: ours is a generator of this model alone.
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
    unique, counts = np.unique(training, axis=0, return_counts=True)
    rows = unique + entities.offsets[:-1]
    active_array = np.ptp(unique, axis=0) > 0
    log_noise_array = log_unigram(entities, settings.noise_power, settings.unseen_rate)
    sampler = NoiseSampler(entities.offsets, log_noise_array, rows, settings.redraw, generator, device)
    # Values that noise never draws stand in no event either; any finite number does for them.
    log_noise = torch.from_numpy(np.maximum(log_noise_array, -50.0).astype(np.float32)).to(device)
    events = torch.from_numpy(rows).to(device)
    weights = torch.from_numpy((counts / counts.mean()).astype(np.float32)).to(device)
    active = torch.from_numpy(active_array).to(device)
    unseen = torch.from_numpy(entities.offsets[:-1].copy()).to(device)
    judged, times = np.unique(np.where(_known(judging, entities), judging, 0), axis=0, return_counts=True)
    held = torch.from_numpy(judged + entities.offsets[:-1]).to(device)
    held_weights = torch.from_numpy(times / max(times.sum(), 1) * len(times)).to(device)
    held_noise = sampler.draw(held, settings.noise) if len(held) else held
    parameters = as_tensors(model, device)
    if not settings.bias:
        parameters["biases"].requires_grad_(False)
    groups: list[dict[str, Any]] = [
        {"params": [parameters["vectors"], parameters["biases"]], "weight_decay": settings.weight_decay},
        {"params": [parameters["raw_weights"], parameters["intercepts"]]},
    ]
    optimizer = torch.optim.Adam(groups, lr=settings.learning_rate)
    trained = [tensor for tensor in parameters.values() if tensor.requires_grad]

    def loss_of(observed: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        matrix = pair_matrix(parameters["raw_weights"], active_array, settings.pair_weights)
        return noise_contrastive_loss(parameters, matrix, active, observed, noise, log_noise, settings.form)

    # Where most events are equal, one pass over the different ones would be too few steps.
    wanted = min(_STEPS, -(-len(training) // settings.batch_size))
    passes = max(1, wanted * settings.batch_size // len(events))
    losses: list[float] = []
    best, waited = model, 0
    for _ in range(epochs):
        order = torch.cat([torch.randperm(len(events), generator=generator) for _ in range(passes)]).to(device)
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            observed = events[chosen]
            replaced = torch.rand(observed.shape, generator=generator).to(device) < settings.unseen_rate
            observed = torch.where(replaced, unseen, observed)
            noise = sampler.draw(observed, settings.noise)
            loss = (loss_of(observed, noise) * weights[chosen]).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, _CLIP)
            optimizer.step()
        if not len(held):
            continue
        with torch.no_grad():
            pieces = [
                loss_of(held[a : a + settings.batch_size], held_noise[a : a + settings.batch_size])
                for a in range(0, len(held), settings.batch_size)
            ]
        losses.append(float((torch.cat(pieces).double() * held_weights).mean()))
        if losses[-1] <= min(losses):
            best, waited = as_arrays(parameters), 0
        else:
            waited += 1
            if waited >= settings.patience:
                break
    return (best if len(held) else as_arrays(parameters)), losses


def _known(codes: npt.NDArray[np.int32], entities: EntityCounts) -> npt.NDArray[np.bool_]:
    inside = codes < entities.sizes
    found: npt.NDArray[np.bool_] = inside & (entities.counts[np.where(inside, codes, 0) + entities.offsets[:-1]] > 0)
    return found
