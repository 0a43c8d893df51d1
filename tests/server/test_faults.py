"""Exceptions that nobody foresaw: one connection ends, nobody else notices, one traceback."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from chat import limits
from chat.controls import Bye, Ping
from chat.errors import Reason
from chat.kex import RoomKey
from chat.reactor import Reactor
from chat.server import doorman
from chat.server.connection import Connection
from chat.server.console import Console
from chat.server.doorman import Doorman
from chat.server.faults import chain_of, kind_of, places_of
from chat.server.hosted import HostedRoom
from chat.server.room import Room
from chat.server.rooms import OPEN_ROOM
from chat.server.server import Server
from chat.session import ServerSession
from chat.transport import Transport
from tests.server.test_console import OperatorDesk, desk
from tests.support.loopback import Company, Hall, Peer, connection_of, flood

__all__ = ["desk"]

SECRET = "the key is 0x5eC8E7"
"""What no log may show: an exception's text may hold anything."""

FAULT = "[!] There is an error in this program; please report it. The server goes on."


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        hall.contains_faults = True
        yield hall


class Flaw:
    """An error in a method of the program, which shows so many times, where it is `concerned`."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        where: object,
        method: str,
        times: int = 1,
        concerned: Callable[..., bool] = lambda *_: True,
    ) -> None:
        whole = getattr(where, method)
        self.concerned = concerned
        self.times = times
        self.raised = 0

        def flawed(*args: Any) -> Any:
            if self.raised < self.times and self.concerned(*args):
                self.raised += 1
                raise RuntimeError(SECRET)
            return whole(*args)

        patch.setattr(where, method, flawed)


Flaws = Callable[..., Flaw]


@pytest.fixture
def flaws(monkeypatch: pytest.MonkeyPatch) -> Flaws:
    return partial(Flaw, monkeypatch)


def faults_in(hall: Hall) -> list[str]:
    """The lines at the console about errors in the program."""
    lines = hall.screen.lines()
    assert SECRET not in "\n".join(lines)
    return [line for line in lines if line == FAULT or line.startswith("    ")]


# -- a member's connection, at every entry


def say(hall: Hall, guest: Peer, _company: Company) -> None:
    guest.say("hello")


def ping(hall: Hall, guest: Peer, _company: Company) -> None:
    guest.send_control(Ping().encode())


def listen_to_others(hall: Hall, _guest: Peer, company: Company) -> None:
    company.ira.say("can you hear me?")


def be_silent(hall: Hall, _guest: Peer, company: Company) -> None:
    hall.wait(limits.SILENCE_SECONDS - 1)
    for member in (company.ira, company.sahnawaz):
        member.send_control(Ping().encode())
    hall.turns(5)
    hall.wait(1)


def break_off(hall: Hall, guest: Peer, _company: Company) -> None:
    guest.shut_down()


def be_given_a_key(hall: Hall, _guest: Peer, _company: Company) -> None:
    hall.join("passer-by", "server").send_control(Bye(Reason.LEFT, "").encode())


def be_kicked(hall: Hall, _guest: Peer, _company: Company) -> None:
    hall.type("KICK guest")


def come_back(hall: Hall, guest: Peer, _company: Company) -> None:
    hall.come_back(guest)


def be_slow(hall: Hall, guest: Peer, company: Company) -> None:
    guest.deafen()
    flood(hall, company.ira, 1 << 18)
    assert connection_of(hall, "guest").transport.writing
    guest.listen()


ENTRIES = {
    "its socket is read": (Transport, "_on_readable", say),
    "its bytes arrive": (Connection, "received", say),
    "its session receives": (ServerSession, "receive", say),
    "it says something": (HostedRoom, "relay", say),
    "the room takes what it says": (Room, "submit", say),
    "it is throttled": (Connection, "_throttle", say),
    "it gives a sign of life": (Connection, "send_session_data", ping),
    "something is sent to it": (Transport, "try_send", listen_to_others),
    "it is given a key": (Connection, "deliver", be_given_a_key),
    "a key is sent to it": (Transport, "flush", be_given_a_key),
    "its socket can be written again": (Transport, "flush", be_slow),
    "its time is up": (Connection, "on_time", be_silent),
    "its session is told the time": (ServerSession, "tick", be_silent),
    "it is at its end": (Connection, "receive_eof", break_off),
    "it is closed": (Connection, "closed", break_off),
    "it is forgotten": (Server, "connection_closed", break_off),
    "it parts": (Server, "connection_lost", break_off),
    "it is dropped": (Connection, "drop", break_off),
    "it is put out": (Connection, "drop", be_kicked),
    "its member has another": (Connection, "drop", come_back),
    "its place is suspended": (Room, "suspend", break_off),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_fault_at_any_entry_ends_one(
    hall: Hall, company: Company, flaws: Flaws, entry: str
) -> None:
    where, method, provoke = ENTRIES[entry]
    flaw = flaws(where, method, concerned=lambda *_: False)
    guest = hall.join("guest", "other")
    connection = connection_of(hall, "guest")
    parts = {id(part) for part in (connection, connection.transport, connection.session)}
    member, sent = connection.member, len(guest.received)

    def concerns_the_guest(*args: object) -> bool:
        # What is too much for its socket waits there, and fails when it reads again.
        in_time = provoke is not be_slow or len(guest.received) > sent
        return in_time and any(id(arg) in parts or arg is member for arg in args)

    flaw.concerned = concerns_the_guest
    provoke(hall, guest, company)
    hall.until(lambda: flaw.raised and connection not in hall.server.connections)
    hall.until(lambda: guest.eof)
    shown = faults_in(hall)
    assert shown.count(FAULT) == 1
    # It is called by its address if it is no member's any more.
    assert shown[1] in [f"    The connection of {it} was closed." for it in ("guest", guest.name)]
    assert shown[-1] == "    RuntimeError"
    assert "test_faults.py" in shown[-2]
    # What the guest said before its end arrives.
    hall.turns(5)
    company.talk()
    assert company.ira.ended is None
    assert company.sahnawaz.ended is None
    assert connection not in hall.home._members.values()
    assert connection not in hall.server.to_flush
    assert faults_in(hall) == shown


def test_fault_while_all_are_sent_the_same_ends_one_and_the_others_hear_it_once(
    hall: Hall, company: Company
) -> None:
    guest = hall.join("guest", "other")
    late = hall.join("Thea", "server")

    def send(_data: bytes) -> int:
        raise RuntimeError(SECRET)

    sends = hall.home._front.sends
    at_front = list(sends)
    cursor = connection_of(hall, "guest").cursor
    assert cursor in at_front[1:-1]
    sends[cursor] = send
    listen_to_others(hall, guest, company)
    hall.until(lambda: guest.eof)
    assert faults_in(hall)[:2] == [FAULT, "    The connection of guest was closed."]
    company.sahnawaz.say("yes")
    said = ["Ira: can you hear me?", "sahnawaz: yes"]
    hall.until(lambda: late.heard == company.ira.heard == said)


def test_member_whose_connection_ended_by_a_fault_has_a_place_for_a_while(
    hall: Hall, company: Company, flaws: Flaws
) -> None:
    guest = hall.join("guest", "other")
    flaws(Connection, "received")
    guest.say("not lost")
    hall.until(lambda: guest.eof)
    assert hall.shown("[!] guest lost the connection: an error in the server.")
    hall.come_back(guest)
    hall.until(lambda: company.ira.heard == ["guest: not lost"])


def test_connection_whose_end_fails_is_forgotten(
    hall: Hall, company: Company, flaws: Flaws
) -> None:
    guest = hall.join("guest", "other")
    flaw = flaws(Room, "suspend", times=2)
    guest.shut_down()
    hall.until(lambda: guest.eof)
    assert flaw.raised == 2
    assert [connection.member for connection in hall.home._members.values()] == [
        connection_of(hall, name).member for name in ("Ira", "sahnawaz")
    ]
    company.talk()


# -- a guest's, from accept on

DOORS: dict[str, tuple[object, str]] = {
    "its source is found": (doorman, "source_of"),
    "it is made": (Connection, "__init__"),
    "it is opened": (Connection, "open"),
    "its socket is watched": (Reactor, "watch_read"),
    "it has its turn": (Connection, "take_turn"),
    "it waits for its turn": (Doorman, "await_turn"),
    "it is let in": (Server, "admit"),
    "it joins": (Room, "join"),
}


@pytest.mark.parametrize("door", DOORS)
def test_fault_while_one_comes_in(hall: Hall, company: Company, flaws: Flaws, door: str) -> None:
    where, method = DOORS[door]
    ours = hall.greeted()
    flaw = flaws(where, method)
    if method == "watch_read":
        flaw.concerned = _is_no_test_socket
    guest = hall.knock("guest", "other")
    hall.until(lambda: guest.eof)
    assert flaw.raised == 1
    assert faults_in(hall).count(FAULT) == 1
    assert len(hall.server.connections) == 3
    assert not ours.eof
    company.assert_undisturbed()
    hall.join("next", "other")


def _is_no_test_socket(_reactor: Reactor, _number: int, callback: object, *_: object) -> bool:
    return isinstance(getattr(callback, "__self__", None), Transport)


def test_system_that_watches_no_more_descriptors_costs_the_newcomer_alone(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = hall.reactor._selector.register

    def full(descriptor: Any, events: int, data: Any = None) -> Any:
        if isinstance(getattr(data.read, "__self__", None), Transport):
            raise OSError(errno.ENOSPC, "no space left on device")
        return register(descriptor, events, data)

    monkeypatch.setattr(hall.reactor._selector, "register", full)
    for _ in range(3):
        guest = hall.connect()
        hall.until(partial(getattr, guest, "eof"))
    hall.wait(limits.FAULT_SUM_SECONDS)
    shown = hall.screen.lines()
    assert shown.count(FAULT) == 1
    assert "    OSError (ENOSPC)" in shown
    assert shown[-1] == "[!] Errors in this program that are shown above came again 2 times."
    company.assert_undisturbed()


@pytest.mark.parametrize("method", ["drop", "on_time"])
def test_silent_guest_that_cannot_be_dropped_is_closed_all_the_same(
    hall: Hall, company: Company, flaws: Flaws, method: str
) -> None:
    """When another needs its place, and when its time is up."""
    hall.server.doorman.admission._limit_per_source = 1
    flaws(Connection, method, concerned=lambda connection, *_: connection.member is None)
    silent = hall.greeted()
    if method == "drop":
        hall.greeted()
    else:
        hall.wait(limits.FIRST_FRAME_SECONDS + limits.ROUND_SECONDS)
    hall.until(lambda: silent.eof)
    assert faults_in(hall).count(FAULT) == 1
    company.assert_undisturbed()


# -- the server's own


@pytest.mark.parametrize(
    ("where", "method"),
    [(Room, "tick"), (Room, "end_grace"), (HostedRoom, "fan_out"), (Server, "_before_wait")],
)
def test_fault_of_the_turn_itself_stops_nobody_for_long(
    hall: Hall, company: Company, flaws: Flaws, where: type, method: str
) -> None:
    if method == "_before_wait":
        # The hook is a bound method already.
        where, method = HostedRoom, "prepare_wait"
    flaw = flaws(where, method)
    company.talk()
    assert flaw.raised == 1
    assert faults_in(hall).count(FAULT) == 1
    company.assert_undisturbed()


def test_tick_that_always_fails_neither_spins_nor_stops(
    hall: Hall, company: Company, flaws: Flaws
) -> None:
    flaw = flaws(Room, "tick", times=1_000_000)
    guest = hall.knock("guest", "other")
    hall.until(lambda: flaw.raised)
    begun, before = hall.reactor.clock(), flaw.raised
    for _ in range(20):
        company.talk()
    elapsed = hall.reactor.clock() - begun
    assert flaw.raised - before <= elapsed / limits.FAULT_PAUSE_SECONDS + 1
    assert faults_in(hall).count(FAULT) == 1
    flaw.times = 0
    hall.wait(limits.FAULT_PAUSE_SECONDS)
    hall.until(lambda: guest.participant.has_joined)


@pytest.mark.parametrize("method", ["gather", "fan_out", "trim", "prepare_wait"])
def test_fault_of_some_rooms_stops_no_other(
    hall: Hall, company: Company, flaws: Flaws, method: str
) -> None:
    others = [hall.join("Thea", "other", RoomKey(bytes([number]) * 32)) for number in range(6)]
    flaw = flaws(HostedRoom, method, 1_000_000, lambda room: room.tag != OPEN_ROOM)
    for other in others:
        other.say("Hi")
    hall.until(lambda: flaw.raised > len(others))
    company.talk()
    flaw.times = 0
    hall.until(lambda: all(other.heard for other in others))


@pytest.mark.parametrize(
    ("command", "method"),
    [("WHO", "members"), ("ROOMS", "members"), ("KICK Ira", "kick"), ("SAY hello", "say")],
)
def test_fault_in_a_command_leaves_the_console_and_the_room_as_they_were(
    hall: Hall, company: Company, flaws: Flaws, command: str, method: str
) -> None:
    flaw = flaws(HostedRoom, method)
    hall.type(command)
    hall.until(lambda: flaw.raised)
    company.assert_undisturbed()
    hall.wait(limits.FAULT_PAUSE_SECONDS)
    hall.type("STATS")
    hall.until(lambda: any("2 members" in line for line in hall.screen.lines()))
    assert faults_in(hall).count(FAULT) == 1


@pytest.mark.parametrize(
    ("where", "method"), [(Room, "close"), (Transport, "finish"), (Connection, "drop")]
)
def test_fault_at_the_end_does_not_prevent_it(
    hall: Hall, company: Company, flaws: Flaws, where: type, method: str
) -> None:
    flaw = flaws(where, method)
    hall.server.terminate()
    hall.until(lambda: company.ira.eof and company.sahnawaz.eof)
    company.ira.close()
    company.sahnawaz.close()
    hall.until(lambda: not hall.server.connections)
    assert flaw.raised == 1


def test_fault_that_cannot_be_written_down_is_none(
    hall: Hall, company: Company, flaws: Flaws
) -> None:
    guest = hall.join("guest", "other")
    flaws(Connection, "received")
    flaws(Console, "fault", times=100)
    guest.say("hello")
    hall.until(lambda: guest.eof)
    company.talk()


# -- what is written down


def test_fault_is_told_by_its_kind_and_places_alone(desk: OperatorDesk) -> None:
    def inner() -> None:
        raise ValueError(SECRET)

    def outer() -> None:
        try:
            inner()
        except ValueError as exc:
            raise RuntimeError(SECRET) from exc

    for _ in range(3):
        with pytest.raises(RuntimeError) as caught:
            outer()
        desk.console.fault(caught.value, "\x1b[2J")
    shown = desk.wait(0)
    assert shown[:2] == [FAULT, "    The connection of \\x1b[2J was closed."]
    assert [line.split(" in ")[-1] for line in shown[2:]] == [
        "test_fault_is_told_by_its_kind_and_places_alone",
        "outer",
        "    RuntimeError",
        "outer",
        "inner",
        "    ValueError",
    ]
    assert desk.wait(limits.FAULT_SUM_SECONDS - 1) == []
    again = "[!] Errors in this program that are shown above came again 2 times."
    assert desk.wait(1) == [again]


def test_runaway_recursion_is_told_in_few_lines() -> None:
    def recurse() -> None:
        recurse()

    with pytest.raises(RecursionError) as caught:
        recurse()
    assert kind_of(caught.value) == "RecursionError"
    assert len(places_of(caught.value)) == limits.FAULT_FRAMES
    assert list(chain_of(caught.value)) == [caught.value]
