"""APE: vectors of values, so that values that belong together point the same way."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from tsad.devices import torch_device
from tsad.errors import ConfigurationError
from tsad.events.ape_model import Form, PairModel, PairWeights, pair_matrix
from tsad.events.ape_newcomers import expected_vectors
from tsad.events.ape_training import TrainingSettings, initial_intercepts, log_unigram, train
from tsad.events.base import EventDetector, EventScores, Explanation
from tsad.events.batch import UNSEEN, EventBatch
from tsad.events.entities import EntityCounts, check_half_life, decay
from tsad.events.packing import pack_json, taken, unpack_json
from tsad.events.replay import ReplayBuffer
from tsad.kernels.ape import pair_scores, surprises

__all__ = ["ApeDetector"]

_MODEL = ("vectors", "biases", "raw_weights", "intercepts")


class ApeDetector(EventDetector):
    """Entity embeddings for categorical events: an event is odd when the vectors of its values do not fit in pairs.

    S = Σ w_ij (v_i · v_j) over all pairs of attributes, with one learnt weight a pair; the score is -S. Training tells
    events from noise in which one value is redrawn from its own frequency.

    What S means depends on `form`. Form 1 follows the log-probability of the event, so rare values lower it. Forms 2
    and 3 follow how much more often values meet than their frequencies let expect, so popularity is divided out and a
    rare but consistent value is not odd. For two attributes form 3 is pointwise mutual information, up to a constant.

    Source: T. Chen, L.-A. Tang, Y. Sun, Z. Chen, K. Zhang, "Entity Embedding-based Anomaly Detection for Heterogeneous
    Categorical Events", IJCAI 2016 (arXiv 1608.07502). Ours are form 3, the value "unseen", and the shrinking of rare
    values.

    Parameters
    ----------
    form
        1 (the paper's), 2 or 3.
    dimensions
        Length of a vector.
    pair_weights
        ``learned`` (never negative), ``signed``, or ``none`` (1 for every pair: the paper's "no weight").
    noise, noise_power
        Noise events an attribute of every event; they are drawn by frequency to this power.
    redraw
        How often a noise value is drawn again that makes a real event.
    bias
        Learn a number for every value beside its vector.
    shrinkage
        κ: a value that came n times counts as n / (n + κ) of its vector.
    unseen, unseen_rate
        What a value that was never learnt counts as: ``score`` the vector of the value "unseen", which training puts in
        at `unseen_rate`; ``neutral`` the mean vector; ``alert`` as ``score``, but at least as odd as the oddest
        training event.
    score
        ``sum`` is -S; ``pll`` the sum over attributes of the surprise given the others (pseudo-log-likelihood): slower.
    drop_share
        Train twice, the second time without this share of the oddest events (for training data with anomalies).
    epochs, batch_size, learning_rate, weight_decay, patience, seed
        Training by Adam; it stops when the loss of held-out events has not fallen for `patience` epochs.
    partial_epochs, replay, half_life
        `partial_fit` trains this many epochs on the new events and as many of `replay` kept ones; counts weigh half
        after `half_life` events (None: never).
    device
        ``auto`` trains on a GPU where there is one, else ``cpu`` or a torch device name. Results repeat bit for bit on
        the CPU only.
    """

    name: ClassVar[str] = "ape"
    summary: ClassVar[str] = "embeddings of categorical values that fit in pairs (Chen et al. 2016)"

    def __init__(
        self,
        *,
        form: Form = 3,
        dimensions: int = 32,
        pair_weights: PairWeights = "learned",
        noise: int = 3,
        noise_power: float = 1.0,
        redraw: int = 3,
        bias: bool = False,
        shrinkage: float = 5.0,
        unseen: Literal["score", "neutral", "alert"] = "score",
        unseen_rate: float = 0.01,
        score: Literal["sum", "pll"] = "sum",
        drop_share: float = 0.0,
        epochs: int = 100,
        batch_size: int = 1024,
        learning_rate: float = 1e-2,
        weight_decay: float = 1e-5,
        patience: int = 3,
        seed: int = 0,
        partial_epochs: int = 2,
        replay: int = 20_000,
        half_life: float | None = None,
        device: str = "auto",
    ) -> None:
        super().__init__()
        _one_of("form", form, get_args(Form))
        _one_of("pair_weights", pair_weights, get_args(PairWeights))
        _one_of("unseen", unseen, ("score", "neutral", "alert"))
        _one_of("score", score, ("sum", "pll"))
        for option, value, least in (
            ("dimensions", dimensions, 1), ("noise", noise, 1), ("redraw", redraw, 0), ("epochs", epochs, 1),
            ("batch_size", batch_size, 1), ("patience", patience, 1), ("replay", replay, 1),
            ("partial_epochs", partial_epochs, 1), ("shrinkage", shrinkage, 0), ("noise_power", noise_power, 0),
        ):  # fmt: skip
            if not value >= least:
                raise ConfigurationError(f"ape: {option} is {value}; it must be at least {least}")
        for option, value in (("unseen_rate", unseen_rate), ("drop_share", drop_share)):
            if not 0 <= value < 0.5:
                raise ConfigurationError(f"ape: {option} is {value}; it must be at least 0 and below 0.5")
        self._dimensions = dimensions
        self._shrinkage = shrinkage
        self._unseen = unseen
        self._score = score
        self._drop_share = drop_share
        self._epochs = epochs
        self._partial_epochs = partial_epochs
        self._seed = seed
        self._half_life = check_half_life(self.name, half_life)
        self._settings = TrainingSettings(
            form, pair_weights, bias, noise, noise_power, redraw, unseen_rate, batch_size, learning_rate, weight_decay,
            patience, torch_device(device),
        )  # fmt: skip
        self._replay = ReplayBuffer(replay)
        self._updates = 0
        self._alert_level = 0.0
        self._entities = EntityCounts(np.zeros(1, np.int64), np.zeros(0))
        self._active = np.zeros(0, np.bool_)
        self._model = PairModel(np.zeros((0, 0), np.float32), *[np.zeros(0, np.float32)] * 3)
        # What scoring reads; see `_prepare`.
        self._vectors, self._biases = self._model.vectors, self._model.biases
        self._weights, self._log_prior = np.zeros((0, 0)), np.zeros(0)
        self._listed = np.zeros(0, np.bool_)

    def _learn(self, training: EventBatch, judging: EventBatch) -> None:
        self._updates = 0
        self._replay = ReplayBuffer(self._replay.capacity)
        self._train_afresh(training, judging)
        if self._drop_share:
            odd = self.score(training).score
            kept = odd <= np.quantile(odd, 1.0 - self._drop_share)
            self.report["dropped"] = int(len(training) - kept.sum())
            training = training.rows(kept)
            self._train_afresh(training, judging)
        self._replay.add(training, np.random.default_rng((self._seed, 0)))
        self._alert_level = float(self._sums(training).max())

    def _train_afresh(self, training: EventBatch, judging: EventBatch) -> None:
        self._entities = EntityCounts.of(training)
        self._active = np.ptp(training.codes, axis=0) > 0
        own = self._settings
        log_noise = log_unigram(self._entities, own.noise_power, own.unseen_rate)
        intercepts = initial_intercepts(log_noise, self._entities.offsets, own.noise, own.form)
        generator = np.random.default_rng((self._seed, 0))
        start = PairModel.initial(self._entities, self._dimensions, intercepts, generator)
        self._model, losses = train(
            start, self._entities, training.codes, judging.codes, self._settings,
            epochs=self._epochs, seed=(self._seed, 0),
        )  # fmt: skip
        self.report |= {"epochs": len(losses), "held_out_losses": losses}
        self._prepare()

    def _prepare(self) -> None:
        """Make the tables that scoring reads: shrunken vectors, with one for every value that is not known."""
        entities, model = self._entities, self._model
        known = entities.counts > 0
        known[entities.offsets[:-1]] = False
        share = (entities.counts / (entities.counts + self._shrinkage + 1e-300))[:, None]
        vectors = model.vectors * np.where(known[:, None], share, 0.0).astype(np.float32)
        biases = np.where(known, model.biases, np.float32(0))
        for start, stop in zip(entities.offsets[:-1], entities.offsets[1:], strict=True):
            stranger, bias = model.vectors[start], model.biases[start]
            if self._unseen == "neutral" or not self._settings.unseen_rate:
                counts = entities.counts[start:stop] * known[start:stop]
                weights = (counts / max(float(counts.sum()), 1.0)).astype(np.float32)
                stranger, bias = weights @ vectors[start:stop], weights @ biases[start:stop]
            strange = np.flatnonzero(~known[start:stop]) + start
            vectors[strange], biases[strange] = stranger, bias
        matrix = pair_matrix(torch.from_numpy(model.raw_weights), self._active, self._settings.pair_weights)
        self._weights = matrix.numpy().astype(np.float64)
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self._biases = biases.astype(np.float32)
        self._listed = known
        rate = self._settings.unseen_rate or 1.0 / (1.0 + float(entities.counts.sum()))
        prior = log_unigram(entities, 1.0, rate)
        # Forms 2 and 3 have the frequencies divided out: they come back where a probability is asked for.
        self._log_prior = np.where(np.isfinite(prior), 0.0, -np.inf) if self._settings.form == 1 else prior

    @property
    def pair_weights(self) -> npt.NDArray[np.float64]:
        """float64[m, m], how much each pair of attributes tells; 0 for attributes with a single value."""
        return self._weights.copy()

    def _sums(self, events: EventBatch) -> npt.NDArray[np.float64]:
        out = np.empty(len(events))
        pair_scores(events.codes, self._entities.offsets, self._vectors, self._biases, self._weights, out)
        return -out

    def score(self, events: EventBatch) -> EventScores:
        """Score events; see `EventDetector.score`."""
        unseen = self._entities.unseen(self.checked(events)) | (events.codes == UNSEEN)
        score = self._sums(events) if self._score == "sum" else self.explain(events, 0).surprise.sum(axis=1)
        if self._unseen == "alert":
            number = unseen.sum(axis=1)
            score = np.where(number > 0, np.maximum(score, self._alert_level) + number, score)
        return EventScores(score, unseen)

    def explain(self, events: EventBatch, count: int = 3) -> Explanation:
        """Surprise of every value given the others, and the likeliest values; see `EventDetector.explain`."""
        n, m = self.checked(events).codes.shape
        surprise, expected = np.empty((n, m)), np.empty((n, m, count), np.int32)
        probability = np.empty((n, m, count))
        surprises(
            events.codes, self._entities.offsets, self._vectors, self._biases, self._weights, self._log_prior,
            self._listed, self._active, surprise, expected, probability,
        )  # fmt: skip
        return Explanation(surprise, expected, probability)

    def partial_fit(self, events: EventBatch) -> None:
        """Train on newer events and as many kept ones; see `EventDetector.partial_fit`.

        A new value starts at the mean of the values that the model expects in its place.
        """
        if not len(self.checked(events)):
            return
        before = self._entities
        self._updates += 1
        generator = np.random.default_rng((self._seed, self._updates))
        self._entities = before.plus(events, decay(self._half_life, len(events)))
        grown = self._model.grown(before, self._entities)
        known = before.laid_out(before.counts, self._entities.sizes) > 0
        grown.vectors[:] = expected_vectors(
            events, self._entities.offsets, known, grown.vectors, self._weights, before.laid_out(
                np.where(np.isfinite(self._log_prior), np.exp(self._log_prior), 0.0), self._entities.sizes
            ),
        )  # fmt: skip
        training = np.concatenate((events.codes, self._replay.sample(len(events), generator)))
        self._active |= np.ptp(training, axis=0) > 0
        self._model, _ = train(
            grown, self._entities, training, training[:0], self._settings,
            epochs=self._partial_epochs, seed=(self._seed, self._updates),
        )  # fmt: skip
        self._replay.add(events, generator)
        self._prepare()

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Vectors, weights, counts and replay buffer."""
        description = {
            "attributes": self.attributes, "report": self.report, "updates": self._updates,
            "alert_level": self._alert_level,
        }  # fmt: skip
        return {
            "description": pack_json(description),
            "offsets": self._entities.offsets.copy(),
            "counts": self._entities.counts.copy(),
            "active": self._active.copy(),
            **{f"model/{name}": getattr(self._model, name).copy() for name in _MODEL},
            **self._replay.state(),
        }

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from a stored state; see `EventDetector.restore`."""
        description = unpack_json(taken(state, "description"))
        self._model = PairModel(*(taken(state, f"model/{name}") for name in _MODEL))
        self._entities = EntityCounts(taken(state, "offsets"), taken(state, "counts"))
        self._active = taken(state, "active")
        self._replay.restore(state)
        self._updates, self._alert_level = int(description["updates"]), float(description["alert_level"])
        self.attributes, self.report = tuple(description["attributes"]), description["report"]
        self._prepare()


def _one_of(option: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"ape: {option} is {value!r}; choose one of {', '.join(map(str, choices))}")
