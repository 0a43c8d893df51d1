"""Key files and known servers: what identifies us, and whom we have met.

Files are PEM (PKCS#8 and SPKI), private ones readable by their owner alone and made atomically; the
list of known servers is in the form of OpenSSH's `known_hosts`. Implements PROTOCOL 8. Never asks
the user, never opens a socket.
"""

import contextlib
import errno
import os
import secrets
import stat
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import cast

from Cryptodome.IO import PEM, PKCS8
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.asn1 import DerSequence

from chat.errors import IdentityError, ProtocolError, ServerKeyError
from chat.kex import PrivateKey, PublicKey

KNOWN_SERVERS = "known_servers"

_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
"""PKCS #1 (RFC 8017, A.1)."""


# -- key pairs ---------------------------------------------------------------------------------


def load_or_make_key(directory: Path, role: str, make: Callable[[], PrivateKey]) -> PrivateKey:
    """The key pair of `role` ("server" or "client") in `directory`; if there is none, the one that
    `make` returns, which takes a moment.

    Raises:
        IdentityError: the files cannot be read or written, are damaged, or others can read the
            private one. They are left as they were.
    """
    private_path = directory / f"{role}_private_key.pem"
    public_path = directory / f"{role}_public_key.pem"
    try:
        if not private_path.exists():
            _prepare(directory)
            _keep_key(private_path, make())
        key = _read_private_key(private_path)
        if not public_path.exists():
            with contextlib.suppress(FileExistsError):
                _write_new(public_path, key.rsa.public_key().export_key() + b"\n", 0o644)
    except OSError as exc:
        raise _file_error(exc, directory) from exc
    _check_public_key(public_path, key)
    return key


def _prepare(directory: Path) -> None:
    """See, before the seconds that it takes to make a key, whether it can be kept."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))


def _keep_key(path: Path, key: PrivateKey) -> None:
    pem = key.rsa.export_key(pkcs=8) + b"\n"
    with contextlib.suppress(FileExistsError):
        # Should another process have been faster, its key is the one.
        _write_new(path, pem, 0o600)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Make a file that is there as a whole or not at all; FileExistsError if it is already."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        temporary.unlink()


def _read_private_key(path: Path) -> PrivateKey:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        pem = file.read()
    if mode & 0o077:
        raise IdentityError(f"others can read the private key {path}", f"chmod 600 {path}")
    try:
        rsa = _import(pem)
        if not rsa.has_private():
            raise IdentityError(
                f"{path} holds a public key only", "restore the private one, or move it away"
            )
        return PrivateKey.from_rsa(rsa)
    except ProtocolError as exc:
        raise IdentityError(f"{path}: {exc}", "move it away to have a new one made") from exc
    except (ValueError, IndexError, TypeError) as exc:
        encrypted = b"ENCRYPTED" in pem
        raise IdentityError(
            f"the private key {path} is {'encrypted' if encrypted else 'damaged'}",
            f"openssl pkey -in {path} writes it without a passphrase"
            if encrypted
            else "restore it from a copy, or move it away to have a new one made",
        ) from exc


def _import(pem: bytes) -> RSA.RsaKey:
    """The key in a file; ValueError and others if there is none.

    One in the form that we write is checked for being whole, but its primes are not tested again
    for being primes, which would take a good part of the time until the prompt stands.
    """
    der, marker, _ = PEM.decode(pem.decode())
    if marker != "PRIVATE KEY":
        return RSA.import_key(pem)
    oid, inner, _ = PKCS8.unwrap(der)
    if oid != _RSA_ENCRYPTION:
        raise ValueError(f"a key of the kind {oid}")
    fields = DerSequence().decode(inner, strict=True, nr_elements=9, only_ints_expected=True)
    n, e, d, p, q = (cast(int, fields[at]) for at in range(1, 6))
    if min(p, q) < 2 or n != p * q or any((e * d - 1) % (prime - 1) for prime in (p, q)):
        raise ValueError("numbers that do not belong together")
    return RSA.construct((n, e, d, p, q), consistency_check=False)


def _check_public_key(path: Path, key: PrivateKey) -> None:
    hint = f"remove {path} to have it written anew"
    try:
        public = PublicKey.from_rsa(RSA.import_key(path.read_bytes()))
    except OSError as exc:
        raise _file_error(exc, path) from exc
    except (ValueError, IndexError, TypeError) as exc:
        raise IdentityError(f"the public key {path} is damaged", hint) from exc
    if public != key.public:
        raise IdentityError(f"the public key {path} does not belong to the private one", hint)


def _file_error(exc: OSError, path: Path) -> IdentityError:
    where = exc.filename if isinstance(exc.filename, str) else str(path)
    return IdentityError(
        f"cannot use {where}: {(exc.strerror or str(exc)).lower()}",
        "name another folder with --keys, or keep nothing with --ephemeral",
    )


# -- known servers -----------------------------------------------------------------------------


class KnownServers:
    """The servers we have met, by address: `[host]:port ssh-rsa AAAA…` a line."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._path = path
        self._read_only = read_only

    def check(self, host: str, port: int, key: PublicKey) -> bool:
        """Whether this server was met before; if not, it is remembered now.

        Raises:
            ServerKeyError: it had another key then.
            IdentityError: the file cannot be read or written.
        """
        address = f"[{host.lower()}]:{port}"
        try:
            known = self._find(address)
            if not known and not self._read_only:
                self._append(f"{address} {key.openssh}\n")
        except OSError as exc:
            raise _file_error(exc, self._path) from exc
        if not known:
            return False
        if any(known_key == key for _, known_key in known):
            return True
        number, known_key = known[0]
        raise ServerKeyError(
            f"THE KEY OF THE SERVER {address} HAS CHANGED\n"
            "  Somebody may be in the middle, reading along; or the server was set up anew.\n"
            f"  known: {known_key.fingerprint}\n"
            f"  shown: {key.fingerprint}\n"
            "  nothing of yours has been sent",
            "if whoever runs the server confirms the new key, "
            f"remove line {number} of {self._path}",
        )

    def _find(self, address: str) -> list[tuple[int, PublicKey]]:
        if not self._path.exists():
            return []
        found = []
        lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines, 1):
            fields = line.split()
            if len(fields) < 3 or fields[1] != "ssh-rsa":
                continue
            if address in fields[0].lower().split(","):
                try:
                    found.append((number, PublicKey(b64decode(fields[2], validate=True))))
                except ValueError as exc:
                    raise IdentityError(
                        f"line {number} of {self._path} is damaged", "correct or remove it"
                    ) from exc
        return found

    def _append(self, line: str) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    line = "\n" + line
            file.write(line.encode())


def check_fingerprint(expected: str, key: PublicKey) -> None:
    """Check a server's key against a fingerprint that the user was given.

    Raises:
        ServerKeyError: it is another key's.
    """
    if key.fingerprint != expected:
        raise ServerKeyError(
            "THE SERVER'S KEY IS NOT THE ONE YOU NAMED\n"
            f"  named: {expected}\n"
            f"  shown: {key.fingerprint}\n"
            "  nothing of yours has been sent",
            "ask whoever runs the server for its fingerprint",
        )
