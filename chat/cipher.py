"""Sealing: AES-256 in CFB mode, then HMAC-SHA-256; and the two directions of a link.

There is one construction for everything that is sealed (PROTOCOL 3): encrypt-then-MAC, a fresh IV
each time, padded plaintext, and the same error whatever is wrong. This module does not know what
the sealed bytes mean, nor where keys come from.
"""

import hmac
from collections.abc import Callable, Sequence

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
_SEGMENT_BYTES = 16
_ANY_IV = bytes(IV_BYTES)


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
        whole = iv + self._aes(iv).encrypt(pad(plaintext))
        return whole + self._tag(associated, whole)

    def open(self, associated: bytes, sealed: bytes, stream: CfbMode | None = None) -> bytes:
        """The plaintext that was sealed with the same key and `associated`. `stream`: a cipher
        object with which many are opened (`stream`).

        Raises:
            OpenError: it was sealed with something else, or changed since.
        """
        if not self._is_whole(associated, sealed):
            raise OpenError
        if stream is None:
            return unpad(self._aes(sealed[:IV_BYTES]).decrypt(sealed[IV_BYTES:-TAG_BYTES]))
        return unpad(_decrypt_next(stream, sealed[:-TAG_BYTES])[IV_BYTES:])

    def stream(self) -> CfbMode:
        """A cipher object with which to `open` one thing after the other: to make one for each
        costs more than all the rest."""
        return self._aes(_ANY_IV)

    # Many at once
    #
    # To make a cipher object costs more than all the rest of a short message. In CFB the keystream
    # of a segment follows from the ciphertext before it, and from nothing else (SP 800-38A, 6.3).
    # So behind an IV a cipher is where it would be if it had begun with it, and one object can take
    # all of them as one stream, each from a whole segment on. For sealing the stream has random
    # bytes where an IV is to be: enciphered they are as random, and are the IV.

    def seal_all(
        self, plaintexts: Sequence[tuple[bytes, bytes]], random_bytes: RandomBytes
    ) -> list[bytes]:
        """What `seal` makes of each pair of associated data and plaintext, at the cost of little
        more than one."""
        if not plaintexts:
            return []
        ivs = random_bytes(IV_BYTES * len(plaintexts))
        stream: list[bytes] = []
        ends: list[int] = []
        end = 0
        for at, (_, plaintext) in enumerate(plaintexts):
            padded = pad(plaintext)
            stream += ivs[at * IV_BYTES : (at + 1) * IV_BYTES], padded, _fill(len(padded))
            ends.append(end + IV_BYTES + len(padded))
            end = ends[-1] + len(stream[-1])
        first = stream.pop(0)
        enciphered = first + self._aes(first).encrypt(b"".join(stream))
        sealed, begin = [], 0
        for (associated, _), end in zip(plaintexts, ends, strict=True):
            whole = enciphered[begin:end]
            sealed.append(whole + self._tag(associated, whole))
            begin = end + -end % _SEGMENT_BYTES
        return sealed

    def open_all(self, sealed: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        """What `open` makes of each pair of associated data and sealed, at the cost of little more
        than one; None where it raises OpenError."""
        stream: list[bytes] = []
        ends: list[int | None] = []
        end = 0
        for associated, each in sealed:
            if not self._is_whole(associated, each):
                ends.append(None)
                continue
            stream += each, _fill(len(each))
            ends.append(end + len(each))
            end += len(each) + len(stream[-1])
        deciphered = self._aes(_ANY_IV).decrypt(b"".join(stream)) if stream else b""
        return [
            None
            if end is None
            else _unpadded(deciphered[end - len(each) + IV_BYTES : end - TAG_BYTES])
            for (_, each), end in zip(sealed, ends, strict=True)
        ]

    # The library's default segment is 8 bits: another mode, and 15 times slower.
    def _aes(self, iv: bytes) -> CfbMode:
        return AES.new(self.cipher, AES.MODE_CFB, iv=iv, segment_size=8 * _SEGMENT_BYTES)

    def _tag(self, associated: bytes, whole: bytes) -> bytes:
        """The tag over IV and ciphertext."""
        covered = len(associated).to_bytes(8, "big") + associated + whole
        return hmac.digest(self.mac, covered, "sha256")[:TAG_BYTES]

    def _is_whole(self, associated: bytes, sealed: bytes) -> bool:
        """Whether this was sealed with the same key and `associated`, and has not changed."""
        if len(sealed) < MIN_SEALED_BYTES:
            return False
        tag = self._tag(associated, sealed[:-TAG_BYTES])
        return hmac.compare_digest(sealed[-TAG_BYTES:], tag)


def _fill(size: int) -> bytes:
    """What is missing of the last segment behind so many bytes."""
    return bytes(-size % _SEGMENT_BYTES)


def _decrypt_next(stream: CfbMode, data: bytes) -> bytes:
    """What follows in the stream of a cipher object that opens one thing after the other; see "Many
    at once" in `SealingKey`. The next one has to begin with a segment."""
    return stream.decrypt(data + _fill(len(data)))[: len(data)]


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
    plaintext = _unpadded(padded)
    if plaintext is None:
        raise OpenError
    return plaintext


def _unpadded(padded: bytes) -> bytes | None:
    plaintext = padded.rstrip(b"\0")
    if not plaintext.endswith(_PAD_MARK) or len(padded) != padded_bytes(len(plaintext)):
        return None
    return plaintext[:-1]


class LinkCipher:
    """The two sealed directions between one client and its server.

    Each seal covers the type of the frame and a counter. Both ends keep the counter, and it never
    travels. So a frame that was replayed, left out or put out of order does not open, and neither
    does any frame after one that was sealed and never sent.

    The key of a direction may be replaced by one that follows from it; both ends do so behind the
    same frame, and count from 0 again. Whoever gets hold of the new key cannot open what was sealed
    under the old one.

    A direction in which more than one frame comes keeps a cipher object (`SealingKey.stream`) until
    `rest`.
    """

    __slots__ = ("_receive_key", "_received", "_send_key", "_sent", "_stream")

    def __init__(self, send_key: SealingKey, receive_key: SealingKey) -> None:
        self._send_key = send_key
        self._receive_key = receive_key
        self._sent = 0
        self._received = 0
        self._stream: CfbMode | None = None

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
        key = self._receive_key
        if self._stream is None and self._received:
            self._stream = key.stream()
        plaintext = key.open(_bound_to(frame_type, self._received), sealed, self._stream)
        self._received += 1
        return plaintext

    def rest(self) -> None:
        """Hardly anything comes from the peer for now: keep no more memory than is needed."""
        self._stream = None

    def step_sending(self, step: Callable[[SealingKey], SealingKey]) -> None:
        """Replace the key of our direction by the one that follows."""
        self._send_key, self._sent = step(self._send_key), 0

    def step_receiving(self, step: Callable[[SealingKey], SealingKey]) -> None:
        """Replace the key of the peer's direction by the one that follows."""
        self._receive_key, self._received = step(self._receive_key), 0
        self._stream = None


def _bound_to(frame_type: int, counter: int) -> bytes:
    return bytes((frame_type,)) + counter.to_bytes(8, "big")
