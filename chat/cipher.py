"""Sealing: AES-256 in CFB mode, then HMAC-SHA-256; and the two directions of a link.

There is one construction for everything that is sealed (PROTOCOL 3): encrypt-then-MAC, a fresh IV
each time, padded plaintext, and the same error whatever is wrong. This module does not know what
the sealed bytes mean, nor where keys come from.
"""

import hmac
from collections.abc import Callable

from Cryptodome.Cipher import AES
from Cryptodome.Cipher._mode_cfb import CfbMode

from chat.errors import OpenError
from chat.frozen import field, frozen
from chat.limits import MIN_PADDED_BYTES

RandomBytes = Callable[[int], bytes]
"""A source of random bytes: `os.urandom`, or in tests and vectors a fixed one."""

CIPHER_KEY_BYTES = 32
MAC_KEY_BYTES = 32
SEALING_KEY_BYTES = CIPHER_KEY_BYTES + MAC_KEY_BYTES
IV_BYTES = 16
TAG_BYTES = 16
OVERHEAD_BYTES = IV_BYTES + TAG_BYTES
MIN_SEALED_BYTES = OVERHEAD_BYTES + MIN_PADDED_BYTES

_PAD_MARK = b"\x80"


@frozen
class SealingKey:
    """A cipher key and a MAC key that belong together."""

    cipher: bytes = field(shown=False)
    mac: bytes = field(shown=False)

    @classmethod
    def from_bytes(cls, material: bytes) -> "SealingKey":
        """The first 32 bytes of `material` are the cipher's key, the last 32 the MAC's."""
        assert len(material) == SEALING_KEY_BYTES
        return cls(material[:CIPHER_KEY_BYTES], material[CIPHER_KEY_BYTES:])

    def seal(self, associated: bytes, plaintext: bytes, random_bytes: RandomBytes) -> bytes:
        """Seal `plaintext`, binding it to `associated`, as IV ‖ ciphertext ‖ tag (PROTOCOL 3.1)."""
        iv = random_bytes(IV_BYTES)
        ciphertext = self._aes(iv).encrypt(pad(plaintext))
        return b"".join((iv, ciphertext, self._tag(associated, iv, ciphertext)))

    def open(self, associated: bytes, sealed: bytes) -> bytes:
        """The plaintext that was sealed with the same key and `associated`.

        Raises:
            OpenError: it was sealed with something else, or changed since.
        """
        if len(sealed) < MIN_SEALED_BYTES:
            raise OpenError
        iv, ciphertext, tag = sealed[:IV_BYTES], sealed[IV_BYTES:-TAG_BYTES], sealed[-TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(associated, iv, ciphertext)):
            raise OpenError
        return unpad(self._aes(iv).decrypt(ciphertext))

    # The library's default segment is 8 bits: another mode, and 15 times slower.
    def _aes(self, iv: bytes) -> CfbMode:
        return AES.new(self.cipher, AES.MODE_CFB, iv=iv, segment_size=128)

    def _tag(self, associated: bytes, iv: bytes, ciphertext: bytes) -> bytes:
        covered = b"".join((len(associated).to_bytes(8, "big"), associated, iv, ciphertext))
        return hmac.digest(self.mac, covered, "sha256")[:TAG_BYTES]


def padded_bytes(size: int) -> int:
    """The size to which `size` bytes are padded: at least 64, and above that PADMÉ (Nikitin et al.,
    PETS 2019, algorithm 1), which leaks O(log log size) bits and adds at most 12 %."""
    size = max(size, MIN_PADDED_BYTES)
    exponent = size.bit_length() - 1
    kept_bits = exponent.bit_length()
    mask = (1 << (exponent - kept_bits)) - 1
    return (size + mask) & ~mask


def sealed_bytes(size: int) -> int:
    """The size in bytes of a sealed plaintext of `size` bytes."""
    return OVERHEAD_BYTES + padded_bytes(size + 1)


def pad(plaintext: bytes) -> bytes:
    """`plaintext`, a byte 0x80, and zeros up to `padded_bytes` (ISO/IEC 7816-4)."""
    return (plaintext + _PAD_MARK).ljust(padded_bytes(len(plaintext) + 1), b"\0")


def unpad(padded: bytes) -> bytes:
    """The plaintext that was given to `pad`.

    Raises:
        OpenError: `pad` does not make these bytes.
    """
    plaintext = padded.rstrip(b"\0")
    if not plaintext.endswith(_PAD_MARK) or len(padded) != padded_bytes(len(plaintext)):
        raise OpenError
    return plaintext[:-1]


class LinkCipher:
    """The two sealed directions between one client and its server.

    Each seal covers the type of the frame and a counter. Both ends keep the counter, and it never
    travels. So a frame that was replayed, left out or put out of order does not open, and neither
    does any frame after one that was sealed and never sent.

    The key of a direction may be replaced by one that follows from it; both ends do so behind the
    same frame, and count from 0 again. Whoever gets hold of the new key cannot open what was sealed
    under the old one.
    """

    __slots__ = ("_receive_key", "_received", "_send_key", "_sent")

    def __init__(self, send_key: SealingKey, receive_key: SealingKey) -> None:
        self._send_key = send_key
        self._receive_key = receive_key
        self._sent = 0
        self._received = 0

    def seal(self, frame_type: int, plaintext: bytes, random_bytes: RandomBytes) -> bytes:
        """Seal the next frame of our direction."""
        sealed = self._send_key.seal(_bound_to(frame_type, self._sent), plaintext, random_bytes)
        self._sent += 1
        return sealed

    def open(self, frame_type: int, sealed: bytes) -> bytes:
        """Open the next frame of the peer's direction.

        Raises:
            OpenError: this is not the frame that the peer sealed next.
        """
        plaintext = self._receive_key.open(_bound_to(frame_type, self._received), sealed)
        self._received += 1
        return plaintext

    def step_sending(self, step: Callable[[SealingKey], SealingKey]) -> None:
        """Replace the key of our direction by the one that follows."""
        self._send_key, self._sent = step(self._send_key), 0

    def step_receiving(self, step: Callable[[SealingKey], SealingKey]) -> None:
        """Replace the key of the peer's direction by the one that follows."""
        self._receive_key, self._received = step(self._receive_key), 0


def _bound_to(frame_type: int, counter: int) -> bytes:
    return bytes((frame_type,)) + counter.to_bytes(8, "big")
