"""A client that knows several servers: which it goes to when one is lost, full or shut down."""

import contextlib
import time
from collections.abc import Iterator
from itertools import pairwise, repeat
from types import SimpleNamespace
from typing import Any

import pytest

from chat.client import client
from chat.errors import Reason, RefusedError, ServerKeyError, TransportError
from chat.kex import PublicKey, RoomKey
from chat.limits import (
    HANDSHAKE_SECONDS,
    MAX_RETRY_SECONDS,
    NEXT_SERVER_SECONDS,
    RETRY_SECONDS,
    SHARE_SECONDS,
)
from chat.server import doorman, members
from chat.server.connection import Connection as ServerConnection
from chat.server.rooms import RoomRules
from tests.support.helpers import key
from tests.support.loopback import REFUSED, Cable, Hall, Seat


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


@pytest.fixture
def beside(hall: Hall) -> Iterator[Hall]:
    """A server of its own with the same key."""
    with contextlib.closing(Hall(beside=hall)) as beside:
        yield beside


def several_ways(hall: Hall, count: int = 2, **options: Any) -> tuple[Seat, list[Cable]]:
    """A client that comes to one room over several addresses, as to a cluster."""
    first, *others = cables = [hall.cable() for _ in range(count)]
    addresses = [other.address for other in others]
    seat = hall.seat("Ira", address=first.address, others=addresses, **options)
    return seat, cables


def between(hall: Hall, beside: Hall, **options: Any) -> Seat:
    """A client that has come to one of two servers, and knows the other one."""
    seat = beside.seat("Ira", address=hall.address, others=[beside.address], **options)
    seat.begin()
    return seat


def let_servers_be_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on servers sign by a clock that no client accepts."""
    ahead = SimpleNamespace(time=lambda: time.time() + SHARE_SECONDS)
    monkeypatch.setattr(doorman, "time", ahead)


def told(seat: Seat, *words: str) -> list[str]:
    """The lines that have one of these words."""
    return [line for line in seat.screen.lines() if any(word in line for word in words)]


def name_of(address: tuple[str, int]) -> str:
    return "{}:{}".format(*address)


# -- the first connection


def test_first_server_that_answers_is_taken(hall: Hall, beside: Hall) -> None:
    seat = beside.seat("Ira", address=hall.address, others=[beside.address])
    seat.dialer.refused = repeat(True)
    seat.begin()
    hall.until(lambda: seat.inside)
    assert beside.home.room.members
    assert told(seat, "[!]", "Connected to") == []


def test_all_that_cannot_be_reached_are_told(hall: Hall) -> None:
    seat, _ = several_ways(hall)
    for dialer in seat.dialers.values():
        dialer.refused = repeat(True)
    with pytest.raises(TransportError, match=REFUSED):
        seat.run()
    assert [len(dialer.dialled) for dialer in seat.dialers.values()] == [1, 1]


def test_server_that_is_full_sends_us_to_the_next(
    hall: Hall, beside: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = beside.join("Zoe", "other")
    monkeypatch.setattr(members, "MAX_MEMBERS", 0)
    seat = between(hall, beside)
    hall.until(lambda: told(seat, "the room is full"))
    monkeypatch.undo()
    hall.until(lambda: seat.inside)
    assert told(seat, "[!]") == [
        f"[!] {name_of(hall.address)} says: the room is full; trying the next server."
    ]
    assert "Ira" in [one.name for one in company.participant.members()]


@pytest.mark.parametrize(
    ("rules", "room_key", "text"),
    [
        (RoomRules(open_room=False), None, "this server has no open room"),
        (RoomRules(max_rooms=0), RoomKey(bytes(32)), "this server has no place for another room"),
    ],
)
def test_server_that_lacks_the_room_sends_us_to_the_next(
    hall: Hall, rules: RoomRules, room_key: RoomKey | None, text: str
) -> None:
    with contextlib.closing(Hall(beside=hall, rules=rules)) as small:
        seat = hall.seat("Ira", address=small.address, others=[hall.address], room_key=room_key)
        seat.begin()
        hall.until(lambda: seat.inside)
        (said,) = told(seat, "[!]")
        assert said.startswith(f"[!] {name_of(small.address)} says: {text}")
        assert said.endswith("; trying the next server.")


def test_server_with_a_wrong_clock_sends_us_to_the_next(
    hall: Hall, beside: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_servers_be_ahead(monkeypatch)
    seat = between(hall, beside)
    hall.until(lambda: told(seat, "clocks is wrong"))
    monkeypatch.undo()
    hall.until(lambda: seat.inside)
    (said,) = told(seat, "[!]")
    assert said.startswith(f"[!] {name_of(hall.address)}: one of the two clocks is wrong")
    assert beside.home.room.members


def test_clock_that_is_wrong_everywhere_ends_the_stay(
    hall: Hall, beside: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_servers_be_ahead(monkeypatch)
    seat = between(hall, beside)
    hall.until(lambda: seat.client._over)
    assert str(seat.client._error).startswith("one of the two clocks is wrong")
    assert [len(dialer.dialled) for dialer in seat.dialers.values()] == [1, 1]


def test_servers_that_are_all_full_end_the_stay_as_one_does(
    hall: Hall, beside: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", 0)
    seat = between(hall, beside)
    hall.until(lambda: seat.client._over)
    assert isinstance(seat.client._error, RefusedError)
    assert str(seat.client._error) == "the room is full"
    assert [len(dialer.dialled) for dialer in seat.dialers.values()] == [1, 1]


def test_full_server_beside_one_that_cannot_be_reached_ends_the_stay(
    hall: Hall, beside: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", 0)
    seat = beside.seat("Ira", address=hall.address, others=[beside.address])
    list(seat.dialers.values())[1].refused = repeat(True)
    seat.begin()
    hall.until(lambda: seat.client._over)
    assert isinstance(seat.client._error, RefusedError)


@pytest.fixture
def unanswered(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> Seat:
    """Somebody whose key may be in once, and is; but the answer was lost, so this client does not
    know it, and the server does not know that nobody has the place."""
    monkeypatch.setattr(members, "MAX_CONNECTIONS_OF_KEY", 1)
    seat, (near, _) = several_ways(hall)
    admitted = ServerConnection.admitted

    def lose_answer(connection: ServerConnection, sent_again: int) -> None:
        near.freeze()
        near._pairs[-1][0].close()
        admitted(connection, sent_again)

    with monkeypatch.context() as patch:
        patch.setattr(ServerConnection, "admitted", lose_answer)
        seat.begin()
        hall.until(lambda: hall.home.connections)
    return seat


def test_place_of_which_the_client_was_not_told_is_waited_for(hall: Hall, unanswered: Seat) -> None:
    dialers = unanswered.dialers.values()
    hall.until(lambda: all(len(dialer.dialled) == 2 for dialer in dialers))
    (ghost,) = hall.home.connections
    ghost.drop(Reason.LOST)
    hall.until(lambda: unanswered.inside)
    assert len(told(unanswered, "[!]")) == 1


def test_place_of_which_the_client_was_not_told_is_not_waited_for_for_ever(
    hall: Hall, unanswered: Seat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "UNKNOWN_PLACE_SECONDS", 1)
    hall.until(lambda: unanswered.client._over)
    assert str(unanswered.client._error) == "you are here 1 times already"


def test_refusal_for_good_is_not_carried_to_another_server(hall: Hall, beside: Hall) -> None:
    hall.join("Ira", "other")
    seat = between(hall, beside)
    hall.until(lambda: seat.client._over)
    assert str(seat.client._error).startswith("the name Ira is taken")
    assert not beside.server.connections


# -- when the connection is lost


def test_server_where_we_were_is_asked_first(hall: Hall) -> None:
    seat, (near, far) = several_ways(hall)
    seat.begin()
    hall.until(lambda: seat.inside)
    near.cut()
    hall.until(lambda: told(seat, "[+] The connection is back."))
    assert not far._pairs


def test_next_server_is_asked_at_once_if_that_one_is_away(hall: Hall) -> None:
    """We resume there: nothing is lost, and the place is the same."""
    seat, (near, far) = several_ways(hall)
    seat.begin()
    hall.until(lambda: seat.inside)
    near.unplug()
    hall.until(lambda: told(seat, "trying to get it back"))
    seat.type("said while away")
    lost_at = hall.reactor.clock()
    hall.until(lambda: hall.home.room.messages == 1)
    assert hall.reactor.clock() - lost_at <= 2 * RETRY_SECONDS
    assert told(seat, "Connected to") == [f"[+] Connected to {name_of(far.address)}."]
    far.unplug()
    near.plug()
    hall.until(lambda: told(seat, f"Connected to {name_of(near.address)}."))


def test_wait_is_longer_after_each_round_and_not_after_each_server(hall: Hall) -> None:
    seat, (near, _) = several_ways(hall)
    seat.begin()
    hall.until(lambda: seat.inside)
    for dialer in seat.dialers.values():
        dialer.dialled.clear()
        dialer.refused = repeat(True, 4)
    near.cut()
    hall.until(lambda: told(seat, "[+] The connection is back."))
    first, second = (dialer.dialled for dialer in seat.dialers.values())
    assert len(first) == 5
    assert second == first[:4], "both in one turn of the loop: a refusal is followed at once"
    pauses = [later - earlier for earlier, later in pairwise(first)]
    for number, pause in enumerate(pauses, 1):
        longest = min(RETRY_SECONDS * 2**number, MAX_RETRY_SECONDS)
        assert longest / 2 <= pause <= longest + 0.1


def test_wrong_clock_that_keeps_us_away_is_told_once(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be ours, after the machine has slept: then nobody else can know."""
    seat, (near, far) = several_ways(hall)
    seat.begin()
    hall.until(lambda: seat.inside)
    dialled = [dialer.dialled for dialer in seat.dialers.values()]

    def be_kept_away(count: int) -> None:
        let_servers_be_ahead(monkeypatch)
        near.cut()
        far.cut()
        seen = sum(map(len, dialled))
        hall.until(lambda: sum(map(len, dialled)) > seen + 4)
        said = told(seat, "clocks is wrong")
        assert len(said) == count
        assert said[-1].endswith("; set this machine's clock right, or ask for the server's.")
        monkeypatch.undo()
        hall.until(lambda: len(told(seat, "The connection is back")) == count)

    be_kept_away(1)
    be_kept_away(2)


def test_server_with_another_key_is_passed_over(hall: Hall) -> None:
    """Anybody on the way could show one; whose turn it is next may be the right one."""
    seat, (near, _, third) = several_ways(hall, 3)
    seat.begin()
    hall.until(lambda: seat.inside)
    shown: list[PublicKey] = []

    def judge(server_key: PublicKey) -> None:
        shown.append(server_key)
        if len(shown) == 1:
            raise ServerKeyError("ANOTHER KEY")

    seat.trust = judge
    near.unplug()
    hall.until(lambda: told(seat, f"Connected to {name_of(third.address)}."))
    assert told(seat, "ANOTHER KEY") == ["[!] ANOTHER KEY."]


@pytest.mark.parametrize("inside", [False, True])
def test_server_that_hangs_is_passed_over_as_one_that_is_silent(hall: Hall, inside: bool) -> None:
    """Its kernel still takes connections, and it says no HELLO."""
    seat, (near, far) = several_ways(hall, persistent=True)
    seat.begin()
    if inside:
        hall.until(lambda: seat.inside)
        near.cut()
    near.hang()
    hung_at = hall.reactor.clock()
    hall.until(lambda: seat.inside and far._pairs)
    assert hall.reactor.clock() - hung_at <= NEXT_SERVER_SECONDS + 2 * RETRY_SECONDS


def test_last_server_that_is_left_has_longer_to_say_hello(hall: Hall) -> None:
    seat, cables = several_ways(hall, persistent=True)
    for cable in cables:
        cable.hang()
    seat.begin()
    hall.until(lambda: seat.client._connection)
    hall.until(lambda: not seat.client._connection)
    hall.until(lambda: seat.client._connection)
    said_at = hall.reactor.clock()
    hall.until(lambda: not seat.client._connection)
    assert hall.reactor.clock() - said_at >= HANDSHAKE_SECONDS - 0.1


@pytest.mark.parametrize("persistent", [False, True])
def test_server_that_is_slow_has_longer_when_no_other_one_answers(
    hall: Hall, persistent: bool
) -> None:
    seat, (near, far) = several_ways(hall, persistent=persistent)
    near.hang()
    far.unplug()
    seat.begin()
    turns = []
    for _ in range(2):
        hall.until(lambda: seat.client._connection)
        connected_at = hall.reactor.clock()
        hall.until(lambda: seat.client._over or not seat.client._connection)
        turns.append(hall.reactor.clock() - connected_at)
    assert turns == pytest.approx([NEXT_SERVER_SECONDS, HANDSHAKE_SECONDS], abs=0.2)


# -- when a server shuts down


def test_server_that_shuts_down_sends_us_to_the_next(hall: Hall, beside: Hall) -> None:
    seat = between(hall, beside)
    hall.until(lambda: seat.inside)
    seat.type("Hi")
    hall.until(lambda: hall.home.room.messages == 1)
    hall.server.terminate()
    hall.until(lambda: told(seat, "Connected to"))
    assert told(seat, "shut", "Connected to") == [
        f"[!] The connection was lost: {name_of(hall.address)} says: the server is shutting down; "
        "trying to get it back.",
        f"[+] Connected to {name_of(beside.address)}, in a new room.",
    ]


def test_server_that_may_end_for_good_is_not_said_to_be_back_in_a_moment(
    hall: Hall, beside: Hall
) -> None:
    """One of several says that it restarts also when it ends."""
    seat = between(hall, beside)
    hall.until(lambda: seat.inside)
    hall.server.pause()
    hall.until(lambda: told(seat, "Connected to"))
    assert told(seat, "restarts", "moment", "Connected to") == [
        "[+] The server restarts or ends; going on at the first one that answers.",
        f"[+] Connected to {name_of(beside.address)}, in a new room.",
    ]


def test_last_server_that_shuts_down_ends_the_stay_well(hall: Hall, beside: Hall) -> None:
    seat = between(hall, beside)
    hall.until(lambda: seat.inside)
    for dialer in seat.dialers.values():
        dialer.refused = repeat(True)
    hall.server.terminate()
    hall.until(lambda: seat.client._over)
    assert seat.client._error is None
    assert told(seat, "has shut down") == ["[!] The server has shut down."]


def test_server_that_loses_us_on_the_way_in_keeps_the_stay_alive(hall: Hall, beside: Hall) -> None:
    """A server may be too busy for all who come at once from one that shuts down."""
    seat = between(hall, beside)
    hall.until(lambda: seat.inside)
    hall.server.terminate()
    hall.until(lambda: beside.server.connections)
    for connection in list(beside.server.connections):
        connection.transport.close()
    hall.until(lambda: told(seat, "Connected to"))
    assert not seat.client._over


def test_who_has_said_all_and_leaves_goes_to_no_other_server(hall: Hall, beside: Hall) -> None:
    seat = between(hall, beside)
    hall.until(lambda: seat.inside)
    hall.server.terminate()
    seat.client._leaving = True
    hall.until(lambda: seat.client._over)
    assert seat.client._error is None
    assert not beside.server.connections


# -- what is told of it


def test_invite_that_is_shown_names_all_servers(hall: Hall) -> None:
    from chat.invite import Invite
    from chat.kex import RoomKey

    seat, (near, far) = several_ways(hall, room_key=RoomKey(bytes(32)))
    seat.begin()
    hall.until(lambda: seat.inside)
    assert seat.client.invite is not None
    invite = Invite.decode(seat.client.invite)
    assert invite.servers == (near.address, far.address)
    assert invite.server_digest == key("server").public.digest
