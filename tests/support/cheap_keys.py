"""Cheap stand-ins for RSA and X25519, for simulations: bound to their keys like the real ones, and
protecting nothing. What is sealed with the keys that come of it stays real."""

import hashlib
import hmac
from contextlib import ExitStack
from typing import cast
from unittest import mock

from Cryptodome.PublicKey import RSA

from chat import kex
from chat.cipher import RandomBytes
from chat.errors import OpenError, ProtocolError
from chat.kex import KeyShare, PrivateKey, PublicKey, SignedShare
from chat.limits import SESSION_KEY_BYTES, SHARE_SECONDS, SHARE_SKEW_SECONDS, X25519_BYTES

_PRIME = 2**255 - 19
_LABEL_PUBLIC = b"\x00\x00\x00\x07ssh-rsa of "
"""It begins as a key does on the list of those that may come in."""


def cheap_key(name: str) -> PrivateKey:
    """A key pair of this name. Nothing is left to do for an RSA key."""
    return PrivateKey(cast(RSA.RsaKey, None), PublicKey(_LABEL_PUBLIC + name.encode()))


def _seed_of(public: PublicKey) -> bytes:
    if not public.blob.startswith(_LABEL_PUBLIC):
        raise ProtocolError("the public key cannot be read")
    return public.blob.removeprefix(_LABEL_PUBLIC)


def _wrap(self: PublicKey, session_key: bytes, random_bytes: RandomBytes) -> bytes:
    salt = random_bytes(16)
    tag = hmac.digest(_seed_of(self), salt + session_key, "sha256")
    return (salt + session_key + tag).ljust(384, b"\0")


def _unwrap(self: PrivateKey, wrapped: bytes) -> bytes:
    end = 16 + SESSION_KEY_BYTES
    if hmac.digest(_seed_of(self.public), wrapped[:end], "sha256") != wrapped[end : end + 32]:
        raise OpenError
    return wrapped[16:end]


def _sign(public: PublicKey, share: bytes, not_after: int) -> bytes:
    signed = share + not_after.to_bytes(8, "big")
    return hmac.digest(_seed_of(public), signed, "sha256").ljust(384, b"\0")


def _make_offer(key: PrivateKey, wall_clock: float, random_bytes: RandomBytes) -> SignedShare:
    share = CheapShare(random_bytes)
    not_after = int(wall_clock) + SHARE_SECONDS
    signature = _sign(key.public, share.public, not_after)
    return SignedShare(cast(KeyShare, share), not_after, signature, key.public)


def _check_offer(
    share: bytes, not_after: int, signature: bytes, server_key: PublicKey, wall_clock: float
) -> None:
    if (
        signature != _sign(server_key, share, not_after)
        or wall_clock > not_after + SHARE_SKEW_SECONDS
    ):
        raise ProtocolError("the server's signature is not valid")


class CheapShare:
    """Diffie and Hellman in a group where it costs next to nothing."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._private = int.from_bytes(random_bytes(4), "big") + 2
        self.public = pow(3, self._private, _PRIME).to_bytes(X25519_BYTES, "big")

    def agree(self, peer: bytes) -> bytes:
        return pow(int.from_bytes(peer, "big"), self._private, _PRIME).to_bytes(X25519_BYTES, "big")


def derive(material: bytes, salt: bytes, label: bytes, size: int) -> bytes:
    """HKDF-SHA-256 like `chat.kex.derive`, several times as fast."""
    pseudorandom = hmac.digest(salt or bytes(32), material, "sha256")
    derived = block = b""
    for number in range(1, -(-size // 32) + 1):
        block = hmac.digest(pseudorandom, block + label + bytes((number,)), "sha256")
        derived += block
    return derived[:size]


def patch_keys(stack: ExitStack) -> None:
    """Put the stand-ins in the place of the real ones."""
    for target, name, stand_in in (
        (PublicKey, "wrap", _wrap),
        (kex, "check_offer", _check_offer),
        (kex, "KeyShare", CheapShare),
        (kex, "derive", derive),
        (PrivateKey, "unwrap", _unwrap),
        (SignedShare, "make", staticmethod(_make_offer)),
    ):
        stack.enter_context(mock.patch.object(target, name, stand_in))


def fingerprint_of(name: str) -> bytes:
    """The digest of `cheap_key(name)`."""
    return hashlib.sha256(_LABEL_PUBLIC + name.encode()).digest()
