"""Training of `timercd-nano`: seeded, resumable, on CPU or GPU; whoever calls it judges checkpoints on real data."""

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from tsad.devices import torch_device
from tsad.errors import SnapshotError
from tsad.foundation.corpus import CorpusBatch, CorpusSettings
from tsad.foundation.corpus_blocks import BLOCK, corpus_blocks
from tsad.foundation.nano import NanoConfig, NanoNetwork

__all__ = ["Checkpoint", "TrainingSettings", "average_weights", "kept_steps", "loss_of", "train"]

_LEAVE_OUT = 0.4
"""Share of the way whose checkpoints are left out of the mean."""
_POSITION = "training.json"
_STATE = "training.safetensors"
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a network is trained.

    Attributes
    ----------
    seed
        Of the first weights, the corpus and everything else.
    steps, warm_up
        Batches, and how many of them the learning rate rises for; then it falls as a cosine to a twentieth.
    learning_rate, weight_decay, largest_gradient
        Of AdamW (betas 0.9 and 0.98) and of the clipping.
    positive_weight
        How much an anomalous step counts.
    hidden_patches
        Share of patches hidden from the network.
    rebuild_weight
        Weight of the squared error of the rebuilt clean twin.
    smoothing
        Labels are moved this far from 0 and 1.
    averaging
        Decay a step of the running mean of the weights, which is what is kept.
    repeats
        How often a window is shown, with random signs.
    every
        Steps between checkpoints.
    bf16
        Multiply in bfloat16 (where processor or GPU have it, two to three times as fast).
    """

    seed: int = 0
    steps: int = 1000
    warm_up: int = 200
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    largest_gradient: float = 1.0
    positive_weight: float = 2.0
    hidden_patches: float = 0.1
    rebuild_weight: float = 0.2
    smoothing: float = 0.0
    averaging: float = 0.998
    repeats: int = 2
    every: int = 250
    bf16: bool = False
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    network: NanoConfig = field(default_factory=NanoConfig)

    def json(self) -> dict[str, Any]:
        """The settings as JSON writes them."""
        return {**asdict(self), "network": self.network.json()}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What training has reached.

    Attributes
    ----------
    step
        Batches so far.
    loss
        Mean over the batches since the checkpoint before.
    network
        With the averaged weights, in evaluation mode.
    """

    step: int
    loss: float
    network: NanoNetwork


def loss_of(
    network: NanoNetwork, batch: CorpusBatch, hidden: torch.Tensor, settings: TrainingSettings, device: torch.device
) -> torch.Tensor:
    """Binary cross-entropy of the labels of visible steps, plus the weighted error of the rebuilt clean twin.

    What is not valid counts nowhere.
    """
    values, clean, labels, valid = (
        torch.from_numpy(np.ascontiguousarray(x)).to(device)
        for x in (batch.values, batch.clean, batch.labels, batch.valid)
    )
    hidden = hidden.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.bf16):
        logits, rebuilt = network(values, valid, hidden)
    logits, rebuilt = logits.float(), rebuilt.float()
    seen = valid * (~hidden).repeat_interleave(network.config.patch, dim=-1)
    weight = seen * (1 + (settings.positive_weight - 1) * labels)
    target = labels * (1 - 2 * settings.smoothing) + settings.smoothing
    label_loss = functional.binary_cross_entropy_with_logits(
        logits, target, weight, reduction="sum"
    ) / seen.sum().clamp(min=1)
    error = functional.smooth_l1_loss(rebuilt, clean, reduction="none") * valid
    return label_loss + settings.rebuild_weight * error.sum() / valid.sum().clamp(min=1)


def _batches(
    settings: TrainingSettings, first: int, recorded: Sequence[npt.NDArray[np.float64]], workers: int
) -> Generator[tuple[int, CorpusBatch, torch.Generator]]:
    """Batches from step `first` on; which one comes when depends on the seed alone."""
    length = BLOCK * settings.repeats
    needed = range(first // length, -(-settings.steps // length))
    made = corpus_blocks(settings.corpus, settings.seed, needed, recorded, workers)
    with closing(made):
        for block, held in zip(needed, made, strict=True):
            order = np.concatenate(
                [np.random.default_rng((settings.seed, block, r)).permutation(BLOCK) for r in range(settings.repeats)]
            )
            for step in range(max(first, block * length), min(settings.steps, (block + 1) * length)):
                rng = np.random.default_rng([settings.seed, 1, step])
                one = held[order[step - block * length]]
                sign = rng.choice(np.array([-1, 1], np.float32), (len(one.values), 1, 1))
                turned = CorpusBatch(one.values * sign, one.clean * sign, one.labels, one.valid, one.severity)
                yield step, turned, torch.Generator().manual_seed(settings.seed * 1_000_003 + step)


def train(
    settings: TrainingSettings,
    *,
    folder: Path | None = None,
    device: str = "cpu",
    first: NanoNetwork | None = None,
    recorded: Sequence[npt.NDArray[np.float64]] = (),
    heard: Callable[[Checkpoint], None] = lambda _: None,
    workers: int = 0,
) -> NanoNetwork:
    """Train a network, or go on where a folder says that training stopped.

    Parameters
    ----------
    settings
        Everything the result depends on (and the machine's rounding).
    folder
        Where the position is kept at every checkpoint, and gone on from; None keeps nothing.
    device
        A torch device.
    first
        Weights to start from instead of random ones.
    recorded
        Normal series of the user's own to train on besides; see `corpus_batch`.
    heard
        Called at every checkpoint.
    workers
        Processes that make the corpus ahead, with the same result; a GPU waits for less than three.

    Returns
    -------
    NanoNetwork
        With averaged weights.

    Raises
    ------
    ConfigurationError
        The device is not there.
    SnapshotError
        The folder holds a training with other settings.
    """
    device = str(torch_device(device))
    where = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = NanoNetwork(settings.network)
    if first is not None:
        network.load_state_dict(first.state_dict())
    network.to(where).train()
    average = {name: weight.detach().clone() for name, weight in network.state_dict().items()}
    means, weights = list(average.values()), list(network.state_dict().values())
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay,
        fused=where.type == "cuda",
    )  # fmt: skip
    step = 0 if folder is None else _resume(folder, settings, network, average, optimizer)
    losses: list[torch.Tensor] = []
    with closing(_batches(settings, step, recorded, workers)) as batches:
        for number, batch, random in batches:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _rate(number, settings)
            patches = (*batch.values.shape[:2], settings.network.window // settings.network.patch)
            hidden = torch.rand(patches, generator=random) < settings.hidden_patches
            loss = loss_of(network, batch, hidden, settings, where)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.largest_gradient)
            optimizer.step()
            # Early means follow quickly, or the first random weights would stay in them for long.
            decay = min(settings.averaging, (number + 1) / (number + 10))
            torch._foreach_lerp_(means, weights, 1 - decay)
            # Their values are asked for at checkpoints only, since a GPU would have to come to rest for each.
            losses.append(loss.detach())
            if (number + 1) % settings.every == 0 or number + 1 == settings.steps:
                if folder is not None:
                    _keep(folder, settings, number + 1, network, average, optimizer)
                mean_loss = float(torch.stack(losses).double().mean())
                heard(Checkpoint(number + 1, mean_loss, _with_weights(settings.network, average)))
                losses.clear()
    return _with_weights(settings.network, average)


def _rate(step: int, settings: TrainingSettings) -> float:
    """Share of the learning rate at a step."""
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return 0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * done)))


def _with_weights(config: NanoConfig, weights: Weights) -> NanoNetwork:
    # First weights are drawn and thrown away; torch's own random state stays as it was.
    with torch.random.fork_rng(devices=[]):
        network = NanoNetwork(config)
    network.load_state_dict({name: weight.detach().cpu().clone() for name, weight in weights.items()})
    return network.eval()


def kept_steps(steps: Sequence[int]) -> list[int]:
    """The checkpoints whose mean is kept: those from two fifths of the way on.

    Examples
    --------
    >>> kept_steps([250, 500, 750, 1000])
    [500, 750, 1000]
    """
    return [step for step in steps if step >= _LEAVE_OUT * max(steps)]


def average_weights(networks: list[NanoNetwork]) -> NanoNetwork:
    """The network whose weights are the mean of those of several, of one shape."""
    states = [network.state_dict() for network in networks]
    mean = {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}
    return _with_weights(networks[0].config, mean)


def _keep(
    folder: Path,
    settings: TrainingSettings,
    step: int,
    network: NanoNetwork,
    average: Weights,
    optimizer: torch.optim.AdamW,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"network/{name}": weight.contiguous() for name, weight in network.state_dict().items()}
    arrays |= {f"average/{name}": weight.contiguous() for name, weight in average.items()}
    for number, state in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{number}/{name}": value.contiguous() for name, value in state.items()}
    partial = folder / f"{_STATE}.part"
    save_file(arrays, partial, metadata={"step": str(step)})
    partial.replace(folder / _STATE)
    (folder / _POSITION).write_text(json.dumps({"step": step, "settings": settings.json()}, indent=2) + "\n")


def _resume(
    folder: Path, settings: TrainingSettings, network: NanoNetwork, average: Weights, optimizer: torch.optim.AdamW
) -> int:
    """Take over a stored position; returns the step that comes next."""
    if not (folder / _POSITION).exists():
        return 0
    stored = json.loads((folder / _POSITION).read_text())
    wanted = json.loads(json.dumps(settings.json()))
    if stored["settings"] != wanted:
        different = sorted(key for key in wanted if stored["settings"].get(key) != wanted[key])
        raise SnapshotError(
            f"{folder} holds a training with another {', '.join(different)}; choose another folder, or those settings"
        )
    arrays = load_file(folder / _STATE)
    network.load_state_dict(
        {name.removeprefix("network/"): a for name, a in arrays.items() if name.startswith("network/")}
    )
    for name in average:
        average[name].copy_(arrays[f"average/{name}"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        if name.startswith("optimizer/"):
            _, number, key = name.split("/")
            state.setdefault(int(number), {})[key] = array
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(stored["step"])
