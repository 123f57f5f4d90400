"""Which network addresses deliveries may go to, judged on the resolved address when the connection is made.

A name is resolved once, here, and the connection goes to the very address that was judged: a name that resolves to
something else a moment later (DNS rebinding) gains nothing, and redirects are never followed.
"""

import ipaddress
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from connectors.errors import ConnectorSettingsError

__all__ = ["AddressPolicy", "ForbiddenAddressError", "guarded_transport"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_WORDS = ("public", "private", "loopback")
# Addresses that carry an IPv4 address inside: what they lead to is what counts.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """A host has no address that deliveries may go to."""


@dataclass(frozen=True)
class AddressPolicy:
    """The allow-list.

    Attributes
    ----------
    allow : tuple of str or None
        Networks (`10.20.0.0/16`, `192.0.2.7`) and the words `public`, `private`, `loopback`; nothing else may be
        connected to. None: public addresses, and private and loopback ones that stand as an address (or `localhost`)
        in the endpoint's own setting. A *name* must then lead to a public address.

    Raises
    ------
    ConnectorSettingsError
        An entry is neither a word nor a network.
    """

    allow: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for entry in self.allow or ():
            if entry not in _WORDS:
                try:
                    ipaddress.ip_network(entry)
                except ValueError as error:
                    raise ConnectorSettingsError(
                        f"allowed address {entry!r}: give a network such as 10.20.0.0/16, an address, or one of "
                        f"{', '.join(_WORDS)} ({error})"
                    ) from error

    def allows(self, address: str, host: str) -> bool:
        """Return whether a resolved address may be connected to.

        Parameters
        ----------
        address : str
            An IPv4 or IPv6 address; a zone (`%eth0`) is left out of account.
        host : str
            What stands in the endpoint's setting.
        """
        found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
        if self.allow is None:
            written = _literal(host)
            if written is None and host.lower().rstrip(".") == "localhost":
                return _is("public", found) or found.is_loopback
            return _is("public", found) or (
                written is not None and _unwrapped(written) == found and (_is("private", found) or found.is_loopback)
            )
        return any(
            _is(entry, found) if entry in _WORDS else _inside(found, ipaddress.ip_network(entry))
            for entry in self.allow
        )

    def check_host(self, host: str) -> None:
        """Raise `ConnectorSettingsError` when an address that stands in a setting itself is forbidden."""
        literal = _literal(host)
        if literal is not None and not self.allows(str(literal), host):
            raise ConnectorSettingsError(f"address {host} is not in delivery.allow")

    def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host, and return what may be connected to, in the resolver's order.

        Raises
        ------
        ForbiddenAddressError
            It resolves, but to nothing that is allowed.
        OSError
            It does not resolve.
        """
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        allowed = [address for address in found if self.allows(address, host)]
        if not allowed:
            raise ForbiddenAddressError(
                f"{host} resolves to {', '.join(found)}: not in delivery.allow; nothing was sent. List the network "
                "there if it is right"
            )
        return allowed

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """Connect to the first allowed address that answers.

        Raises
        ------
        OSError
            None does, or none is allowed.
        """
        failure: OSError | None = None
        for address in self.addresses(host, port):
            try:
                return socket.create_connection((address, port), timeout)
            except OSError as error:
                failure = error
        raise failure or OSError(f"{host}: no address")


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _unwrapped(address: _Address) -> _Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        return inner or address
    return address


def _is(word: str, address: _Address) -> bool:
    if word == "loopback":
        return address.is_loopback
    if word == "private":
        return any(address.version == network.version and address in network for network in _PRIVATE)
    return address.is_global and not address.is_multicast


# RFC 1918, the shared space of RFC 6598, and unique local addresses (RFC 4193). Link-local ones, where clouds keep
# their machines' credentials, are in none of the words.
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)


def _inside(address: _Address, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return address.version == network.version and address in network


class _GuardedBackend(httpcore.SyncBackend):
    """Connects to addresses that a policy allows; the certificate is still checked against the name."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._policy.addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception = httpcore.ConnectError(f"{host}: no address")
        for address in addresses:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _GuardedTransport(httpx.HTTPTransport):
    def __init__(self, policy: AddressPolicy) -> None:
        context: ssl.SSLContext = httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False)
        # httpx has no argument for it: the pool is its own but for the backend that connects.
        self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=_GuardedBackend(policy))


def guarded_transport(policy: AddressPolicy) -> httpx.BaseTransport:
    """Plain HTTP/1.1 to allowed addresses only, certificates checked, no proxy from the environment."""
    return _GuardedTransport(policy)
