"""Known servers: the key of each server that we have met (PROTOCOL 8).

The list has the format of OpenSSH's `known_hosts`: `[host]:port ssh-rsa AAAA…`, one server a line.
Several addresses, wildcards, `!`, hashed addresses and `@revoked` mean what they mean to `ssh`.
A server that is known by an alias stands there under it, as with HostKeyAlias, without brackets and
port. Wherever a method takes a port, None means that the host is an alias.
Certificates are not supported, and a line that demands one is refused. Never asks the user.

The list is read without the lock, and judged. Only if it has to change is the lock taken, and then
the list is read and judged again, since another program may have changed it in between.
"""

import hmac
import re
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from chat.errors import IdentityError, ProtocolError, ServerKeyError
from chat.files.lines import LineFile
from chat.kex import PublicKey
from chat.limits import KNOWN_SERVERS_BYTES
from chat.program import PROGRAM
from chat.text import fingerprint_of

_REVOKED = "@revoked"
_CERTIFICATE = "@cert-authority"


def check_fingerprint(expected: str, key: PublicKey) -> None:
    """Compare a server's key with a fingerprint that the user was told.

    Raises:
        ServerKeyError: the fingerprint is that of another key.
    """
    if key.fingerprint != expected:
        hint = "ask whoever runs the server for its fingerprint"
        raise _not_expected("THE ONE YOU NAMED", "named", expected, key, hint)


def check_invited(digest: bytes, key: PublicKey) -> None:
    """Compare a server's key with the SHA-256 of one that an invite holds.

    Raises:
        ServerKeyError: it is that of another key.
    """
    if key.digest != digest:
        hint = (
            "somebody may be in the middle; if the server was set up anew, its rooms need new "
            "invites: ask whoever gave you this one"
        )
        raise _not_expected("THE ONE IN THE INVITE", "invite", fingerprint_of(digest), key, hint)


def _not_expected(
    which: str, label: str, expected: str, key: PublicKey, hint: str
) -> ServerKeyError:
    return ServerKeyError(
        f"THE SERVER'S KEY IS NOT {which}\n"
        f"  {label}: {expected}\n"
        f"  {'shown':>{len(label)}}: {key.fingerprint}\n"
        "  nothing of yours has been sent",
        hint,
    )


class KnownServers:
    """The servers we have met, by address."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._file = LineFile(path, KNOWN_SERVERS_BYTES, "list of known servers")
        self._read_only = read_only
        self._met: list[str] = []
        """Lines that would be written if we might write."""

    def check(
        self,
        host: str,
        port: int | None,
        key: PublicKey,
        beside: Sequence[tuple[str, int | None]] = (),
    ) -> str | None:
        """Since which day this server is known, empty if that is not written there. None if it is
        not known; then it is remembered, or if we only read, until we end.

        `beside`: other servers that the user says have the same key. If one of them is known with
        it, so is this one; if one is known with another, this one is refused. Nothing is remembered
        of them here: they have not shown this key.

        Raises:
            ServerKeyError: it is known with another key, or this key is revoked.
            IdentityError: the file cannot be read or written, or a line about it is damaged.
        """
        address, others = _address(host, port), [_address(*other) for other in beside]
        with self._file.errors():
            lines = [*self._file.read(), *self._met]
            known, elsewhere = self._judge_all(lines, address, others, key)
            if known is None and self._read_only:
                self._met.append(_line(address, key))
            elif known is None:
                with self._file.changing():
                    lines = self._file.read()
                    # Another client may have been faster.
                    known, elsewhere = self._judge_all(lines, address, others, key)
                    if known is None:
                        self._file.write([*lines, _line(address, key)])
        return elsewhere if known is None else known

    def choose(self, host: str, port: int | None, key: PublicKey) -> bool:
        """The user has named this key: replace all others of this server. Returns whether there
        were others and this key was not known.

        Raises:
            ServerKeyError: this key is revoked.
            IdentityError: the file cannot be read or written, or a line about it is damaged.
        """
        address = _address(host, port)
        with self._file.errors():
            others = self._others(self._file.read(), address, key)
            if others and not self._read_only:
                with self._file.changing():
                    lines = self._file.read()
                    if self._others(lines, address, key):
                        self._file.write([*_without(lines, address), _line(address, key)])
        return others

    def forget(self, host: str, port: int | None) -> list[PublicKey | None]:
        """Remove the lines about a server, except for revoked keys. Returns the keys that it had,
        None for a damaged line.

        Raises:
            IdentityError: there is no such line, one is a pattern that is also about other servers,
                or the file cannot be read or written.
        """
        address = _address(host, port)
        with self._file.errors():
            self._require_known(self._file.read(), address)
            with self._file.changing():
                lines = self._file.read()
                found = self._require_known(lines, address)
                kept = _without(lines, address)
                for entry in _known(kept, address):
                    raise IdentityError(
                        f"line {entry.number} of {self._path} is not about {address} alone",
                        "change it by hand",
                    )
                self._file.write(kept)
        return [entry.key for entry in found]

    def _require_known(self, lines: list[str], address: str) -> "list[_Entry]":
        found = list(_known(lines, address))
        if not found:
            raise IdentityError(
                f"no key of the server {address} is known",
                f"the servers that are known are in {self._path}",
            )
        return found

    # -- what the lines say

    def _judge_all(
        self, lines: list[str], address: str, others: Sequence[str], key: PublicKey
    ) -> tuple[str | None, str | None]:
        """Since when the key is known as that of this server, and as that of one of the others;
        raises if it must not be accepted."""
        known = self._judge(lines, address, key)
        found = [self._judge(lines, other, key, shown_at=address) for other in others]
        elsewhere = [since for since in found if since is not None]
        return known, min(elsewhere, default=None)

    def _judge(
        self, lines: list[str], address: str, key: PublicKey, shown_at: str = ""
    ) -> str | None:
        """Since when the key is known, as `check` has it; raises if it must not be accepted.
        `shown_at`: the server that has shown it, if that is another one."""
        entries = self._valid(lines, address, key)
        known = [entry for entry in entries if not entry.marker]
        same = [entry.since for entry in known if entry.blob == key.blob]
        if same:
            return min(filter(None, same), default="")
        for entry in known:
            if not entry.key:
                raise self._damaged(entry)
        for entry in known:
            raise self._changed(entry, address, key, shown_at)
        for entry in entries:
            if entry.marker == _CERTIFICATE:
                raise IdentityError(
                    f"line {entry.number} of {self._path} demands a certificate of the server, "
                    "which is not supported",
                    "remove it to have the server known by its key",
                )
        return None

    def _others(self, lines: list[str], address: str, key: PublicKey) -> bool:
        """Whether other keys of the server are known, and this one is not."""
        known = [entry for entry in self._valid(lines, address, key) if not entry.marker]
        return bool(known) and all(entry.blob != key.blob for entry in known)

    def _valid(self, lines: list[str], address: str, key: PublicKey) -> "list[_Entry]":
        """The lines about this server; raises if one revokes the key, or is damaged and might."""
        entries = list(_entries(lines, address))
        for entry in entries:
            if entry.marker == _REVOKED and entry.blob == key.blob:
                raise self._revoked(entry, address, key)
            if entry.marker not in ("", _REVOKED, _CERTIFICATE):
                raise self._damaged(entry)
            if entry.marker == _REVOKED and not entry.key:
                raise self._damaged(entry)
        return entries

    def _revoked(self, entry: "_Entry", address: str, key: PublicKey) -> ServerKeyError:
        return ServerKeyError(
            f"THE KEY OF THE SERVER {address} IS REVOKED\n"
            "  It is no longer to be trusted: somebody else may have it.\n"
            f"  shown: {key.fingerprint}\n"
            "  nothing of yours has been sent",
            f"ask whoever runs the server for a new key; line {entry.number} of {self._path} "
            "revokes this one",
        )

    def _changed(
        self, entry: "_Entry", address: str, key: PublicKey, shown_at: str
    ) -> ServerKeyError:
        from shlex import quote

        assert entry.key is not None
        host, _, port = address[1:].rpartition("]:")
        what = f"{quote(host)} {port}" if address.startswith("[") else f"--alias {address}"
        forget = f"{PROGRAM} forget {what} --keys {quote(str(self._path.parent))}"
        middle = "  Somebody may be in the middle, reading along; or "
        keys = (
            f"  known: {entry.key.fingerprint}\n"
            f"  shown: {key.fingerprint}\n"
            "  nothing of yours has been sent"
        )
        if shown_at:
            return ServerKeyError(
                f"THE KEY OF THE SERVER {shown_at} IS NOT THAT OF {address}\n"
                f"{middle}the two do not belong together.\n{keys}",
                "name one of them alone; or if whoever runs the servers confirms the new key, "
                f"forget the known one:\n    {forget}",
            )
        return ServerKeyError(
            f"THE KEY OF THE SERVER {address} HAS CHANGED\n"
            f"{middle}the server was set up anew.\n{keys}",
            "if whoever runs the server confirms the new key, run this, which removes "
            f"line {entry.number} of {self._path}:\n    {forget}",
        )

    def _damaged(self, entry: "_Entry") -> IdentityError:
        return IdentityError(
            f"line {entry.number} of {self._path} is damaged", "correct or remove it"
        )


# -- the form of known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) --------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line about one server: `marker hosts ssh-rsa AAAA… 2026-11-27`. The day is a comment to
    OpenSSH."""

    number: int
    marker: str
    blob: bytes | None
    since: str = ""

    @property
    def key(self) -> PublicKey | None:
        """None if the line is damaged."""
        key = PublicKey(self.blob or b"")
        try:
            key.rsa()
        except ProtocolError:
            return None
        return key


_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _line(address: str, key: PublicKey) -> str:
    """The line for a server that is known from today on."""
    return f"{address} {key.openssh} {time.strftime('%Y-%m-%d')}"


def _address(host: str, port: int | None) -> str:
    return host.lower() if port is None else f"[{host.lower()}]:{port}"


def _known(lines: list[str], address: str) -> Iterator[_Entry]:
    return (entry for entry in _entries(lines, address) if not entry.marker)


def _entries(lines: list[str], address: str) -> Iterator[_Entry]:
    """The lines about this address that hold an RSA key, are cut off, or demand a certificate."""
    for number, line in enumerate(lines, 1):
        marker, hosts, rest = _split(line)
        if not _matches(hosts, address):
            continue
        if len(rest) < 2 or marker == _CERTIFICATE:
            yield _Entry(number, marker, None)
        elif rest[0] == "ssh-rsa":
            since = next(iter(rest[2:]), "")
            yield _Entry(number, marker, _decoded(rest[1]), since if _DAY.fullmatch(since) else "")


def _split(line: str) -> tuple[str, str, list[str]]:
    """The marker, the addresses, and the rest of a line; all empty for a comment."""
    fields = line.split()
    if not fields or fields[0].startswith("#"):
        return "", "", []
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    return marker, fields[0] if fields else "", fields[1:]


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return None


def _matches(hosts: str, address: str) -> bool:
    patterns = hosts.split(",")
    if any(_fits(name[1:], address) for name in patterns if name.startswith("!")):
        return False
    return any(_fits(name, address) for name in patterns)


def _fits(pattern: str, address: str) -> bool:
    if pattern.startswith("|1|"):
        return _is_hash(pattern, address)
    pattern = pattern.lower()
    if not _is_wild(pattern):
        return pattern == address
    pieces = (re.escape(piece).replace(r"\?", ".") for piece in re.split(r"\*+", pattern))
    return re.fullmatch(".*".join(pieces), address, re.DOTALL) is not None


def _is_wild(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def _is_hash(pattern: str, address: str) -> bool:
    """Whether this is `|1|salt|HMAC-SHA-1 of the address`, as `ssh-keygen -H` writes it."""
    salt, digest = map(_decoded, pattern[len("|1|") :].partition("|")[::2])
    if not salt or not digest:
        return False
    return hmac.digest(salt, address.encode(errors="surrogateescape"), "sha1") == digest


def _without(lines: list[str], address: str) -> list[str]:
    """The lines without this address, but patterns and revoked keys stay."""
    kept = []
    for line in lines:
        marker, hosts, _ = _split(line)
        if not marker and _matches(hosts, address):
            others = [
                name for name in hosts.split(",") if _is_wild(name) or not _fits(name, address)
            ]
            if all(name.startswith("!") for name in others):
                continue
            line = line.replace(hosts, ",".join(others), 1)
        kept.append(line)
    return kept
