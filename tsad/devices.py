"""The torch device of a setting."""

import torch

from tsad.errors import ConfigurationError

__all__ = ["torch_device"]


def torch_device(name: str) -> torch.device:
    """The torch device of a setting; ``auto`` takes a GPU where there is one.

    Raises
    ------
    ConfigurationError
        A GPU is asked for and there is none, or torch does not know the name.

    Examples
    --------
    >>> torch_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
    except RuntimeError as error:
        raise ConfigurationError(f"device is {name!r}, which torch does not know; choose auto, cpu or cuda") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"device is {name!r} but torch sees no GPU; set device: auto or cpu")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ConfigurationError(
            f"device is {name!r} but torch sees {torch.cuda.device_count()} GPU(s), numbered from cuda:0 on"
        )
    return found
