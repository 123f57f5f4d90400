"""Settings of the HTTP door."""

from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from streams.access.tokens import TokenSettings
from tsad.settings import Duration, Frozen

__all__ = ["HttpSettings", "TlsSettings"]

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - named to be told apart, not bound to


class TlsSettings(Frozen):
    """A certificate to serve by."""

    certificate: Path = Field(description="PEM, with the chain; relative to the configuration file")
    key: Path = Field(description="PEM; relative to the configuration file")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for what, path in (("certificate", self.certificate), ("key", self.key)):
            if not path.is_file():
                raise ValueError(f"the {what} {path} is not there")
        return self


class HttpSettings(Frozen):
    """The daemon's own HTTP door."""

    enabled: bool = True
    host: str = "127.0.0.1"
    console: bool = Field(default=True, description="serve the operators' console under /console")
    port: int = Field(default=8350, ge=0, le=65535, description="0 takes a free one")
    tokens: tuple[TokenSettings, ...] = Field(default=(), description="who is let in; none: whoever reaches loopback")
    session: Duration = Field(default=12 * 3600.0, gt=0, description="how long a log-in to the console lasts")
    tls: TlsSettings | None = None
    hosts: tuple[str, ...] = Field(default=(), description="further names this door is called by, e.g. a proxy's")
    time_zone: str = Field(default="UTC", description="IANA name of the zone the console shows times in")
    requests_per_minute: int = Field(default=1_200, ge=1, description="of one caller, with bursts of as many")
    largest_body: int = Field(default=1_048_576, ge=1, description="bytes of a request")

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.host not in _LOOPBACK and not self.tokens:
            raise ValueError(
                f"http.host is {self.host!r}, which others reach, and http.tokens names nobody: make a token by "
                "`tsad token NAME --role operator`, or serve 127.0.0.1"
            )
        for what, found in (("name", [t.name for t in self.tokens]), ("hash", [t.hash for t in self.tokens])):
            twice = sorted({one for one in found if found.count(one) > 1})
            if twice:
                raise ValueError(f"http.tokens: the {what} {twice[0]!r} stands twice")
        return self

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {name!r}; give an IANA name such as Europe/Rome") from error
        return name

    @property
    def known_hosts(self) -> tuple[str, ...] | None:
        """What the door may be called by besides loopback's names; None for anything.

        A door to everywhere has names that only its admin knows; without `hosts` the token alone guards it.
        """
        if self.host in _EVERYWHERE and not self.hosts:
            return None
        return (*self.hosts, *({self.host} - _EVERYWHERE))

    @property
    def base_url(self) -> str:
        """Where a client on this machine reaches the door."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - what to call instead
        return f"http{'s' if self.tls else ''}://{f'[{host}]' if ':' in host else host}:{self.port}"
