"""Somebody who holds the cable of one member: takes the frames of one direction, and passes on what
he likes.

Nothing of the program is known here but its frames. What he can open and seal depends on the
secrets of the room that he knows.
"""

from collections import deque
from collections.abc import Callable, Iterator
from random import Random

from chat.cipher import RandomBytes, sealed_bytes
from chat.contents import Kind, MessageContent
from chat.errors import OpenError, ProtocolError, Reason
from chat.identities import RosterEntry
from chat.kex import RoomKey, RoomSecret
from chat.limits import ORIGIN_BYTES
from chat.roomevents import Closing, Joined, Left, Notice, RoomEvent
from chat.wire import ROOM_HEADER_BYTES, Event, Link, Message, RoomHeader, room_header, room_headers
from tests.support.helpers import open_frame

FORGED = "<forged>"
"""What he puts into others' mouths."""

Secrets = Callable[[], dict[int, bytes]]
"""The secrets of the room that he knows at the moment, by their epochs."""


class Enemy:
    """One direction of one cable. `frames` is asked for each frame what is to be passed on for it.
    A frame is passed on when it is whole."""

    def __init__(
        self,
        trick: str,
        random: Random,
        random_bytes: RandomBytes,
        secrets: Secrets,
        room_key: RoomKey | None,
        proof_of: Callable[[int], bytes],
    ) -> None:
        """`room_key` is that of a sealed room, and `proof_of` says what its members have shown.
        They are of no use without the secrets."""
        self._do = getattr(self, f"_{trick}")
        self._random = random
        self._random_bytes = random_bytes
        self._secrets = secrets
        self._room_key = room_key
        self._proof_of = proof_of
        self._rest = b""
        self._held: deque[bytes] = deque()
        self._last: dict[int, RoomHeader] = {}
        self._said: dict[int, MessageContent] = {}

    def pass_on(self, data: bytes) -> bytes:
        """What goes on when this arrives."""
        self._rest += data
        passed = b""
        while len(self._rest) > 2 and len(self._rest) >= (
            end := 2 + int.from_bytes(self._rest[:2], "big")
        ):
            frame, self._rest = self._rest[:end], self._rest[end:]
            self._look_into(frame)
            passed += self._do(frame) if self._random.random() < 0.4 else frame
        return passed

    def let_go(self) -> bytes:
        """He is gone. This is what he had not passed on yet."""
        return b"".join(self._held) + self._rest

    def _look_into(self, frame: bytes) -> None:
        if len(frame) <= ROOM_HEADER_BYTES or frame[2] not in (Message.TYPE, Event.TYPE):
            return
        (header,) = room_headers(frame[2], frame)
        self._last[header.sender] = header
        secret = self._secrets().get(header.epoch)
        if frame[2] == Message.TYPE and secret is not None:
            key = RoomSecret(secret).message_key(self._room_key)
            try:
                data = open_frame(key, frame, self._proof_of(header.sender))
                self._said[header.sender] = MessageContent.decode(data)
            except (OpenError, ProtocolError):
                pass

    # -- without keys

    def _drop(self, _frame: bytes) -> bytes:
        return b""

    def _mute(self, frame: bytes) -> bytes:
        """Leaves out what the others say, and passes on what is on the link."""
        return b"" if frame[2:3] == bytes((Message.TYPE,)) else frame

    def _repeat(self, frame: bytes) -> bytes:
        return frame + frame

    def _swap(self, frame: bytes) -> bytes:
        self._held.append(frame)
        if len(self._held) < 2:
            return b""
        frames = list(self._held)
        self._held.clear()
        return b"".join(reversed(frames))

    def _flip(self, frame: bytes) -> bytes:
        # Behind what was truncated anything may pass for a frame, also an empty one.
        at = self._random.randrange(2, len(frame)) if len(frame) > 2 else 0
        return frame[:at] + bytes((frame[at] ^ 1 << self._random.randrange(8),)) + frame[at + 1 :]

    def _truncate(self, frame: bytes) -> bytes:
        return frame[: self._random.randrange(len(frame))]

    def _inject(self, frame: bytes) -> bytes:
        """Junk; where he has seen who speaks, under the number that is next."""
        kinds = [b"\0\0", b"\0\1\x7f", Link(self._random_bytes(128)).to_wire()]
        for sender, header in self._last.items():
            kind = Message if sender else Event
            junk = kind(header.epoch, sender, header.seq + 1, self._random_bytes(128))
            kinds += 2 * [junk.to_wire()]
        return frame + self._random.choice(kinds)

    # -- with keys

    def _forge(self, frame: bytes) -> bytes:
        """A frame that opens, as another member or as the server."""
        return frame + self._random.choice([*self._forgeries()] or [b""])

    def _forgeries(self) -> Iterator[bytes]:
        for epoch, secret in self._secrets().items():
            for sender, header in self._last.items():
                seq = header.seq + 1
                if sender:
                    said = self._said.get(sender)
                    for number in (seq, 2**64 - 1, said.number + 1 if said else seq):
                        origin = said.origin if said else bytes(ORIGIN_BYTES)
                        content = MessageContent(Kind.SAY, 7, origin, number, FORGED.encode())
                        key = RoomSecret(secret).message_key(self._room_key)
                        yield self._seal(
                            Message.TYPE, key.seal, epoch, sender, seq, content.encode()
                        )
                    continue
                for event in self._events():
                    key = RoomSecret(secret).event_key()
                    yield self._seal(Event.TYPE, key.seal, epoch, 0, seq, event.encode())

    def _events(self) -> Iterator[RoomEvent]:
        yield Notice("forged")
        yield Closing()
        yield Left(())
        yield Joined((RosterEntry(999, 0, "forged", bytes(32)),))
        for member in self._last:
            yield Left(((member, Reason.LEFT),))

    def _seal(
        self,
        kind: int,
        seal: Callable[[bytes, bytes, RandomBytes], bytes],
        epoch: int,
        sender: int,
        seq: int,
        content: bytes,
    ) -> bytes:
        header = room_header(kind, epoch, sender, seq, sealed_bytes(len(content)))
        bound = self._proof_of(sender) if kind == Message.TYPE else b""
        return header + seal(header + bound, content, self._random_bytes)


TRICKS = ("drop", "mute", "repeat", "swap", "swap", "swap", "flip", "truncate", "inject")
TRICKS_WITH_KEYS = (*TRICKS, "forge", "forge", "forge", "forge")
