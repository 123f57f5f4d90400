"""The autoencoders of nodes: many of one shape are trained in one pass, each as if it were alone.

Source: A. Borghesi, A. Bartolini, M. Lombardi, M. Milano, L. Benini, "Anomaly Detection using Autoencoders in High
Performance Computing Systems", IAAI 2019 (arXiv 1811.05269).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from tsad.devices import torch_device
from tsad.kernels.autoencoder import reconstruct
from tsad.scaling import ChannelScaling

__all__ = ["Network", "Training", "Weights", "one_thread", "parameter_count", "train_together"]

_BYTES_TRAINED = 16  # a float32 weight with its gradient and Adam's two moments


@dataclass(frozen=True, slots=True)
class Training:
    """How networks are trained: by Adam on the mean absolute error of the known inputs.

    Attributes
    ----------
    activity_penalty
        Weight of the sum over the hidden units' activity, averaged over the batch, as Keras does it. Frameworks
        differ here.
    epochs, batch_size, learning_rate
        Of Adam.
    seed
        Every network starts from this seed, in a fleet too, so that it does not matter who it is trained with.
    device
        ``auto`` trains on a GPU where there is one, else ``cpu`` or a torch device name.
    megabytes_at_once
        Networks are trained in groups of at most this size: weights, gradients and moments.
    """

    activity_penalty: float = 1e-5
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    device: str = "auto"
    megabytes_at_once: float = 64.0


@dataclass(frozen=True, slots=True)
class Weights:
    """float32 weights of one network with n inputs and h hidden units: w1[n, h], b1[h], w2[h, n], b2[n]."""

    w1: npt.NDArray[np.float32]
    b1: npt.NDArray[np.float32]
    w2: npt.NDArray[np.float32]
    b2: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Network:
    """A trained autoencoder and the scaling of its inputs.

    Attributes
    ----------
    scaling
        Of the n inputs; those with weight 0 were never seen in training and stay out of the error.
    clip
        Scaled inputs are clipped to this size.
    weights
        Of the network.
    """

    scaling: ChannelScaling
    clip: float
    weights: Weights

    def scaled(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scaled and clipped inputs; NaN stays, and stands for inputs that training never saw."""
        return scaled(values, self.scaling, self.clip)

    def reconstruction(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What the network makes of scaled inputs, missing ones at 0; a row does not know its batch."""
        known = np.ascontiguousarray(np.nan_to_num(inputs))
        out = np.empty_like(known)
        weights = self.weights
        reconstruct(known, weights.w1, weights.b1, weights.w2, weights.b2, out)
        return out

    def residuals(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scaled inputs less their reconstruction, NaN where the input is missing."""
        return np.asarray(inputs - self.reconstruction(inputs))

    def in_units(self, reconstruction: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """A reconstruction in the units of the inputs, NaN where training never saw the input."""
        return np.asarray(self.scaling.location + reconstruction * self.unit)

    @property
    def unit(self) -> npt.NDArray[np.float64]:
        """What one scaled unit is in the units of each input."""
        weight = self.scaling.weight
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(weight > 0, self.scaling.scale / weight, np.nan)


def scaled(values: npt.NDArray[np.float32], scaling: ChannelScaling, clip: float) -> npt.NDArray[np.float32]:
    """float32[t, n], scaled and clipped; NaN where the value is missing or training never saw the input."""
    weight = np.where(scaling.weight > 0, scaling.weight, np.nan)
    return np.clip((values - scaling.location) / scaling.scale * weight, -clip, clip).astype(np.float32)


def parameter_count(n: int, hidden: int) -> int:
    """Weights and biases of one network.

    Examples
    --------
    >>> parameter_count(166, 1660)
    552946
    """
    return 2 * n * hidden + hidden + n


@contextmanager
def one_thread() -> Iterator[None]:
    """Train on one thread: sums come out the same in the daemon, in a backtest's worker and in a test."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


def train_together(
    inputs: Sequence[npt.NDArray[np.float32]],
    hidden: int,
    training: Training,
    start: Weights | None = None,
) -> list[Weights]:
    """Train one network for each of many nodes.

    Nodes with the same number of batches an epoch are stacked, (node, in, out), and go through one batched matrix
    product a layer. Every network sees the rows, the order and the steps it would see alone.

    Parameters
    ----------
    inputs
        Of every node float32[t, n], scaled, NaN where missing; n is the same for all, t need not be.
    hidden
        Hidden units.
    training
        How.
    start
        Weights to go on from; None starts from random ones.
    """
    device = torch_device(training.device)
    found: dict[int, Weights] = {}
    if not inputs:
        return []
    size = _BYTES_TRAINED * parameter_count(inputs[0].shape[1], hidden)
    most = max(1, int(training.megabytes_at_once * 1e6 / size))
    by_steps: dict[int, list[int]] = {}
    for node, rows in enumerate(inputs):
        by_steps.setdefault(-(-len(rows) // training.batch_size), []).append(node)
    for nodes in by_steps.values():
        for first in range(0, len(nodes), most):
            group = nodes[first : first + most]
            trained = _train_stack([inputs[node] for node in group], hidden, training, start, device)
            found.update(zip(group, trained, strict=True))
    return [found[node] for node in range(len(inputs))]


def _train_stack(
    inputs: list[npt.NDArray[np.float32]], hidden: int, training: Training, start: Weights | None, device: torch.device
) -> list[Weights]:
    """Train networks whose numbers of batches are equal; short last batches are filled with rows that weigh nothing."""
    batch = training.batch_size
    nodes, n = len(inputs), inputs[0].shape[1]
    rows = -(-max(len(one) for one in inputs) // batch) * batch
    stacked = np.full((nodes, rows, n), np.nan, np.float32)
    for node, one in enumerate(inputs):
        stacked[node, : len(one)] = one
    weigh = torch.from_numpy(~np.isnan(stacked)).to(device)
    x = torch.from_numpy(np.nan_to_num(stacked)).to(device)
    # Torch's own random state stays as it was: each network has a generator of its own, all from one seed.
    generators = [torch.Generator().manual_seed(training.seed) for _ in inputs]
    parameters = [
        torch.stack(p).to(device) for p in zip(*(_initial(n, hidden, g, start) for g in generators), strict=True)
    ]
    for parameter in parameters:
        parameter.requires_grad_()
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.Adam(parameters, lr=training.learning_rate, fused=True)
    lengths = torch.tensor([len(one) for one in inputs], device=device)
    everyone = torch.arange(nodes, device=device)[:, None]
    with torch.no_grad():
        for _ in range(training.epochs):
            order = torch.arange(rows).repeat(nodes, 1)
            for node, (one, generator) in enumerate(zip(inputs, generators, strict=True)):
                order[node, : len(one)] = torch.randperm(len(one), generator=generator)
            order = order.to(device)
            shuffled, known = x[everyone, order], weigh[everyone, order]
            for first in range(0, rows, batch):
                here = (lengths - first).clamp(max=batch).to(torch.float32)
                part = slice(first, first + batch)
                _gradients(parameters, shuffled[:, part], known[:, part], here, training.activity_penalty)
                optimizer.step()
    w1, b1, w2, b2 = (parameter.detach().cpu().numpy() for parameter in parameters)
    # Copies: a view would keep the weights of the whole group alive.
    return [Weights(w1[k].copy(), b1[k, 0].copy(), w2[k].copy(), b2[k, 0].copy()) for k in range(nodes)]


def _initial(n: int, hidden: int, generator: torch.Generator, start: Weights | None) -> list[torch.Tensor]:
    """w1[n, h], b1[1, h], w2[h, n], b2[1, n]: uniform after Glorot, biases 0, or those of `start`."""
    if start is not None:
        return [torch.from_numpy(p.reshape(-1, p.shape[-1])) for p in (start.w1, start.b1, start.w2, start.b2)]
    bound = (6.0 / (n + hidden)) ** 0.5
    w1, w2 = ((torch.rand(shape, generator=generator) * 2 - 1) * bound for shape in ((n, hidden), (hidden, n)))
    return [w1, torch.zeros(1, hidden), w2, torch.zeros(1, n)]


def _gradients(
    parameters: list[torch.Tensor], x: torch.Tensor, known: torch.Tensor, rows: torch.Tensor, penalty: float
) -> None:
    """Write the gradients of the loss of one batch a node: of so small a network the graph would cost more than this.

    The loss is ``sum(|out - x| * known) / sum(known) + penalty * sum(code) / rows``.
    """
    w1, b1, w2, b2 = parameters
    assert w1.grad is not None and b1.grad is not None and w2.grad is not None and b2.grad is not None  # noqa: PT018
    code = torch.baddbmm(b1, x, w1).relu_()
    count = known.sum(dim=(1, 2), keepdim=True).clamp_(min=1)
    slope = torch.baddbmm(b2, code, w2).sub_(x).sign_().mul_(known).div_(count)
    torch.bmm(code.transpose(1, 2), slope, out=w2.grad)
    torch.sum(slope, 1, keepdim=True, out=b2.grad)
    back = torch.bmm(slope, w2.transpose(1, 2)).add_((penalty / rows)[:, None, None])
    back.mul_(code > 0)
    # Rows that only fill the batch have no input, but the biases would still feel their activity.
    filler = torch.arange(x.shape[1], device=x.device)[None, :, None] >= rows[:, None, None]
    back.masked_fill_(filler, 0.0)
    torch.bmm(x.transpose(1, 2), back, out=w1.grad)
    torch.sum(back, 1, keepdim=True, out=b1.grad)
