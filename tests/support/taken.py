"""Whoever has taken all that a server ever had, tries it on all that ever passed, and looks through
its memory."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from types import FunctionType, ModuleType
from typing import TypeVar

import pytest

from chat.cipher import SealingKey
from chat.controls import Submit, decode_control
from chat.errors import OpenError
from chat.identities import ClientIdentity
from chat.kex import LinkKeys, RoomKey, RoomSecret, SignedShare, handshake_keys, next_link_key
from chat.wire import Event, Link, Message, Pubkey, decode_frame
from tests.support.helpers import frames_of, open_frame
from tests.support.loopback import Hall, Wire

T = TypeVar("T")

STEPS = 6
"""So many joins in a row, at most, does the thief look for."""

FRAMES = 40
"""So many frames, at most, under one key of a link."""


@dataclass
class Passed:
    """A frame of a room that passed the server; `opened` is what is in it, if it can be opened."""

    tag: bytes
    type: int
    opened: bytes | None


class Taken:
    """All keys of the servers that run from now on, and all bytes that go through their sockets."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.links: list[LinkKeys] = []
        self.secrets: list[RoomSecret] = []
        self.shares: list[SignedShare] = []
        self._taps: dict[Wire, tuple[bytearray, bytearray]] = {}
        """What went to the server and what came from it, for each connection."""
        self.identities: list[ClientIdentity] = []
        for_server = LinkKeys.for_server

        def noted(keys: LinkKeys) -> object:
            self.links.append(keys)
            return for_server(keys)

        patch.setattr(LinkKeys, "for_server", noted)
        # Only servers call these.
        patch.setattr(RoomSecret, "fresh", _noting(self.secrets, RoomSecret.fresh))
        patch.setattr(SignedShare, "make", _noting(self.shares, SignedShare.make))
        # What passes at the peer's end of a connection passes at the server's.
        patch.setattr(Wire, "send", self._tap(Wire.send, 0))
        patch.setattr(Wire, "take", self._tap(Wire.take, 1))

    def _tap(self, carry: Callable[[Wire, bytes], None], way: int) -> Callable[[Wire, bytes], None]:
        def carry_and_note(end: Wire, data: bytes) -> None:
            self._taps.setdefault(end, (bytearray(), bytearray()))[way].extend(data)
            carry(end, data)

        return carry_and_note

    @property
    def bytes_passed(self) -> bytes:
        return b"".join(data for both in self._taps.values() for data in both)

    def open_all(self) -> list[Passed]:
        """All frames of rooms that passed. Whatever is on a link opens, otherwise this fails."""
        clients = [self._open_links(bytes(up), bytes(down)) for up, down in self._taps.values()]
        self.identities = [identity for identity, _ in clients]
        keys = self._room_keys()
        passed = {frame for _, frames in clients for _, frame in frames}
        opened = {frame: self._opened(keys, frame) for frame in passed}
        return [
            Passed(identity.tag, frame_type, opened[frame])
            for identity, frames in clients
            for frame_type, frame in frames
        ]

    def _open_links(self, up: bytes, down: bytes) -> tuple[ClientIdentity, list[tuple[int, bytes]]]:
        """Who came on a connection, and the frames of the room that passed on it."""
        (_, hello), (_, first) = frames_of(down)[0], frames_of(up)[0]
        pubkey = decode_frame(first)
        assert isinstance(pubkey, Pubkey)
        (signed,) = (made for made in self.shares if made.share.public in hello)
        keys = handshake_keys(signed.share.agree(pubkey.share), hello, pubkey.share)
        data = keys.client.open(bytes((Pubkey.TYPE,)) + bytes(8), pubkey.sealed)
        found: list[tuple[int, bytes]] = []
        for frame_type, frame in frames_of(up + down):
            if frame_type == Link.TYPE:
                found += self._submitted(frame)
            elif frame_type in (Message.TYPE, Event.TYPE):
                found.append((frame_type, frame))
        return ClientIdentity.decode(data), found

    def _submitted(self, frame: bytes) -> list[tuple[int, bytes]]:
        link = decode_frame(frame)
        assert isinstance(link, Link)
        for keys in self.links:
            for key in (keys.client, *_chain(next_link_key, keys.server)):
                for count in range(FRAMES):
                    with contextlib.suppress(OpenError):
                        bound = bytes((Link.TYPE,)) + count.to_bytes(8, "big")
                        control = decode_control(key.open(bound, link.sealed))
                        return frames_of(control.run) if isinstance(control, Submit) else []
        raise AssertionError("what is on a link does not open")

    def _room_keys(self) -> list[SealingKey]:
        """All that the server has, or could derive with what it has in place of the room key."""
        known = [bytes(32), *(part for who in self.identities for part in _parts(who))]
        instead = [None, *map(RoomKey, {data for part in known for data in (part, part[:32])})]
        secrets = [secret for first in self.secrets for secret in _chain(RoomSecret.step, first)]
        of_room = {
            key
            for secret in secrets
            for guess in instead
            for key in (secret.message_key(guess), secret.repeat_key(guess))
        }
        events = {secret.event_key() for secret in secrets}
        of_links = (key for link in self.links for key in (link.client, link.server))
        return [*of_room, *events, *of_links]

    def _opened(self, keys: list[SealingKey], frame: bytes) -> bytes | None:
        proofs = {identity.card.proof for identity in self.identities}
        for bound in {b"", *proofs}:
            for key in keys:
                with contextlib.suppress(OpenError):
                    return open_frame(key, frame, bound)
        return None


def _noting(into: list[T], make: Callable[..., T]) -> Callable[..., T]:
    def make_and_note(*arguments: object) -> T:
        into.append(make(*arguments))
        return into[-1]

    return make_and_note


def _chain(follow: Callable[[T], T], first: T) -> Iterator[T]:
    """What follows from the first, and from that, and so on."""
    return accumulate(range(STEPS), lambda at, _: follow(at), initial=first)


def _parts(identity: ClientIdentity) -> tuple[bytes, ...]:
    card = identity.card
    return identity.tag, card.proof, card.share, identity.public_key, identity.name.encode()


def memory_of(hall: Hall) -> set[bytes]:
    """All bytes and texts that can be reached from the server, and not by way of its guests."""
    found, seen, waiting = set[bytes](), set[int](), [hall.server, hall.console]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | Wire | Hall):
            continue
        seen.add(id(thing))
        if isinstance(thing, bytes | bytearray | str):
            found.add(thing.encode(errors="replace") if isinstance(thing, str) else bytes(thing))
        elif isinstance(thing, FunctionType):
            # Its globals are the program's, and the tests'.
            waiting += [*(thing.__closure__ or ()), *(thing.__defaults__ or ())]
        else:
            waiting += gc.get_referents(thing)
    return found
