"""Invites: where the server is, which key it has, and the key of a room, in one piece of text.

    chat://host:port/ base64url( version ‖ SHA-256 of the server's key ‖ room key ‖ checksum )

Several servers that have the same key and the same rooms may stand there, with commas between them.
The checksum also covers hosts and ports, so whatever is mistyped is noticed before anything is
dialled. An invite is a secret. Who asks for one, and where it is kept, is not known here.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from ipaddress import IPv6Address
from typing import ClassVar

from chat.errors import InviteError
from chat.frozen import field, frozen
from chat.limits import (
    FINGERPRINT_BYTES,
    INVITE_CHECKSUM_BYTES,
    MAX_HOST_CHARS,
    MAX_INVITE_CHARS,
    MAX_SERVERS,
    ROOM_KEY_BYTES,
)
from chat.place import SCHEME, Endpoint, is_invite
from chat.text import fingerprint_of

LABEL_INVITE = b"chat/1 invite"
_BYTES = 1 + FINGERPRINT_BYTES + ROOM_KEY_BYTES + INVITE_CHECKSUM_BYTES
_CHARS = 4 * _BYTES // 3
"""Base64 has no padding here, and no bit that could be changed without being noticed."""
assert _BYTES % 3 == 0

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([1-9][0-9]{0,4})")
_BODY = re.compile("[A-Za-z0-9_-]*")
_ASK_AGAIN = "copy it again, or ask whoever gave it to you to send it again"


@frozen
class Invite:
    """What an invite says. Its servers, one or more, have the same public key and the same rooms;
    `server_digest` is the SHA-256 of that key."""

    servers: tuple[Endpoint, ...]
    server_digest: bytes
    room_key: bytes = field(shown=False)

    VERSION: ClassVar[int] = 1

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the server's key."""
        return fingerprint_of(self.server_digest)

    @property
    def address(self) -> str:
        """Hosts and ports for people."""
        return ",".join(server.text for server in self.servers)

    def encode(self) -> str:
        """The invite as people pass it on.

        Raises:
            InviteError: the host means nothing on another machine, or is none.
        """
        address = ",".join(f"{_host_for_others(host)}:{port}" for host, port in self.servers)
        said = bytes([self.VERSION]) + self.server_digest + self.room_key
        body = urlsafe_b64encode(said + _checksum(address, said)).decode()
        return f"{SCHEME}{address}/{body}"

    @classmethod
    def decode(cls, text: str) -> "Invite":
        """Read an invite. Blanks and line ends do not count, since mail breaks lines.

        Raises:
            InviteError: it is none, or of another version, or not as it was made.
        """
        if not is_invite(text):
            raise InviteError("this is no invite", f"an invite begins with {SCHEME}")
        text = "".join(text.split())
        if len(text) > MAX_INVITE_CHARS:
            raise InviteError(f"the invite is too long: no invite has {len(text):,} characters")
        address, slash, body = text[len(SCHEME) :].partition("/")
        if not slash:
            raise InviteError("the invite is cut off", _ASK_AGAIN)
        servers = _servers(address)
        said = _opened(address, body)
        key_at = 1 + FINGERPRINT_BYTES
        return cls(servers, said[1:key_at], said[key_at:])


def is_cut_off(text: str) -> bool:
    """Whether this begins as an invite does, and ends too early."""
    _, slash, body = "".join(text.split())[len(SCHEME) :].partition("/")
    return is_invite(text) and (not slash or len(body) < _CHARS)


def _opened(address: str, body: str) -> bytes:
    """The bytes in the body of an invite, without the checksum."""
    if not _BODY.fullmatch(body):
        raise InviteError("the invite has a character that no invite has", _ASK_AGAIN)
    version = urlsafe_b64decode(body[:4])[0] if len(body) >= 4 else Invite.VERSION
    if version != Invite.VERSION:
        raise InviteError(
            f"the invite has version {version}, and this program reads version {Invite.VERSION}",
            "update this program; or if it is up to date, the invite was changed: ask for it again",
        )
    if len(body) < _CHARS:
        text = f"the invite is cut off: {len(body)} of {_CHARS} characters follow the address"
        raise InviteError(text, _ASK_AGAIN)
    if len(body) > _CHARS:
        extra = len(body) - _CHARS
        what = "a character" if extra == 1 else f"{extra} characters"
        raise InviteError(f"the invite is too long: {what} behind its end", _ASK_AGAIN)
    data = urlsafe_b64decode(body)
    said, checksum = data[:-INVITE_CHECKSUM_BYTES], data[-INVITE_CHECKSUM_BYTES:]
    if checksum != _checksum(address, said):
        text = "the invite is not as it was made: a letter, the host or the port was changed"
        raise InviteError(text, _ASK_AGAIN)
    return said


def _checksum(address: str, said: bytes) -> bytes:
    covered = LABEL_INVITE + f"{address.lower()}/".encode() + said
    return sha256(covered).digest()[:INVITE_CHECKSUM_BYTES]


def _servers(address: str) -> tuple[Endpoint, ...]:
    """Each of the servers, and none twice."""
    found = tuple(map(_host_and_port, address.split(",")))
    if len(found) > MAX_SERVERS or len({*found}) < len(found):
        text = f"the invite names one server twice, or more than {MAX_SERVERS}"
        raise InviteError(text, _ASK_AGAIN)
    return found


def _host_and_port(address: str) -> Endpoint:
    """The two as `_host_for_others` wrote them, the host in lower case."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[2]) > 65_535:
        raise InviteError(f"the invite names no host and port behind {SCHEME}", _ASK_AGAIN)
    host = found[1].strip("[]").lower()
    _host_for_others(host)
    return Endpoint(host, int(found[2]))


def _host_for_others(host: str) -> str:
    """The host as it stands in an invite: ASCII, and an IPv6 address in brackets."""
    if ":" in host:
        try:
            IPv6Address(host)
        except ValueError as exc:
            raise InviteError(f"{host!a} is no IPv6 address") from exc
        if "%" in host:
            text = f"{host!a} names a network interface, and others have other ones"
            raise InviteError(text, "take an address that holds on other machines, too")
        return f"[{host}]"
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if len(name) > MAX_HOST_CHARS or not re.fullmatch("[A-Za-z0-9._-]+", name):
        raise InviteError(f"{host[:MAX_HOST_CHARS]!a} is no host that an invite can name")
    return name
