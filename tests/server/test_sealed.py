"""What a server can do in a sealed room: neither read nor speak, nor put one member's words into
another's mouth."""

import contextlib
from collections.abc import Iterator

import pytest

from chat.client.events import Warned
from chat.kex import RoomKey
from chat.messages import encode_identity
from chat.server.room import Member
from tests.support.helpers import key
from tests.support.loopback import Hall, Peer

FRIENDS = RoomKey(bytes(range(32)))
TAG = FRIENDS.at(key("server").public.digest).tag


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


# -- a server that lies --------------------------------------------------------------------------


def pass_off(hall: Hall, member: str, other: str) -> None:
    """From now on newcomers are told that the number of `member` is that of `other`, and the other
    way round; each entry is proved, and the log is the same for all."""
    room = hall.server.rooms.of(TAG).room
    one, two = (find(room.members.values(), name) for name in (member, other))
    entries = [(m.name, m.fingerprint, m.joined_at, m._card) for m in (two, one)]
    for m, (name, fingerprint, joined_at, card) in zip((one, two), entries, strict=True):
        m._identity, m._card = encode_identity(m.id, name, fingerprint, joined_at), card


def find(members: object, name: str) -> Member:
    (found,) = (member for member in members if member.name == name)  # type: ignore[attr-defined]
    assert isinstance(found, Member)
    return found


def warnings(peer: Peer) -> list[str]:
    return [event.text for event in peer.events if isinstance(event, Warned)]


def test_server_that_swaps_two_members_puts_no_word_into_anothers_mouth(hall: Hall) -> None:
    ira, boris = hall.join("Ira", "ira", FRIENDS), hall.join("Boris", "other", FRIENDS)
    pass_off(hall, "Ira", "Boris")
    zoe = hall.join("Zoe", "sahnawaz", FRIENDS)
    ira.say("lend him nothing")
    hall.until(lambda: boris.heard and ira.heard)
    hall.until(lambda: zoe.heard or warnings(zoe))
    assert zoe.heard == []
    assert warnings(zoe) == ["Boris: a message could not be opened, and was dropped"]
    assert boris.heard == ["Ira: lend him nothing"]
