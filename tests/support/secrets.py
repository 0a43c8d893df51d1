"""Every form in which the key of a room could show, to be looked for in whatever was written.

A form is cut into overlapping pieces, so that half a key is found, too.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import AnyStr

from chat.invite import Invite
from chat.limits import FINGERPRINT_BYTES

PIECE_CHARS = 12
"""Of base64; other forms are cut so that a piece holds as much of the key."""

_PIECE_BYTES = 3 * PIECE_CHARS // 4
_SECRET_AT = 4 * (1 + FINGERPRINT_BYTES) // 3
"""Where in the last part of an invite the room's key begins."""


class Secret:
    """What must not be seen of an invite."""

    def __init__(self, invite: str) -> None:
        self._pieces = frozenset(_pieces(invite.strip()))

    def found_in(self, data: bytes | str) -> set[bytes]:
        """The pieces that stand in there, be it with line ends or blanks between."""
        data = data if isinstance(data, bytes) else data.encode(errors="surrogateescape")
        flat = b"".join(data.split())
        return {piece for piece in self._pieces if piece in data or piece in flat}


def _pieces(invite: str) -> Iterator[bytes]:
    secret = Invite.decode(invite).room_key
    texts = [invite.rpartition("/")[2][_SECRET_AT:]]
    for encode in (b64encode, urlsafe_b64encode):
        texts += (_base64(encode(bytes(before) + secret), before) for before in range(3))
    for text in texts:
        yield from (piece.encode() for piece in _windows(text, PIECE_CHARS))
    for window in _windows(secret, _PIECE_BYTES):
        yield window
        yield repr(window)[2:-1].encode()
        yield ",".join(map(str, window)).encode()
        yield window.hex().encode()
        yield window.hex().upper().encode()


def _base64(encoded: bytes, before: int) -> str:
    """The characters that follow from the key alone, where so many bytes stand before it."""
    start = -(-before * 4 // 3)
    return encoded.decode().rstrip("=")[start:-1]


def _windows(text: AnyStr, size: int) -> Iterator[AnyStr]:
    return (text[at : at + size] for at in range(len(text) - size + 1))
