"""Many rooms at one server: which there are, who hears what, and what is left of them."""

import contextlib
from collections.abc import Iterator

import pytest

from chat import limits
from chat.client.events import MessageReceived
from chat.errors import IdentityError, Reason
from chat.frozen import replace
from chat.kex import RoomKey, SealedRoom
from chat.server import words
from chat.server.lists import Failed, InMemory, Trouble, Unreadable
from chat.server.rooms import OPEN_ROOM, ListedTags, RoomRules
from tests.support.helpers import key
from tests.support.loopback import Company, Hall, Peer, leave

FRIENDS = RoomKey(bytes(range(32)))
OTHERS = RoomKey(bytes(range(1, 33)))
TAG = FRIENDS.at(key("server").public.digest).tag


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


FULL = "this server has no place for another room"


def numbered(number: int) -> RoomKey:
    """The key of another room for each number."""
    return RoomKey(bytes([number]) * 32)


def rooms_at(hall: Hall) -> list[bytes]:
    return [room.tag for room in hall.server.rooms]


def refused(hall: Hall, peer: Peer) -> Reason:
    """Why a peer is not let in."""
    end = hall.farewell_to(peer)
    assert not peer.participant.has_joined
    return end.reason


def test_what_is_said_in_a_room_is_heard_there_and_nowhere_else(hall: Hall) -> None:
    company = Company(hall)
    ira, zoe = hall.join("Ira", "ira", FRIENDS), hall.join("Zoe", "sahnawaz", FRIENDS)
    other = hall.join("Ira", "other", OTHERS)
    ira.say("among friends")
    hall.until(lambda: ira.heard and zoe.heard)
    assert ira.heard == zoe.heard == ["Ira: among friends"]
    assert other.heard == []
    assert [person.name for person in zoe.participant.members()] == ["Ira", "Zoe"]
    company.assert_undisturbed()


def test_members_of_a_sealed_room_have_proved_that_they_have_its_key(hall: Hall) -> None:
    ira, zoe = hall.join("Ira", "ira", FRIENDS), hall.join("Zoe", "sahnawaz", FRIENDS)
    hall.until(lambda: len(ira.participant.members()) == 2)
    for peer in (ira, zoe):
        membership = peer.participant._membership
        assert membership is not None
        assert [other.proved for other in membership.peers] == [True, True]


def test_who_has_the_tag_and_not_the_key_is_in_and_has_proved_and_hears_nothing(
    hall: Hall,
) -> None:
    ira = hall.join("Ira", "ira", FRIENDS)
    thief = hall.knock("Thief", "other", room_key=OTHERS)
    # The server has told it the tag.
    stolen = thief.me.to(key("server").public)
    object.__setattr__(thief.me, "room_key", StolenTag(OTHERS.secret))
    thief.participant._share = None
    hall.until(lambda: thief.participant.has_joined)
    assert stolen.tag != TAG
    hall.until(lambda: len(ira.participant.members()) == 2)
    ira.say("who are you?")
    hall.until(lambda: ira.heard)
    hall.turns(5)
    assert not any(isinstance(event, MessageReceived) for event in thief.events)
    membership = ira.participant._membership
    assert membership is not None
    assert [peer.proved for peer in membership.peers] == [True, False]


class StolenTag(RoomKey):
    """Another key that claims to be of the friends' room."""

    def at(self, server_digest: bytes) -> SealedRoom:
        return replace(super().at(server_digest), tag=TAG)


def test_room_ends_when_nobody_is_in_it_and_nobody_may_come_back(hall: Hall) -> None:
    ira = hall.join("Ira", "ira", FRIENDS)
    assert rooms_at(hall) == [OPEN_ROOM, TAG]
    ira.say("before")
    hall.until(lambda: ira.heard)
    first = ira.welcome.room
    ira.close()
    hall.until(lambda: hall.server.rooms.of(TAG, "").room.anybody_lost)
    assert hall.screen.lines()[-1].endswith(f" (room {TAG.hex()[:8]})")
    assert rooms_at(hall) == [OPEN_ROOM, TAG]
    hall.wait(limits.GRACE_SECONDS)
    hall.wait(limits.RENEWAL_WAIT_SECONDS)
    assert rooms_at(hall) == [OPEN_ROOM]
    assert hall.server.rooms.relayed == 1
    assert hall.join("Ira", "ira", FRIENDS).welcome.room != first


def test_member_comes_back_to_its_place_in_its_room(hall: Hall) -> None:
    ira, zoe = hall.join("Ira", "ira", FRIENDS), hall.join("Zoe", "sahnawaz", FRIENDS)
    ira.close()
    zoe.say("meanwhile")
    hall.until(lambda: zoe.heard)
    back = hall.come_back(ira)
    hall.until(lambda: back.heard)
    assert back.heard == ["Zoe: meanwhile"]


def test_nobody_comes_back_to_a_place_of_another_room(hall: Hall) -> None:
    ira = hall.join("Ira", "ira", FRIENDS)
    ira.close()
    object.__setattr__(ira.me, "room_key", OTHERS)
    ira.participant._room_key = OTHERS
    back = hall.come_back(ira)
    assert back.welcome.room != ira.welcome.room


def test_two_who_begin_the_same_room_at_once_are_in_one(hall: Hall) -> None:
    peers = [hall.knock(name, who, room_key=FRIENDS) for name, who in KEYS]
    hall.until(lambda: all(len(peer.participant.members()) == 2 for peer in peers))
    assert rooms_at(hall) == [OPEN_ROOM, TAG]
    assert len({peer.welcome.room for peer in peers}) == 1


KEYS = [("Ira", "ira"), ("Zoe", "sahnawaz")]


def test_name_that_cannot_be_used_leaves_no_room_behind(hall: Hall) -> None:
    bad = hall.knock("\u202e", "ira", room_key=FRIENDS)
    assert refused(hall, bad) is Reason.NAME_INVALID
    hall.turns(2)
    assert rooms_at(hall) == [OPEN_ROOM]


def test_there_is_no_open_room_where_there_is_to_be_none() -> None:
    with contextlib.closing(Hall(rules=RoomRules(open_room=False))) as hall:
        assert refused(hall, hall.knock("Ira")) is Reason.NO_ROOM
        assert rooms_at(hall) == []
        hall.screen.clear()
        hall.type("ROOMS")
        hall.type("WHO")
        hall.until(lambda: hall.screen.lines() == [words.NO_ROOMS] * 2)
        hall.join("Ira", "ira", FRIENDS)
        assert rooms_at(hall) == [TAG]


def test_only_rooms_that_are_allowed_exist() -> None:
    with contextlib.closing(Hall(rules=RoomRules(is_allowed=TAG.__eq__))) as hall:
        ira = hall.knock("Ira", room_key=OTHERS)
        assert refused(hall, ira) is Reason.NO_ROOM
        # With it the operator can add the room to the list.
        assert OTHERS.at(key("server").public.digest).tag.hex() in hall.farewell_to(ira).text
        hall.join("Ira", "ira", FRIENDS)
        assert rooms_at(hall) == [OPEN_ROOM, TAG]


def test_list_of_tags_is_read_again_and_holds_while_it_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    troubles: list[Trouble] = []
    file = InMemory("# friends", TAG.hex().upper() + " friends", TAG.hex()[1:], "", name="tags")
    is_allowed = ListedTags(file, troubles.append)
    other = OTHERS.at(key("server").public.digest).tag
    assert [is_allowed(tag) for tag in (TAG, other, b"", bytes(16))] == [True, False, False, False]
    assert troubles == [Unreadable("tags", (3,))]
    file.lines, file._changed = [other.hex()], True
    assert [is_allowed(tag) for tag in (TAG, other)] == [False, True]

    def fail() -> None:
        raise IdentityError("the disk is gone")

    monkeypatch.setattr(file, "read", fail)
    assert [is_allowed(tag) for tag in (TAG, other)] == [False, True]
    assert troubles[1:] == [Failed("the disk is gone")]


def test_so_many_rooms_at_most_and_no_more_is_kept_of_those_that_were_asked_for() -> None:
    with contextlib.closing(Hall(rate=0, rules=RoomRules(max_rooms=2))) as hall:
        company = Company(hall)
        peers = [
            hall.knock(f"guest {number}", "other", f"127.0.0.{1 + number % 2}", numbered(number))
            for number in range(20)
        ]
        hall.until(lambda: sum(peer.eof for peer in peers) == 18)
        assert {peer.ended.reason for peer in peers if peer.ended} == {Reason.NO_ROOM}
        assert len(rooms_at(hall)) == 3
        company.assert_undisturbed()


@pytest.mark.parametrize(("most", "of_one"), [(1, 1), (5, 2), (6, 3)])
def test_one_address_begins_half_of_the_rooms_at_most_and_leaves_the_others(
    most: int, of_one: int
) -> None:
    with contextlib.closing(Hall(rate=0, rules=RoomRules(max_rooms=most))) as hall:
        for number in range(of_one):
            begun = hall.join(f"guest {number}", "other", numbered(number))
        late = hall.knock("late", "ira", room_key=numbered(98))
        assert refused(hall, late) is Reason.NO_ROOM
        text = f"your address has begun {of_one} rooms already; another has to end first"
        assert hall.farewell_to(late).text == (text if most > 1 else FULL)
        leave(hall, hall.join("guest", "ira", numbered(0)))
        for number in range(of_one, most):
            hall.knock(f"guest {number}", "other", f"127.0.0.{2 + number % 2}", numbered(number))
        hall.until(lambda: len(rooms_at(hall)) == 1 + most)
        leave(hall, begun)
        hall.wait(limits.LEAVE_INTERVAL_SECONDS)
        hall.until(lambda: len(rooms_at(hall)) == most)
        hall.join("late", "ira", numbered(98))


def test_operator_sees_rooms_and_puts_somebody_out_of_one(hall: Hall) -> None:
    hall.join("Ira")
    ira = hall.join("Ira", "ira", FRIENDS)
    hall.join("Zoe", "sahnawaz", FRIENDS)
    hall.screen.clear()
    room = TAG.hex()[:8]
    for line in ("ROOMS", "KICK Ira", f"KICK Ira {room}", "KICK Zoe open", "WHO"):
        hall.type(line)
    assert hall.farewell_to(ira).reason is Reason.KICKED
    hall.until(lambda: hall.shown("[!] Nobody here is called Zoe open."))
    hall.until(lambda: hall.shown("[+] In the open room: 1"))
    hall.until(lambda: hall.shown(f"[+] In the room {room}: 1"))
    assert hall.screen.lines()[:3] == [
        "[+] The open room: 1",
        f"[+] Room {room}: 2",
        f"[!] Ira is in several rooms; name one behind it: open, {room}.",
    ]
    assert [member.name for member in hall.home.members()] == ["Ira"]


def test_operator_speaks_to_all_rooms_and_the_end_is_told_to_all(hall: Hall) -> None:
    peers = [hall.join("Ira"), hall.join("Ira", "ira", FRIENDS)]
    hall.type("SAY hello")
    hall.until(lambda: all(any("hello" in repr(event) for event in peer.news) for peer in peers))
    hall.server.terminate()
    for peer in peers:
        assert hall.farewell_to(peer).reason is Reason.CLOSING
