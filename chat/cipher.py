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
        end = len(sealed) - TAG_BYTES
        if stream is None:
            return unpad(self._aes(sealed[:IV_BYTES]).decrypt(sealed[IV_BYTES:end]))
        return unpad(stream.decrypt(sealed[:end] + _fill(end))[IV_BYTES:end])

    # Many with one cipher object
    #
    # To make a cipher object costs more than all the rest of a short message. In CFB the keystream
    # of a segment follows from the ciphertext before it, and from nothing else (SP 800-38A, 6.3).
    # So behind an IV a cipher object is where it would be if it had begun with that IV. One object
    # can take many sealed things as one stream, each of which begins with a whole segment. For
    # sealing, the stream has random bytes where an IV is to be: enciphered they are as random, and
    # are the IV.
    #
    # What is there at once is taken in one call, at two thirds of what one call for each costs
    # (`seal_all`, `open_all`). What comes one by one is opened with an object that is kept.

    def stream(self) -> CfbMode:
        """A cipher object with which to `open` one thing after the other."""
        return self._aes(_ANY_IV)

    def seal_all(
        self, plaintexts: Sequence[tuple[bytes, bytes]], random_bytes: RandomBytes
    ) -> list[bytes]:
        """What `seal` makes of each pair of associated data and plaintext, at the cost of little
        more than one."""
        if not plaintexts:
            return []
        ivs = random_bytes(IV_BYTES * len(plaintexts))
        begins = range(0, len(ivs), IV_BYTES)
        stream, places = _in_segments(
            [
                ivs[begin : begin + IV_BYTES] + pad(plaintext)
                for begin, (_, plaintext) in zip(begins, plaintexts, strict=True)
            ]
        )
        first = stream[:IV_BYTES]
        enciphered = first + self._aes(first).encrypt(stream[IV_BYTES:])
        sealed = []
        for (associated, _), (begin, end) in zip(plaintexts, places, strict=True):
            whole = enciphered[begin:end]
            sealed.append(whole + self._tag(associated, whole))
        return sealed

    def open_all(self, sealed: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        """What `open` makes of each pair of associated data and sealed, at the cost of little more
        than one; None where it raises OpenError."""
        stream, places = _in_segments(
            [each if self._is_whole(associated, each) else b"" for associated, each in sealed]
        )
        deciphered = self._aes(_ANY_IV).decrypt(stream) if stream else b""
        return [
            _unpadded(deciphered[begin + IV_BYTES : end - TAG_BYTES]) if begin < end else None
            for begin, end in places
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


def _in_segments(parts: list[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    """These one behind the other, each from a whole segment on; and where each begins and ends."""
    stream: list[bytes] = []
    places: list[tuple[int, int]] = []
    begin = 0
    for part in parts:
        end = begin + len(part)
        fill = _fill(end)
        stream += part, fill
        places.append((begin, end))
        begin = end + len(fill)
    return b"".join(stream), places


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
        """Hardly anything comes from the peer at the moment: keep no more memory than is needed."""
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
