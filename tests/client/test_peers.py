"""Who is in the room, as a client is told by a server that may lie."""

from unittest import mock

import pytest

from chat.client.peers import Peer, Peers
from chat.errors import ProtocolError
from chat.limits import FINGERPRINT_BYTES, MAX_MEMBERS, MAX_NAME_CHARS
from chat.messages import RosterEntry
from tests.support.hall import entry


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
def test_second_member_of_the_same_name_is_a_breach(name: str) -> None:
    room = peers("Thea", "Ira")
    with pytest.raises(ProtocolError, match="in the room twice"):
        room.add(entry(9, name))
    with pytest.raises(ProtocolError, match="in the room twice"):
        room.add(entry(2, "another name"))
    room.remove(2)
    room.add(entry(9, name))


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


def test_numbers_of_a_run_go_up_with_those_of_the_membership() -> None:
    """After ten messages of the run, which somebody who came later has not heard."""
    peer = Peer("Ira", 10)
    found = []
    for seq, number in [(11, 31), (12, 32), (13, 2**64 - 1), (14, 33), (15, 35), (16, 35)]:
        peer.seq = seq
        found.append(peer.is_next(number))
    assert found == [True, True, False, False, True, False]
