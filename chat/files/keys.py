"""Key files (PROTOCOL 8): the RSA key pair that identifies this server or client.

Two PEM files hold it. The private one (PKCS#8, mode 0600) is the one that counts; the public one
(SPKI) is for people and other programs, is written anew if it is missing, and must belong to the
private one. Both are made in one step, and never changed afterwards.

The order in `load_or_make_key` matters:

1. Leftovers of killed programs are removed, since they may hold a private key.
2. Only if there is no private key, the folder is made and checked: before the seconds that it takes
   to make a key, the user learns whether the key can be kept.
3. The key is made and its file created. If another program was faster, its file stays.
4. The file is read back, whoever made it, with all checks of owner, permissions and content. So
   two programs that start side by side use the same key.
5. The public file is made from the private key, or compared with it.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

from Cryptodome.IO import PEM, PKCS8
from Cryptodome.PublicKey import RSA
from Cryptodome.Util.asn1 import DerSequence

from chat.errors import IdentityError, ProtocolError
from chat.files import keyfolder
from chat.files import storage as files
from chat.kex import PrivateKey, PublicKey
from chat.limits import KEY_FILE_BYTES, LOCK_SECONDS

_RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
"""PKCS #1 (RFC 8017, A.1)."""

_OTHER_KINDS = {
    "1.2.840.10040.4.1": "DSA",
    "1.2.840.10045.2.1": "EC",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    "1.3.101.110": "X25519",
    "1.3.101.111": "X448",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
}
"""Algorithms of keys that other programs make (RFC 3279, 4055, 5480, 8410)."""

_SSH_KINDS = {b"ssh-ed25519": "Ed25519", b"ecdsa-sha2": "EC", b"ssh-dss": "DSA"}
"""The names of these algorithms in OpenSSH's own format for private keys."""

_SSH_MAGIC = b"openssh-key-v1\0"
_SSH_PLAIN = _SSH_MAGIC + b"\0\0\0\x04none"
"""How that format begins, and how it goes on if there is no passphrase."""


# -- key pairs ---------------------------------------------------------------------------------


def load_or_make_key(directory: Path, role: str, make: Callable[[], PrivateKey]) -> PrivateKey:
    """The key pair of `role` ("server" or "client") in `directory`. If there is none, `make` is
    called, which takes seconds, and its key is kept.

    Raises:
        IdentityError: the files cannot be read or written, are damaged, or other users can read
            the private one or change either. They are left as they were.
    """
    private_path = directory / f"{role}_private_key.pem"
    public_path = directory / f"{role}_public_key.pem"
    try:
        names = private_path.name, public_path.name, *keyfolder.LISTS
        files.clear(directory, names)
        if not os.path.lexists(private_path):
            _prepare(private_path)
            _create(private_path, make().rsa.export_key(pkcs=8), 0o600)
        key = _read_private_key(private_path)
        if not os.path.lexists(public_path):
            _create(public_path, key.rsa.public_key().export_key(), 0o644)
        _check_public_key(public_path, key)
    except OSError as exc:
        raise keyfolder.file_error(exc, directory) from exc
    return key


def _prepare(path: Path) -> None:
    """Make the folder, and check that a key can be kept there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not files.keeps_modes(path):
        raise keyfolder.permissions_error(path)
    keyfolder.check(path)


def _create(path: Path, pem: bytes, mode: int) -> None:
    with contextlib.suppress(FileExistsError):
        # If another program was faster, its file is used.
        files.create(path, pem + b"\n", mode, LOCK_SECONDS)


def _read_private_key(path: Path) -> PrivateKey:
    pem = keyfolder.read(path, KEY_FILE_BYTES, "private key", private=True)
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
        raise _unusable(path, pem) from exc


def _unusable(path: Path, pem: bytes) -> IdentityError:
    """The error for a file without a usable RSA key: what it is, and what helps."""
    what, hint = "damaged", "restore it from a copy, or move it away to have a new one made"
    der, marker = _decoded(pem)
    if b"ENCRYPTED" in pem:
        what, hint = "encrypted", f"openssl pkey -in {path} writes it without a passphrase"
    elif kind := _other_kind(der, marker):
        what = f"of another kind: {kind}"
        hint = "only RSA keys can be used; move it away to have one made"
    elif der.startswith(_SSH_MAGIC) and not der.startswith(_SSH_PLAIN):
        what, hint = "encrypted", f"ssh-keygen -p -f {path} removes the passphrase"
    return IdentityError(f"the private key {path} is {what}", hint)


def _decoded(pem: bytes) -> tuple[bytes, str]:
    """The bytes in a PEM file and its label; both empty if it is damaged."""
    with contextlib.suppress(ValueError, IndexError, TypeError):
        return PEM.decode(pem.decode())[:2]
    return b"", ""


def _other_kind(der: bytes, marker: str) -> str | None:
    """The algorithm of a private key that is not RSA; None if it is RSA, or no key."""
    with contextlib.suppress(ValueError, IndexError, TypeError):
        if marker == "PRIVATE KEY":
            return _OTHER_KINDS.get(PKCS8.unwrap(der)[0])
        if der.startswith(_SSH_MAGIC):
            return next((kind for name, kind in _SSH_KINDS.items() if name in der), None)
        DerSequence().decode(der, strict=True)
        return {"EC PRIVATE KEY": "EC", "DSA PRIVATE KEY": "DSA"}.get(marker)
    return None


def _import(pem: bytes) -> RSA.RsaKey:
    """The key in a file; raises ValueError, IndexError or TypeError if there is none.

    In a file of our own format the numbers must belong together. The primes are not tested again
    for being prime, which would take a large part of the start-up time.
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
    pem = keyfolder.read(path, KEY_FILE_BYTES, "public key")
    try:
        public = PublicKey.from_rsa(RSA.import_key(pem))
    except (ValueError, IndexError, TypeError) as exc:
        raise IdentityError(f"the public key {path} is damaged", hint) from exc
    if public != key.public:
        raise IdentityError(f"the public key {path} does not belong to the private one", hint)
