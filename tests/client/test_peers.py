"""Who is in the room, as a client is told by a server that may lie."""

from collections.abc import Callable
from unittest import mock

import pytest

from chat.client.events import (
    ClientEvent,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    Person,
)
from chat.client.peers import Peer, Peers, Proves
from chat.errors import ProtocolError, Reason
from chat.frozen import replace
from chat.identities import RosterEntry
from chat.limits import FINGERPRINT_BYTES, MAX_MEMBERS, MAX_NAME_CHARS
from tests.support.hall import entry, fingerprint


def peers(*names: str) -> Peers:
    """A room with these."""
    found = Peers()
    for number, name in enumerate(names, 1):
        found.add(entry(number, name))
    return found


UNUSABLE = [
    "",
    " ",
    "x" * (MAX_NAME_CHARS + 1),
    "x" * 60_000,
    "Ira ",
    "Ira: no",
    "[+] Ira",
    "* Ira",
    "Ira!",
    "Server",
]
UNUSABLE += ["Ira\x1b[2J", "Ira\n[+] Thea", "e\u0301", "\u0301", "Ira\u202e", "\u3164", "Ira\ufeff"]


@pytest.mark.parametrize("name", UNUSABLE)
def test_name_that_an_honest_server_refuses_is_a_breach(name: str) -> None:
    with pytest.raises(ProtocolError, match="no name that can be used"):
        peers("Thea").add(entry(9, name))


@pytest.mark.parametrize("name", ["Ira", "ira", "IRA", "\uff29ra", "I\ufe0fra"])
@pytest.mark.parametrize("caller", [False, True])
def test_same_name_with_another_key_is_a_breach(name: str, caller: bool) -> None:
    room = peers("Thea", "Ira")
    other = replace(entry(9, name, caller=caller), fingerprint=fingerprint("another key"))
    with pytest.raises(ProtocolError, match="two members of different keys have the same name"):
        room.add(other)
    with pytest.raises(ProtocolError, match="in the room twice"):
        room.add(entry(2, "another name"))
    room.add(replace(other, fingerprint=fingerprint("Ira")))
    room.remove(2)
    with pytest.raises(ProtocolError):
        room.add(replace(other, id=10))
    room.remove(9)
    room.add(other)


def test_letter_of_a_newer_unicode_than_ours_is_a_letter() -> None:
    """The server and the one who is called so may have a newer Python than we."""
    assert [peer.name for peer in peers("Ira \u0378", "\u0378")] == ["Ira \u0378", "\u0378"]


def test_names_that_look_alike_by_our_table_alone_are_no_breach() -> None:
    """The server's Unicode may be newer. What it says is the same, we would not know."""
    assert len(peers("Ira", "Ir\u0430", "Tom", "Torn", "s\u0435rver", "Ira\u1361")) == 6


@pytest.mark.parametrize("size", [0, FINGERPRINT_BYTES - 1, FINGERPRINT_BYTES + 1, 60_000])
def test_fingerprint_of_another_size_is_a_breach(size: int) -> None:
    with pytest.raises(ProtocolError, match="a fingerprint that is none"):
        peers().add(RosterEntry(1, 0, "Ira", bytes(size)))


def test_members_are_no_more_than_a_room_has() -> None:
    with mock.patch("chat.client.peers.MAX_MEMBERS", 3):
        room = peers("a", "b", "c")
        with pytest.raises(ProtocolError, match="more members than a room has"):
            room.add(entry(4, "d"))
        room.remove(1)
        room.add(entry(4, "d"))
    assert MAX_MEMBERS > 3


@pytest.mark.parametrize(
    ("proves", "unproved"),
    [(None, []), (lambda _: True, []), (lambda entry: entry.name != "Eve", ["Eve"])],
)
def test_who_lacks_the_proof_that_a_sealed_room_wants_is_told(
    proves: Proves | None, unproved: list[str]
) -> None:
    room = Peers(proves)
    for at, name in enumerate(("Ira", "Eve"), 1):
        room.add(entry(at, name))
    joined = [event for event in room.take_news() if isinstance(event, MemberJoined)]
    assert [one.name for one in joined if one.unproved] == unproved
    assert [one.name for one in room.people() if one.unproved] == unproved
    assert [one.fingerprint for one in joined] == [
        entry(1, name).fingerprint for name in ("Ira", "Eve")
    ]


def test_numbers_of_a_run_go_up_with_those_of_the_membership() -> None:
    """After ten messages of the run, which somebody who came later has not heard."""
    peer = Peer("Ira", 10)
    found = []
    for seq, number in [(11, 31), (12, 32), (13, 2**64 - 1), (14, 33), (15, 35), (16, 35)]:
        peer.seq = seq
        found.append(peer.is_next(number))
    assert found == [True, True, False, False, True, False]


# -- people ------------------------------------------------------------------------------------

Step = Callable[[Peers], object]
JOINED, LOST, BACK = MemberJoined("Ira"), MemberLost("Ira"), MemberBack("Ira")


def come(number: int, *, lost: bool = False, caller: bool = False) -> Step:
    return lambda room: room.add(entry(number, "Ira", lost=lost, caller=caller))


def go(*numbers: int, reason: Reason = Reason.LEFT) -> Step:
    return lambda room: [room.remove(number, reason) for number in numbers]


def lose(number: int, *, lost: bool = True) -> Step:
    return lambda room: room.set_lost(room.of(number), lost)


def left(reason: Reason = Reason.LEFT) -> MemberLeft:
    return MemberLeft("Ira", reason)


@pytest.mark.parametrize(
    "story",
    [
        [(come(1), [JOINED]), (come(2), []), (go(1), []), (go(2), [left()]), (come(3), [JOINED])],
        [(come(1), [JOINED]), (lose(1), [LOST]), (lose(1), []), (lose(1, lost=False), [BACK])],
        # She is in from home when the laptop loses the network, and while it wakes up.
        [(come(1), [JOINED]), (come(2), []), (lose(1), []), (lose(1, lost=False), [])],
        # All are lost, and one comes anew; the ghosts are nobody's business.
        [
            *((come(1), [JOINED]), (come(2), []), (lose(1), []), (lose(2), [LOST])),
            *((come(3), [BACK]), (go(1, reason=Reason.LOST), []), (lose(2, lost=False), [])),
        ],
        # The last one that stands goes, the last one that was lost goes.
        [
            *((come(1), [JOINED]), (come(2), []), (lose(1), []), (go(2), [LOST])),
            (go(1, reason=Reason.LOST), [left(Reason.LOST)]),
        ],
        # All together; why the last one went is told.
        [
            *((come(1), [JOINED]), (come(2), []), (come(3), []), (lose(2), [])),
            (go(2, 1, 3, reason=Reason.KICKED), [left(Reason.KICKED)]),
        ],
        # A caller is nobody, whatever becomes of it, and whoever it calls for.
        [
            *((come(1, caller=True), []), (come(2), [JOINED]), (lose(1), []), (lose(2), [LOST])),
            *((lose(1, lost=False), []), (go(2), [left()]), (lose(1), []), (go(1), [])),
        ],
        [(come(1, lost=True), [JOINED, LOST]), (come(2), [BACK]), (go(1, 2), [left()])],
    ],
)
def test_people_come_and_go_with_their_first_and_last_connection(
    story: list[tuple[Step, list[ClientEvent]]],
) -> None:
    room = peers()
    for number, (happens, told) in enumerate(story, 1):
        happens(room)
        assert room.take_news() == told, f"step {number}"
        assert room.take_news() == []


def test_people_come_in_the_order_of_those_that_stay() -> None:
    room = peers()
    room.add(entry(1, "Ira", caller=True))
    room.add(entry(2, "Boris"))
    room.add(entry(3, "Ira"))
    assert room.take_news() == [MemberJoined("Boris"), JOINED]


def room_of(*steps: Step) -> Peers:
    room = peers()
    for step in steps:
        step(room)
    return room


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([come(1)], [come(1)], []),
        ([come(1)], [come(2)], []),
        ([come(1), come(2)], [come(3)], []),
        ([come(1)], [], [left()]),
        ([], [come(1)], [JOINED]),
        ([come(1)], [come(1, lost=True)], [LOST]),
        ([come(1, lost=True)], [come(1, lost=True), come(2)], [BACK]),
        ([], [come(1, lost=True)], [JOINED, LOST]),
        ([come(1)], [come(1, caller=True)], [left()]),
        ([come(1, caller=True)], [come(2, caller=True)], []),
        ([come(1, caller=True)], [come(2)], [JOINED]),
    ],
)
def test_what_became_of_people_in_a_gap_is_told_by_two_rosters(
    before: list[Step], after: list[Step], told: list[ClientEvent]
) -> None:
    room = room_of(*after)
    assert room.take_news_since(room_of(*before)) == told
    assert room.take_news() == []


def test_name_that_went_to_another_key_in_a_gap_has_left_and_joined() -> None:
    room = peers()
    room.add(replace(entry(2, "ira"), fingerprint=fingerprint("another")))
    assert room.take_news_since(room_of(come(1))) == [left(), MemberJoined("ira")]


def test_people_are_counted_by_the_connections_that_stand() -> None:
    room = peers()
    room.add(entry(5, "Thea", since=40, lost=True))
    room.add(entry(7, "Ira", since=30, caller=True))
    room.add(entry(8, "Bo", since=30, caller=True))
    for number, lost in ((1, False), (2, True), (3, False)):
        room.add(entry(number, "Ira", since=100 - number, lost=lost))
    thea, ira = fingerprint("Thea"), fingerprint("Ira")
    assert room.people() == [
        *(Person("Thea", 40, thea, 0), Person("Ira", 97, ira, 2)),
        Person("Bo", 30, fingerprint("Bo"), 1, calling=True),
    ]
    # Whom to wait for in a new room: Thea may come back, though she is lost.
    assert room.connections() == {thea: 1, ira: 2}
    assert room.take_lost() == [MemberLost("Thea")]
    assert room.take_news() == []
