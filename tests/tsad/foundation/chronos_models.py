"""Chronos models with random weights, in the layouts of the released ones.

``python -m tests.tsad.foundation.chronos_models bolt DIR`` writes one. They judge nothing: tests
read them, speed is measured with them, and they are the control beside trained encoders.
"""

import argparse
import os
from pathlib import Path

import torch

KINDS = ("t5", "bolt", "chronos-2")
# width, hidden, of one head, heads, layers. The smallest is for tests; the others have the shapes of the released ones.
SIZES = {
    "smallest": (64, 256, 16, 4, 2),
    "tiny": (256, 1024, 64, 4, 4),
    "mini": (384, 1536, 64, 8, 4),
    "small": (512, 2048, 64, 8, 6),
}
_QUANTILES = [0.01, 0.05, *(i / 20 for i in range(2, 19)), 0.95, 0.99]


def write_chronos(folder: Path, kind: str, size: str = "smallest", *, context: int = 512, seed: int = 0) -> Path:
    """Write a model with random weights as `save_pretrained` does; returns the folder."""
    # Read when the packages are imported.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from chronos.chronos2 import Chronos2Model
    from chronos.chronos2.config import Chronos2CoreConfig
    from chronos.chronos_bolt import ChronosBoltModelForForecasting
    from transformers import T5Config, T5ForConditionalGeneration
    from transformers.utils import logging

    width, hidden, head, heads, layers = SIZES[size]
    shape = {"d_model": width, "d_ff": hidden, "d_kv": head, "num_heads": heads, "num_layers": layers}
    patches = {"context_length": context, "input_patch_size": 16, "input_patch_stride": 16, "use_reg_token": True}
    shape_t5 = {
        **shape,
        "num_decoder_layers": layers,
        "feed_forward_proj": "relu",
        "initializer_factor": 0.05,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "t5":
            config = T5Config(vocab_size=4096, **shape_t5)
            config.chronos_config = {
                "tokenizer_class": "MeanScaleUniformBins",
                "tokenizer_kwargs": {"low_limit": -15.0, "high_limit": 15.0},
                "n_tokens": 4096, "n_special_tokens": 2, "pad_token_id": 0, "eos_token_id": 1, "use_eos_token": True,
                "model_type": "seq2seq", "context_length": context, "prediction_length": 64, "num_samples": 20,
                "temperature": 1.0, "top_k": 50, "top_p": 1.0,
            }  # fmt: skip
            model = T5ForConditionalGeneration(config)
        elif kind == "bolt":
            config = T5Config(vocab_size=2, **shape_t5)
            quantiles = [i / 10 for i in range(1, 10)]
            config.chronos_config = {**patches, "prediction_length": 64, "quantiles": quantiles}
            config.chronos_pipeline_class, config.reg_token_id = "ChronosBoltPipeline", 1
            config.architectures = ["ChronosBoltModelForForecasting"]
            model = ChronosBoltModelForForecasting(config)
        else:
            config = Chronos2CoreConfig(**shape, reg_token_id=1)
            config.chronos_config = {
                **patches, "output_patch_size": 16, "max_output_patches": 64, "quantiles": _QUANTILES,
                "time_encoding_scale": context, "use_arcsinh": True,
            }  # fmt: skip
            config.chronos_pipeline_class, config.architectures = "Chronos2Pipeline", ["Chronos2Model"]
            model = Chronos2Model(config)
        model.eval().save_pretrained(folder)
    return folder


def main() -> None:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=tuple(SIZES), default="smallest")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    write_chronos(chosen.folder, chosen.kind, chosen.size, seed=chosen.seed)


if __name__ == "__main__":
    main()
