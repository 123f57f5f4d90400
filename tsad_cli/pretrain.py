"""`tsad pretrain`: training of the foundation models that come with tsad."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsad_cli.output import fail

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from evaluation.datasets.schema import LabelledSeries
    from tsad.foundation.nano import NanoNetwork

__all__ = ["pretrain", "pretrain_timercd"]

pretrain = typer.Typer(help="Train foundation models.", no_args_is_help=True)

_LOG = "log.jsonl"
_CHECKPOINTS = "checkpoints"


@pretrain.command("timercd")
def pretrain_timercd(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Weights, card and log; a position to go on from.")],
    steps: Annotated[int, typer.Option(min=1, help="Batches.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives other weights.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Batches between checkpoints.")] = 250,
    device: Annotated[str, typer.Option(help="A torch device.")] = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that make the corpus; a GPU waits for fewer than three.")
    ] = 0,
    bf16: Annotated[bool, typer.Option("--bf16", help="Multiply in bfloat16.")] = False,
    setting: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Setting of training, corpus.* or network.*.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", metavar="WEIGHTS", help="Start from these weights.")] = None,
    finetune: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Own normal recording, CSV or Parquet; may be repeated.")
    ] = None,
    keep: Annotated[str, typer.Option(metavar="mean|best|last", help="Which weights are kept at the end.")] = "mean",
    validation: Annotated[bool, typer.Option(help="Judge checkpoints by the validation half of NAB.")] = True,
) -> None:
    """Train `timercd-nano`. The same command run again goes on where it was interrupted.

    Every checkpoint is judged by the mean VUS-PR of half of NAB, which no report uses. What is kept, as
    DIR/timercd-nano.safetensors, is the mean of the weights from two fifths of the way on (--keep best: the checkpoint
    with the best figure; the figures of checkpoints differ by chance, and early ones see little that is subtle).

    Exit codes: 0 done, 2 wrong arguments, data or weights.

    Example: tsad pretrain timercd --out out/nano --steps 1000 --seed 1 --bf16
    """
    import torch

    from evaluation.errors import DatasetError, InvalidInputError
    from tsad.errors import TsadError
    from tsad.foundation.training import train
    from tsad.foundation.weights import SHIPPED, load_nano
    from tsad_cli.pretrain_settings import training_settings

    if keep not in {"mean", "best", "last"}:
        fail("pretrain", f"--keep is {keep!r}; choose mean, best or last")
    torch.set_num_threads(1 if device == "cpu" else torch.get_num_threads())
    try:
        settings = training_settings(setting or [], seed=seed, steps=steps, every=every, bf16=bf16)
        recorded = _recorded(finetune or [], settings.corpus)
        first = load_nano(start or SHIPPED)[0] if start or recorded else None
        series = _validation_series(wanted=validation)
        judge = _Judge(out, settings.json(), series)
        train(
            settings, folder=out / "position", device=device, first=first, recorded=recorded, heard=judge,
            workers=workers,
        )  # fmt: skip
    except (TsadError, DatasetError, InvalidInputError, ValueError) as error:
        fail("pretrain", error)
    typer.echo(f"{out / 'timercd-nano.safetensors'}: {judge.finish(keep)}")


class _Judge:
    """Hears checkpoints: keeps their weights and a line of the log, and at the end the best of them."""

    def __init__(self, out: Path, settings: dict[str, Any], series: "list[LabelledSeries]") -> None:
        from evaluation.backtest.provenance import provenance

        self.out, self.settings, self.series = out, settings, series
        self.provenance = provenance({}, command=["tsad", *sys.argv[1:]], seed=settings["seed"])
        log = out / _LOG
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
        self.checkpoints: list[dict[str, Any]] = [line for line in lines if "step" in line]
        out.mkdir(parents=True, exist_ok=True)
        self._write({"started": self.provenance, "settings": settings, "goes_on": bool(self.checkpoints)})

    def __call__(self, checkpoint: Any) -> None:
        """Judge one."""
        from tsad.foundation.weights import save_nano

        line: dict[str, Any] = {
            "step": checkpoint.step,
            "loss": round(checkpoint.loss, 5),
            "seed": self.settings["seed"],
        }
        if self.series:
            line["validation_vus_pr"] = round(_validate(checkpoint.network, self.series), 5)
        save_nano(checkpoint.network, self._path(checkpoint.step), {"step": checkpoint.step})
        # A training that was interrupted between a checkpoint and its line says it twice; the later one holds.
        self.checkpoints = [one for one in self.checkpoints if one["step"] != checkpoint.step] + [line]
        self._write(line)
        typer.echo(json.dumps(line), err=True)

    def finish(self, keep: str) -> str:
        """Keep weights under their final name, with card, and graph where `onnx` is installed; says which they are."""
        from tsad.foundation.onnx_export import export_nano
        from tsad.foundation.training import average_weights, kept_steps
        from tsad.foundation.weights import load_nano, save_nano

        steps = [one["step"] for one in self.checkpoints]
        if keep == "best":
            chosen = [max(self.checkpoints, key=lambda one: (one.get("validation_vus_pr", -1.0), one["step"]))["step"]]
        elif keep == "last":
            chosen = [max(steps)]
        else:
            chosen = kept_steps(steps)
        network = average_weights([load_nano(self._path(step))[0] for step in chosen])
        kept: dict[str, Any] = {"mean_of_steps": chosen, "seed": self.settings["seed"]}
        if self.series:
            kept["validation_vus_pr"] = round(_validate(network, self.series), 5)
        self._write({"kept": kept})
        final = self.out / "timercd-nano.safetensors"
        card = {"kept": kept, "settings": self.settings, "provenance": self.provenance, "log": _LOG}
        save_nano(network, final, card)
        if find_spec("onnx") is not None:
            export_nano(network, final.with_suffix(".onnx"))
        figure = kept.get("validation_vus_pr")
        judged = "not validated" if figure is None else f"VUS-PR {figure:.3f} on the validation half of NAB"
        return f"mean of steps {', '.join(map(str, chosen))}, {judged}"

    def _path(self, step: int) -> Path:
        return self.out / _CHECKPOINTS / f"{step}.safetensors"

    def _write(self, line: dict[str, Any]) -> None:
        with (self.out / _LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def _validate(network: "NanoNetwork", series: "list[LabelledSeries]") -> float:
    from tsad.detectors.registry import detector_options
    from tsad_cli.pretrain_validation import validate

    defaults = detector_options("timercd-nano")
    return validate(network, series, scales=defaults["scales"], stride=defaults["stride"])


def _validation_series(*, wanted: bool) -> "list[LabelledSeries]":
    from tsad_cli.pretrain_validation import load_validation

    return load_validation() if wanted else []


def _recorded(paths: list[Path], corpus: Any) -> "list[npt.NDArray[np.float64]]":
    """Stretches without gaps of the channels of own recordings.

    Raises
    ------
    InvalidInputError
        None is long enough.
    """
    import numpy as np

    from evaluation.errors import InvalidInputError
    from evaluation.recordings import read_recording
    from tsad.foundation.corpus import recorded_length

    needed, found = recorded_length(corpus), []
    for path in paths:
        for channel in read_recording(path).values.T.astype(np.float64):
            edges = np.flatnonzero(np.diff(np.concatenate([[False], np.isfinite(channel), [False]])))
            found += [channel[a:b] for a, b in edges.reshape(-1, 2) if b - a >= needed and np.ptp(channel[a:b]) > 0]
    if paths and not found:
        raise InvalidInputError(f"no channel of --finetune moves and has {needed} rows in a row without a gap")
    return found
