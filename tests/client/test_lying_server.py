"""A server that says the same again and again, or acknowledges nothing: what a client then does,
and what it holds.

Single lies are in `test_participant`, and any number of them in `tests/fuzz`.
"""

import sys
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum
from functools import partial
from types import ModuleType
from unittest import mock

import pytest

from chat.controls import Check, Resend, Resumed, Roster
from chat.kex import RoomSecret
from chat.limits import (
    ACKNOWLEDGE_SECONDS,
    CATCH_UP_SECONDS,
    MAX_TEXT_BYTES,
    OUTBOX_BYTES,
    REGROUP_SECONDS,
)
from chat.roomevents import Back, Lost, Notice
from tests.client.test_participant import standing
from tests.support.hall import CUT, MEMBERS, OTHER, THEM, Desk, entry


def test_resend_again_and_again_sends_once_what_cannot_leave() -> None:
    """50 of them, with a mebibyte under way, were 54 MB in memory."""
    desk = Desk()
    desk.play(*["x" * MAX_TEXT_BYTES] * (OUTBOX_BYTES // MAX_TEXT_BYTES))
    once = [len(run) for run in desk.participant.data_to_send()]
    desk.play(*[Resend(1)] * 50)
    assert [len(run) for run in desk.participant.data_to_send()] == once
    assert not desk.participant.has_data_to_send


# -- what it can make a client hold ------------------------------------------------------------


def size_of(thing: object, seen: set[int]) -> int:
    """How much memory is held by a thing and what belongs to it."""
    if id(thing) in seen or isinstance(thing, type | ModuleType | Enum):
        return 0
    seen.add(id(thing))
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    parts: list[object] = [getattr(thing, name, None) for name in names]
    parts += getattr(thing, "__dict__", {}).values()
    if isinstance(thing, dict):
        parts += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        parts += thing
    return sys.getsizeof(thing) + sum(size_of(part, seen) for part in parts)


def come_and_go(desk: Desk, number: int) -> None:
    guest = entry(10 + number, f"guest {number}")
    desk.play(desk.joined(guest), desk.message(1, sender=guest.id), desk.left(guest.id))
    desk.play(desk.rekey())


def be_taken_back(desk: Desk, number: int) -> None:
    desk.play(CUT, Resumed(), desk.message(1, f"{number}", sender=2 + number % 2))
    desk.play(Check(number, bytes(32)))


def begin_again(desk: Desk, number: int, restart: bool) -> None:
    if restart:
        desk.restart(number.to_bytes(8, "big"))
    desk.token = number.to_bytes(16, "big")
    desk.secret = RoomSecret(number.to_bytes(32, "big"))
    others = (entry(THEM, f"a {number}"), entry(OTHER, f"b {number}"))
    desk.play(CUT, desk.welcome(), Roster((MEMBERS[0], *others)))


def come_back(desk: Desk, number: int) -> None:
    desk.epoch = 10 + number
    desk.play(CUT, desk.welcome(), Roster(MEMBERS))


FLOODS: dict[str, Callable[[Desk, int], object]] = {
    "joined and left": come_and_go,
    "another room": partial(begin_again, restart=True),
    "another place": partial(begin_again, restart=False),
    "welcome": come_back,
    "resumed": lambda desk, _: desk.play(CUT, Resumed()),
    "resend": lambda desk, number: desk.play(Resend(number)),
    "notice": lambda desk, number: desk.play(desk.event(Notice(f"{number}" * 1_000))),
    "lost and back": lambda desk, _: desk.play(desk.event(Lost(THEM)), desk.event(Back(THEM))),
    "message": lambda desk, number: desk.play(desk.message(1 + number)),
    "message of another run": lambda desk, number: desk.play(
        desk.message(1 + number, origin=number.to_bytes(8, "big"))
    ),
    "checked message": lambda desk, number: desk.play(desk.message(1 + number), desk.check()),
    "malformed message": lambda desk, number: desk.play(
        desk.content(1 + number, number.to_bytes(3 + number % 20, "big"))
    ),
    "message that does not open": lambda desk, number: desk.play(desk.broken(1 + number)),
    "what cannot stand there": lambda desk, number: desk.play(desk.message(2**63 + number)),
    "what was changed": be_taken_back,
    "step": lambda desk, _: desk.play(desk.joined()),
    "renewal": lambda desk, _: desk.play(desk.left(), desk.rekey()),
}
"""What a server can say again and again, each time a little different."""

BOUNDS = (
    *("keyring.MAX_EPOCHS", "trail.MAX_TRAIL", "outbox.MAX_UNCHECKED"),
    *("outbox.MAX_ORIGINS", "outbox.MAX_ORIGINS_OF_ONE"),
)
ROUNDS = 400


@pytest.mark.slow
@pytest.mark.parametrize("what", FLOODS)
def test_memory_stays_bounded_whatever_the_server_says(what: str) -> None:
    desk, sizes = Desk(), []
    desk.play("Hi")
    with ExitStack() as stack:
        for bound in (*BOUNDS, "membership.MAX_MEMBERS", "outbox.MAX_MEMBERS"):
            stack.enter_context(mock.patch(f"chat.client.{bound}", 16))
        for number in range(ROUNDS):
            FLOODS[what](desk, number)
            desk.participant.data_to_send()
            if number % 20 == 10:
                sizes.append(size_of(desk.participant, set()))
    half = len(sizes) // 2
    assert max(sizes[half:]) <= 1.1 * max(sizes[:half]), sizes


# -- a server that acknowledges nothing --------------------------------------------------------


def pass_time(desk: Desk, seconds: float, *, listening: bool = True) -> bool:
    """Let time pass as it does, a turn of the loop every second; whether the connection is given
    up for it."""
    until = desk.now + seconds
    while desk.now < until:
        desk.now = min(until, desk.now + 1)
        desk.participant.tick(desk.now, listening=listening)
        overdue = desk.participant.overdue
    return overdue


def test_connection_is_given_up_when_nothing_is_acknowledged_for_long() -> None:
    desk = Desk()
    assert not pass_time(desk, 1_000)
    texts = ["one", "two", "three", "four"]
    desk.play(*texts)
    desk.sent()
    for number, text in enumerate(texts, 1):
        assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1), number
        # What others say, and what the server has to tell, is no acknowledgement.
        desk.play(desk.message(number), desk.event(Notice("soon")), desk.event(Back(THEM)))
        if number < len(texts):
            desk.play(desk.ours(number, text))
        desk.play(desk.check())
    assert pass_time(desk, 2)
    desk.play(desk.ours(4, "four"), desk.check())
    assert not pass_time(desk, 1_000)


def test_connection_is_given_up_when_what_we_read_is_not_checked_for_long() -> None:
    desk = Desk()
    for seq in (1, 2, 3):
        desk.play(desk.message(seq))
        assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
        desk.play(desk.check())
    desk.play(desk.message(4))
    for seq in (5, 6):
        assert not pass_time(desk, ACKNOWLEDGE_SECONDS // 2)
        # More of the log is no CHECK.
        desk.play(desk.message(seq))
    assert pass_time(desk, ACKNOWLEDGE_SECONDS // 2)


@pytest.mark.parametrize("how", ["lacking a key", "catching up", "catching up, lacking a key"])
def test_connection_is_given_up_when_what_is_due_does_not_come(how: str) -> None:
    desk = standing(how)
    pass_time(desk, 1)
    assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
    assert pass_time(desk, 1)


def test_member_that_catches_up_slowly_is_given_time_but_not_for_ever() -> None:
    desk = standing("catching up")
    pass_time(desk, 1)
    began, seq = desk.now, 0
    while not pass_time(desk, ACKNOWLEDGE_SECONDS - 1) and seq < 1_000:
        seq += 1
        desk.play(desk.message(seq))
    assert CATCH_UP_SECONDS <= desk.now - began < CATCH_UP_SECONDS + ACKNOWLEDGE_SECONDS


def test_waiting_for_the_others_is_not_waiting_for_the_server() -> None:
    desk = Desk()
    desk.play("Hi")
    desk.new_room(MEMBERS[0])
    assert desk.participant.deadline == desk.now + REGROUP_SECONDS
    assert not pass_time(desk, REGROUP_SECONDS)
    assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
    assert pass_time(desk, 1)


@pytest.mark.parametrize("asleep", [True, False])
def test_what_we_did_not_listen_to_is_not_late(asleep: bool) -> None:
    desk = Desk()
    desk.play("Hi")
    pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
    if asleep:
        desk.now += 3_600
    else:
        assert not pass_time(desk, 3_600, listening=False)
    assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
    assert pass_time(desk, 2)


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("new_room", [True, False])
def test_what_others_say_is_no_progress_while_something_of_ours_waits(
    said: bool, new_room: bool
) -> None:
    """The server lets us in, tells us of one message, and cuts the connection, again and again."""
    desk = Desk()
    pass_time(desk, 10)
    if said:
        desk.participant.say("Hi", 9)
        desk.sent()
    pass_time(desk, 1)
    said_at = desk.now
    for seq in range(1, 6):
        if new_room:
            desk.new_room(MEMBERS[0])
        else:
            desk.play(CUT)
            pass_time(desk, 10)
            desk.play(Resumed(), desk.message(seq), Resend(1))
            desk.sent()
        pass_time(desk, 1)
    assert desk.participant.stuck_since == (said_at if said else desk.now)
    if said and not new_room:
        desk.play(desk.ours(1, "Hi"))
        pass_time(desk, 10)
        assert desk.participant.stuck_since == desk.now
