"""The error of event data; `tsad.errors` draws the tree of the others.

TsadError
└── EventFormatError    events do not have the form that was learnt or declared (also a ValueError)
"""

from tsad.errors import TsadError

__all__ = ["EventFormatError"]


class EventFormatError(TsadError, ValueError):
    """Events do not have the declared attributes or types. The message names what was expected and what came."""
