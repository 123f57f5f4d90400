"""The pairwise model of APE and the loss that trains it."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import embedding, softplus

from tsad.events.entities import EntityCounts

__all__ = [
    "Form",
    "PairModel",
    "PairWeights",
    "as_arrays",
    "as_tensors",
    "noise_contrastive_loss",
    "pair_matrix",
]

Form = Literal[1, 2, 3]
PairWeights = Literal["learned", "signed", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class PairModel:
    """What training learns, for m attributes with e values in all and d dimensions.

    Attributes
    ----------
    vectors
        float32[e, d], a row a value, laid out as in `EntityCounts`.
    biases
        float32[e]; 0 throughout without the option.
    raw_weights
        float32[p], a number a pair of attributes in the order of `itertools.combinations`; see `pair_matrix`.
    intercepts
        float32[m]; forms 1 and 2 use the first alone, as c, the estimate of the negative log-normaliser.
    """

    vectors: npt.NDArray[np.float32]
    biases: npt.NDArray[np.float32]
    raw_weights: npt.NDArray[np.float32]
    intercepts: npt.NDArray[np.float32]

    @classmethod
    def initial(
        cls,
        entities: EntityCounts,
        dimensions: int,
        intercepts: npt.NDArray[np.float32],
        generator: np.random.Generator,
    ) -> "PairModel":
        """Vectors from N(0, 1/√d), the intercepts given, everything else 0."""
        m, e = len(entities.sizes), int(entities.offsets[-1])
        vectors = generator.standard_normal((e, dimensions), dtype=np.float32) / np.float32(np.sqrt(dimensions))
        pairs = m * (m - 1) // 2
        return cls(vectors, np.zeros(e, np.float32), np.zeros(pairs, np.float32), intercepts)

    def grown(self, before: EntityCounts, after: EntityCounts) -> "PairModel":
        """The model laid out for larger tables; new values have vectors of 0."""
        vectors, biases = before.laid_out(self.vectors, after.sizes), before.laid_out(self.biases, after.sizes)
        return replace(self, vectors=vectors, biases=biases)


def pair_matrix(raw: torch.Tensor, active: npt.NDArray[np.bool_], kind: PairWeights) -> torch.Tensor:
    """Return the symmetric weights of all pairs, 0 on the diagonal and for attributes that are not active.

    Parameters
    ----------
    raw
        float[p].
    active
        bool[m].
    kind
        ``learned``: softplus of `raw`, so never negative. ``signed``: `raw`, shifted so that 0 means softplus of 0.
        ``none``: 1 for every pair.

    Examples
    --------
    >>> pair_matrix(torch.zeros(3), np.array([True, True, False]), "none").tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    if kind == "learned":
        values = softplus(raw)
    elif kind == "signed":
        values = raw + float(np.log(2.0))
    else:
        values = torch.ones_like(raw)
    m = len(active)
    first, second = torch.triu_indices(m, m, 1, device=raw.device)
    matrix = torch.zeros((m, m), dtype=raw.dtype, device=raw.device)
    matrix = matrix.index_put((first, second), values)
    on = torch.from_numpy(active.astype(np.float64)).to(raw.device, raw.dtype)
    return (matrix + matrix.T) * on[:, None] * on[None, :]


def noise_contrastive_loss(
    parameters: dict[str, torch.Tensor],
    matrix: torch.Tensor,
    active: torch.Tensor,
    rows: torch.Tensor,
    noise: torch.Tensor,
    log_noise: torch.Tensor,
    form: Form,
) -> torch.Tensor:
    """Noise-contrastive loss of every observed event.

    A noise event differs from its observed event in one attribute, so its score is that of the observed event with the
    part of one value exchanged: no pair is computed twice.

    Parameters
    ----------
    parameters
        ``vectors``, ``biases``, ``intercepts`` as in `PairModel`.
    matrix
        float[m, m], from `pair_matrix`.
    active
        bool[m], attributes that noise is drawn for.
    rows
        int64[b, m], rows of the observed events' values.
    noise
        int64[b, m, k], rows of k redrawn values of each attribute.
    log_noise
        float[e], log-probability of every value under its attribute's noise distribution.
    form
        1: the noise density of an event is that of its redrawn value, for an observed event the mean over its values.
        2: no noise density. 3: one problem an attribute, with only the pairs that hold it.

    Returns
    -------
    Tensor of float[b]
    """
    values = embedding(rows, parameters["vectors"])
    others = embedding(noise, parameters["vectors"])
    biases, other_biases = parameters["biases"][rows], parameters["biases"][noise]
    context = torch.matmul(matrix, values)
    own = (context * values).sum(-1)
    drawn = torch.matmul(others, context.unsqueeze(-1)).squeeze(-1) + other_biases
    intercepts = parameters["intercepts"]
    on = active.to(values.dtype)
    if form == 3:
        observed = own + biases + intercepts
        noisy = drawn + intercepts[:, None]
        return ((softplus(-observed) + softplus(noisy).sum(-1)) * on).sum(-1)
    score = 0.5 * own.sum(-1) + (biases * on).sum(-1) + intercepts[0]
    noisy = score[:, None, None] - (own + biases)[..., None] + drawn
    if form == 1:
        log_count = float(np.log(noise.shape[2] * float(on.sum())))
        density = (log_noise[rows] * on).sum(-1) / on.sum()
        score = score - log_count - density
        noisy = noisy - log_count - log_noise[noise]
    found: torch.Tensor = softplus(-score) + (softplus(noisy).sum(-1) * on).sum(-1)
    return found


def as_tensors(model: PairModel, device: torch.device, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """The parameters of a model, to be trained."""
    arrays = {
        "vectors": model.vectors, "biases": model.biases, "raw_weights": model.raw_weights,
        "intercepts": model.intercepts,
    }  # fmt: skip
    return {name: torch.from_numpy(array.copy()).to(device, dtype).requires_grad_() for name, array in arrays.items()}


def as_arrays(parameters: dict[str, torch.Tensor]) -> PairModel:
    """The model that parameters stand for."""
    return PairModel(**{
        name: np.ascontiguousarray(tensor.detach().cpu().numpy().astype(np.float32))
        for name, tensor in parameters.items()
    })  # fmt: skip
