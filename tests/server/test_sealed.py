"""What a server can do in a sealed room: it can neither read nor speak, nor put one member's words
into another's mouth.

What is sealed under which key is in the vectors, and the proof in `docs/model/sealed.pv`. Here a
whole server runs, and whoever has taken all that it ever had tries it on all that ever passed.
"""

import contextlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from itertools import chain, combinations
from pathlib import Path

import pytest

import chat.server
from chat.client.events import Warned
from chat.contents import Kind, MessageContent
from chat.identities import encode_identity
from chat.invite import Invite
from chat.kex import RoomKey
from chat.place import Endpoint
from chat.server.members import Member
from chat.wire import Event, Message
from tests.support.helpers import key
from tests.support.loopback import Hall, Peer, dial, leave
from tests.support.taken import Passed, Taken, memory_of

DIGEST = key("server").public.digest
FRIENDS = RoomKey(bytes(range(100, 132)))
TAG = FRIENDS.at(DIGEST).tag
INVITE = Invite((Endpoint("chat.example", 9443),), DIGEST, FRIENDS.secret).encode()


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


# -- a server of which everything is taken ---------------------------------------------------------


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    return Taken(monkeypatch)


SAID = "the treasure lies under the old oak", "bring a spade", "psst: at midnight", "and a lamp"


def talk(hall: Hall, room_key: RoomKey | None) -> list[Peer]:
    """Two members talk, one is cut off and comes back, a third joins and leaves, and the two speak
    in private."""
    ira, zoe = hall.join("Ira", "ira", room_key), hall.join("Zoe", "sahnawaz", room_key)
    ira.say(SAID[0])
    hall.until(lambda: zoe.heard)
    ira.reset()
    zoe.say(SAID[1])
    hall.until(lambda: len(zoe.heard) == 2)
    ira = hall.come_back(ira)
    boris = hall.join("Boris", "other", room_key)
    leave(hall, boris)
    hall.until(lambda: len(ira.participant.members()) == 2 and ira.participant.can_send)
    (meant,) = (person for person in ira.participant.members() if person.name == "Zoe")
    ira.participant.say_direct(meant, SAID[2], 0)
    ira.say(SAID[3])
    hall.until(lambda: len(zoe.heard) == len(ira.heard) == len(SAID))
    return [ira, zoe]


def go_on(hall: Hall, peers: list[Peer]) -> None:
    """The server has died. In the next one they say again what was said a moment ago."""
    for peer in peers:
        peer.participant.disconnect()
        peer.replaced = True
    back = [
        Peer(hall.reactor, dial(hall.address), peer.name_in_room, peer.key_name, peer)
        for peer in peers
    ]
    hall._guests += back
    hall.until(lambda: all(peer.participant.can_send for peer in back))
    for peer in back:
        peer.flush()
    hall.until(lambda: not any(peer.participant.unacknowledged for peer in back))


def messages(passed: list[Passed], tag: bytes) -> list[Passed]:
    return [frame for frame in passed if frame.tag == tag and frame.type == Message.TYPE]


def test_all_that_a_server_ever_had_opens_nothing_that_was_said_in_a_sealed_room(
    taken: Taken,
) -> None:
    with contextlib.closing(Hall(rate=0)) as first:
        sealed, everybody = talk(first, FRIENDS), talk(first, None)
        memories = memory_of(first)
        shown = first.screen.lines()
        with contextlib.closing(Hall(rate=0)) as second:
            go_on(second, sealed)
            go_on(second, everybody)
            memories |= memory_of(second)
            shown += second.screen.lines()
    passed = taken.open_all()
    # In the open room the same thief opens every message, and so finds all texts.
    contents = [MessageContent.decode(each.opened or b"") for each in messages(passed, b"")]
    assert {content.kind for content in contents} == {Kind.SAY, Kind.REPEAT, Kind.DIRECT}
    texts = {content.body.decode() for content in contents if content.kind is Kind.SAY}
    assert texts == {SAID[0], SAID[1], SAID[3]}
    # Events are the server's, everywhere.
    assert all(each.opened for each in passed if each.type == Event.TYPE)
    # But of the sealed room no message opens, and there are as many of them.
    assert len(messages(passed, TAG)) == len(contents)
    assert not any(each.opened for each in messages(passed, TAG))
    # The memory was searched, for there is what the server has.
    assert {TAG, b"Ira", key("server").public.blob} <= memories
    assert any(secret.secret in memories for secret in taken.secrets)
    haystacks = [taken.bytes_passed, *memories, *(line.encode() for line in shown)]
    for secret in secrets():
        assert not any(secret in haystack for haystack in haystacks)


def secrets() -> list[bytes]:
    """The texts, the room key as it could be written, and what the invite has of it."""
    k = FRIENDS.secret
    written = [k[:16], k[16:], repr(k)[2:-1].encode(), k.hex().encode(), b64encode(k)[:-1]]
    written += [urlsafe_b64encode(k)[:-1], INVITE[-40:].encode()]
    return [*(text.encode() for text in SAID), *written]


def test_server_has_no_word_for_a_room_key() -> None:
    """It can compute no tag, and so not tell which of two keys a tag is of."""
    for module in Path(chat.server.__path__[0]).glob("*.py"):
        text = module.read_text()
        for word in ("RoomKey", "SealedRoom", "room_key", "chat.invite"):
            assert word not in text, module.name


def test_tags_of_one_key_at_two_servers_have_nothing_in_common() -> None:
    """What turns the one into the other is different for each key."""
    servers = DIGEST, key("other").public.digest
    rooms = [RoomKey(bytes([number]) * 32) for number in range(64)]
    tags = [[int.from_bytes(room.at(server).tag, "big") for server in servers] for room in rooms]
    assert len({one ^ other for one, other in tags}) == len(rooms)
    different = [(a ^ b).bit_count() for a, b in [*tags, *combinations(chain(*tags), 2)]]
    assert min(different) > 20


# -- a server that lies --------------------------------------------------------------------------


def pass_off(hall: Hall, member: str, other: str) -> None:
    """From now on newcomers are told that the number of `member` is that of `other`, and the other
    way round; each entry is proved, and the log is the same for all."""
    room = hall.server.rooms.of(TAG, "").room
    one, two = (find(room.members.values(), name) for name in (member, other))
    entries = [(m.name, m.fingerprint, m.joined_at, m._card) for m in (two, one)]
    for m, (name, fingerprint, joined_at, card) in zip((one, two), entries, strict=True):
        m._identity, m._card = encode_identity(m.id, name, fingerprint, joined_at), card


def find(members: Iterable[Member], name: str) -> Member:
    (found,) = (member for member in members if member.name == name)
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
