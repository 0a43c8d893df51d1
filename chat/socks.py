"""SOCKS 5, as a client speaks it (RFC 1928, RFC 1929): how a proxy is asked to connect to a host.

Here: what `--proxy` says, and the conversation with the proxy, as bytes. A password is in no error
and no `repr`. Sockets and timers are in `proxied`.
"""

import re
from collections.abc import Generator
from ipaddress import IPv4Address, ip_address
from typing import TypeAlias

from chat.errors import ProxyRefusedError, TransportError, UsageError
from chat.limits import MAX_SOCKS_FIELD_BYTES, SOCKS_PORT
from chat.place import check_host, port_of, with_port

_FORM = re.compile(
    r"(socks5h?)://(?:([^@]*)@)?(\[[^\[\]/]*\]|[^\[\]:/@]+)(?::([^:/]*))?/?",
    re.IGNORECASE | re.DOTALL,
)
_WHAT_IT_IS = "a proxy is a URL (%40 for an @ in its password), such as socks5h://HOST:PORT"
"""No @ stands behind the ://, or the command line would hide what is between, as a password."""

_HOW_TO_LOG_IN = "give them as socks5h://USER:PASSWORD@HOST:PORT, with %40 for an @ in them"


class Proxy:
    """A SOCKS 5 proxy. `looks_up`: it is told the name of the server, and looks it up itself. What
    is in `login` is secret."""

    __slots__ = ("host", "login", "looks_up", "port")

    def __init__(self, text: str) -> None:
        """`text` is socks5h://USER:PASSWORD@HOST:PORT, or socks5:// where we look the name up.
        Both parts before the @ may have %XX for any byte.

        Raises:
            UsageError: it is no such text; the sentence repeats nothing of it.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise UsageError(_WHAT_IT_IS)
        scheme, login, host, port = found.groups()
        self.looks_up = scheme.lower() == "socks5h"
        self.host = check_host(host)
        self.port = SOCKS_PORT if port is None else port_of(port)
        self.login = None if login is None else _login_of(login)

    def __str__(self) -> str:
        return f"socks5{'h' if self.looks_up else ''}://{with_port(self.host, self.port)}"

    __repr__ = __str__


def _login_of(text: str) -> tuple[bytes, bytes]:
    from urllib.parse import unquote_to_bytes

    user, _, password = text.partition(":")
    try:
        login = unquote_to_bytes(user), unquote_to_bytes(password)
    except UnicodeEncodeError as exc:
        raise UsageError("the user and the password of the proxy are not UTF-8") from exc
    if not all(0 < len(part) <= MAX_SOCKS_FIELD_BYTES for part in login):
        raise UsageError(
            f"the user and the password of the proxy have 1 to {MAX_SOCKS_FIELD_BYTES} bytes each"
        )
    return login


# -- the conversation

_VERSION, _CONNECT, _DONE = 5, 1, 0
_NO_LOGIN, _LOGIN, _NONE_OF_THESE = 0, 2, 0xFF
_LOGIN_VERSION = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}
_PORT_BYTES = 2

_CODES = {
    1: "it failed, and does not say why",
    2: "its rules do not allow this connection",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "connection refused",
    6: "the connection took too many hops",
    7: "it makes no connections",
    8: "it does not know this kind of address",
}
"""What a proxy can say instead of connecting (RFC 1928, 6)."""

_REFUSED = 5

Conversation: TypeAlias = Generator[tuple[bytes, int], bytes, None]
"""Yields what to send, and how many bytes to read then, which it is sent. It reads no byte more
than the proxy's own: what is behind them comes from the server."""


def conversation(proxy: Proxy, host: str, port: int) -> Conversation:
    """Ask the proxy to connect to a host, by its name or by its address. When it ends, the proxy
    has connected.

    Raises:
        ProxyRefusedError: the proxy does not let us in, or does not speak SOCKS 5.
        TransportError: it cannot connect.
    """
    methods = bytes([_NO_LOGIN] if proxy.login is None else [_NO_LOGIN, _LOGIN])
    version, method = yield bytes([_VERSION, len(methods)]) + methods, 2
    _check_version(version)
    if method == _LOGIN and proxy.login is not None:
        user, password = proxy.login
        login = bytes([_LOGIN_VERSION, len(user), *user, len(password), *password])
        _, status = yield login, 2
        if status != _DONE:
            raise ProxyRefusedError("it does not accept the user and the password")
    elif method != _NO_LOGIN:
        raise _not_let_in(proxy, method)
    request = bytes([_VERSION, _CONNECT, 0]) + _encoded(host) + port.to_bytes(_PORT_BYTES, "big")
    version, code = yield request, 2
    _check_version(version)
    if code != _DONE:
        hint = "is the server running, and is this its port?" if code == _REFUSED else ""
        raise TransportError(_CODES.get(code, f"it says {code}, which has no meaning"), hint)
    # Where it connects from is of no use, but has to be read.
    _, kind = yield b"", 2
    if kind == _NAME:
        (size,) = yield b"", 1
    elif kind in _ADDRESS_BYTES:
        size = _ADDRESS_BYTES[kind]
    else:
        raise _no_socks()
    yield b"", size + _PORT_BYTES


def _check_version(version: int) -> None:
    if version != _VERSION:
        raise _no_socks()


def _no_socks() -> ProxyRefusedError:
    return ProxyRefusedError(
        "it does not speak SOCKS 5", "is it another kind of proxy, or no proxy?"
    )


def _not_let_in(proxy: Proxy, method: int) -> ProxyRefusedError:
    if method == _LOGIN or (method == _NONE_OF_THESE and proxy.login is None):
        return ProxyRefusedError("it asks for a user and a password", _HOW_TO_LOG_IN)
    return ProxyRefusedError("it wants us to log in by another way than a password")


def _encoded(host: str) -> bytes:
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        kind = _IPV4 if isinstance(address, IPv4Address) else _IPV6
        return bytes([kind]) + address.packed
    try:
        name = host.encode("idna")
    except UnicodeError:
        name = b""
    if not 0 < len(name) <= MAX_SOCKS_FIELD_BYTES:
        raise TransportError(f"the host {host} is not known", "is it spelled right?")
    return bytes([_NAME, len(name)]) + name
