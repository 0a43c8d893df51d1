"""A server that lies, or says the same again and again: what a client then does, and what it holds.

Single lies are in `test_participant`.
"""

import itertools
import sys
from collections import deque
from collections.abc import Callable
from enum import Enum
from functools import partial
from random import Random
from types import ModuleType
from unittest import mock

import pytest

from chat.errors import ProtocolError, Reason
from chat.kex import RoomSecret
from chat.limits import (
    ACKNOWLEDGE_SECONDS,
    CATCH_UP_SECONDS,
    MAX_TEXT_BYTES,
    OUTBOX_BYTES,
    REGROUP_SECONDS,
)
from chat.messages import (
    Back,
    Closing,
    Control,
    Joined,
    Left,
    Lost,
    Notice,
    Pong,
    Ready,
    Rekey,
    Resend,
    Resumed,
    RoomEvent,
    Roster,
    RosterEntry,
    Welcome,
)
from chat.wire import Message
from tests.client.test_participant import hi, standing
from tests.support.hall import EPOCH, MEMBERS, OTHER, THEM, US, Desk, entry


def test_resend_again_and_again_sends_once_what_cannot_leave() -> None:
    """50 of them, with a mebibyte under way, were 54 MB in memory."""
    desk = Desk()
    for _ in range(OUTBOX_BYTES // MAX_TEXT_BYTES):
        desk.participant.say("x" * MAX_TEXT_BYTES, 9)
    once = len(desk.participant.data_to_send())
    desk.control(*[Resend(1)] * 50)
    assert len(desk.participant.data_to_send()) == once
    assert not desk.participant.has_data_to_send


@pytest.mark.parametrize("back", [0, 1, 7, 8, 9])
def test_welcome_to_an_epoch_that_was_before_one_still_known_is_survived(back: int) -> None:
    """The server welcomes us to an epoch, again to an earlier one, and goes on from there: the key
    that is forgotten must be the oldest, and not the current one."""
    desk = Desk()
    guests = itertools.count(10)

    def go_on(epochs: int) -> None:
        for number in itertools.islice(guests, epochs):
            desk.hear(desk.event(Joined((entry(number, f"guest {number}"),))))
            assert desk.hear(desk.message(1, sender=number)) == [hi(1, f"guest {number}")]

    with mock.patch("chat.client.keyring.MAX_EPOCHS", 8):
        go_on(10)
        desk.participant.disconnect()
        desk.epoch -= back
        desk.control(desk.welcome(), Roster(MEMBERS))
        go_on(10)


def anything(random: Random, desk: Desk) -> Callable[[], object]:
    """Something that a server can send, with odd numbers, mostly out of place."""

    def number(bits: int) -> int:
        limit = 2**bits
        odd = (0, 1, 2, 3, 4, 5, EPOCH - 1, EPOCH, EPOCH + 1, limit // 2, limit - 2, limit - 1)
        return random.choice(odd)

    def someone() -> RosterEntry:
        name = random.choice(("Ira", "Sahnawaz", "Thea", "Zoë", f"guest {random.random()}", ""))
        return entry(number(32), name, random.choice((0, 0, number(64))), number(64))

    def members() -> tuple[RosterEntry, ...]:
        return random.choice((MEMBERS, tuple(someone() for _ in range(random.randrange(4)))))

    if random.random() < 0.3:
        # Where the server is, so that not everything ends at once.
        desk.epoch = random.choice((desk.participant._keyring.current, number(32)))
        known = desk.participant._keyring._known.get(desk.epoch)
        desk.secret = known.secret if known else desk.secret
    event: RoomEvent = random.choice(
        (
            Joined(members()),
            Left(tuple((number(32), random.choice(list(Reason))) for _ in range(number(2)))),
            Lost(number(32)),
            Back(number(32)),
            Notice("x" * random.choice((0, 1, 60_000))),
            Closing(),
        )
    )
    control: Control = random.choice(
        (
            Welcome(
                random.choice((desk.room, b"another1")),
                number(32),
                random.choice((desk.token, bytes(16))),
                number(32),
                desk.secret.secret,
                number(64),
                number(64),
                number(64),
                random.choice((3, number(32))),
            ),
            Roster(members()),
            Rekey(
                random.choice((desk.participant._keyring.current + 1, 0, EPOCH)) % 2**32, bytes(32)
            ),
            Resend(number(64)),
            Resumed(),
            Ready(),
            Pong(),
        )
    )
    desk.epoch %= 2**32
    membership = desk.participant._membership
    assert membership is not None
    desk.event_seq = random.choice((membership.server.seq, number(64) - 1)) % (2**64 - 1)
    sender, seq = number(32), number(64)
    return random.choice(
        (
            lambda: desk.control(control),
            lambda: desk.hear(desk.event(event)),
            lambda: desk.hear(desk.message(seq, "Hi", sender, number=number(64))),
            lambda: desk.hear(Message(number(32), sender, seq, bytes(96)).to_wire()),
            lambda: desk.hear(desk.content(seq, random.randbytes(random.randrange(60)), sender)),
            lambda: desk.participant.say("Hi", 9),
            desk.participant.data_to_send,
            desk.participant.disconnect,
            lambda: desk.participant.tick(desk.now + number(10)),
            lambda: desk.participant.deadline,
            lambda: desk.participant.first_control().encode(),
            desk.participant.members,
        )
    )


@pytest.mark.parametrize("seed", range(10))
def test_nothing_comes_of_a_lying_server_but_a_protocol_error(seed: int) -> None:
    random = Random(seed)
    desk, breaches = Desk(), 0
    for _ in range(1_000):
        try:
            anything(random, desk)()
        except ProtocolError:
            breaches += 1
            # The session would be over here. Going on is more than a server can do.
            if random.random() < 0.2:
                desk = Desk()
    assert 100 < breaches < 900


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


def floods() -> dict[str, Callable[[Desk, int], object]]:
    """What a server can say again and again, each time a little different."""

    def come_and_go(desk: Desk, number: int) -> None:
        guest = entry(10 + number, f"guest {number}")
        desk.hear(desk.event(Joined((guest,))), desk.message(1, sender=guest.id))
        desk.hear(desk.event(Left(((guest.id, Reason.LEFT),))))
        desk.control(desk.rekey())

    def begin_again(desk: Desk, number: int, restart: bool) -> None:
        desk.restart() if restart else desk.participant.disconnect()
        desk.token = number.to_bytes(16, "big")
        desk.room = number.to_bytes(8, "big") if restart else desk.room
        desk.secret = RoomSecret(number.to_bytes(32, "big"))
        others = (entry(THEM, f"a {number}"), entry(OTHER, f"b {number}"))
        desk.control(desk.welcome(), Roster((MEMBERS[0], *others)))

    def come_back(desk: Desk, number: int) -> None:
        desk.participant.disconnect()
        desk.epoch = 10 + number
        desk.control(desk.welcome(), Roster(MEMBERS))

    def resume(desk: Desk, _: int) -> None:
        desk.participant.disconnect()
        desk.control(Resumed())

    def forged(desk: Desk, number: int) -> bytes:
        return Message(EPOCH, number % 5, 3 * number, bytes(96)).to_wire()

    return {
        "joined and left": come_and_go,
        "another room": partial(begin_again, restart=True),
        "another place": partial(begin_again, restart=False),
        "welcome": come_back,
        "resumed": resume,
        "resend": lambda desk, number: desk.control(Resend(number)),
        "notice": lambda desk, number: desk.hear(desk.event(Notice(f"{number}" * 5_000))),
        "lost and back": lambda desk, _: desk.hear(desk.event(Lost(THEM)), desk.event(Back(THEM))),
        "message": lambda desk, number: desk.hear(desk.message(1 + number)),
        "message of another run": lambda desk, number: desk.hear(
            desk.message(1 + number, origin=number.to_bytes(8, "big"))
        ),
        "malformed message": lambda desk, number: desk.hear(
            desk.content(1 + number, number.to_bytes(3 + number % 20, "big"))
        ),
        "message that does not open": lambda desk, number: desk.hear(forged(desk, number)),
        "gap": lambda desk, number: desk.hear(desk.message(1 + 2 * number)),
        "replay": lambda desk, number: desk.hear(desk.message(1)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("what", floods())
def test_memory_stays_bounded_whatever_the_server_says(what: str) -> None:
    flood, desk = floods()[what], Desk()
    desk.participant.say("Hi", 9)
    with (
        mock.patch("chat.client.keyring.MAX_EPOCHS", 16),
        mock.patch("chat.client.outbox.MAX_ORIGINS", 16),
        mock.patch("chat.client.outbox.MAX_ORIGINS_OF_ONE", 16),
        mock.patch("chat.client.membership.MAX_MEMBERS", 16),
        mock.patch("chat.client.outbox.MAX_MEMBERS", 16),
    ):
        sizes = []
        for number in range(2_000):
            flood(desk, number)
            desk.participant.data_to_send()
            sizes.append(size_of(desk.participant, set()) if number % 100 == 50 else 0)
    assert max(sizes[1_000:]) <= 1.1 * max(sizes[:1_000]), sizes[50::100]


# -- a server that acknowledges nothing --------------------------------------------------------


def pass_time(desk: Desk, seconds: float, *, listening: bool = True) -> bool:
    """Let time pass as it does, a turn of the loop every second; whether the connection is given
    up for it."""
    until = desk.now + seconds
    while desk.now < until:
        desk.now = min(until, desk.now + 1)
        overdue = desk.participant.tick(desk.now, listening=listening)
    return overdue


def test_connection_is_given_up_when_nothing_is_acknowledged_for_long() -> None:
    desk = Desk()
    assert not pass_time(desk, 1_000)
    for number, text in enumerate(("one", "two", "three"), 1):
        desk.participant.say(text, 9)
        desk.sent()
        assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1), number
        # What others say, and what the server has to tell, is no acknowledgement.
        desk.hear(desk.message(number), desk.event(Notice("soon")), desk.event(Back(THEM)))
        if number < 3:
            desk.hear(desk.message(number, text, sender=US, time_ms=9))
    assert pass_time(desk, 2)


def test_each_acknowledgement_gives_the_server_its_time_anew() -> None:
    desk = Desk()
    texts = [f"{number}" for number in range(1, 10)]
    for text in texts:
        desk.participant.say(text, 9)
    desk.sent()
    for number, text in enumerate(texts, 1):
        assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
        desk.hear(desk.message(number, text, sender=US, time_ms=9))
    assert not pass_time(desk, 1_000)


@pytest.mark.parametrize("how", ["lacking a key", "catching up", "catching up, lacking a key"])
def test_connection_is_given_up_when_what_is_due_does_not_come(how: str) -> None:
    desk = standing(how)
    pass_time(desk, 1)
    assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
    assert pass_time(desk, 1)


def test_who_catches_up_slowly_is_given_time_but_not_for_ever() -> None:
    desk = standing("catching up")
    pass_time(desk, 1)
    began = desk.now
    for seq in range(1, 1_000):
        overdue = pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
        if overdue:
            break
        desk.hear(desk.message(seq))
    assert CATCH_UP_SECONDS <= desk.now - began < CATCH_UP_SECONDS + ACKNOWLEDGE_SECONDS


def test_waiting_for_the_others_is_not_waiting_for_the_server() -> None:
    desk = Desk()
    desk.participant.say("Hi", 9)
    desk.restart()
    desk.control(desk.welcome(members=1), Roster(MEMBERS[:1]))
    assert desk.participant.deadline == desk.now + REGROUP_SECONDS
    assert not pass_time(desk, REGROUP_SECONDS)
    assert not pass_time(desk, ACKNOWLEDGE_SECONDS - 1)
    assert pass_time(desk, 1)


@pytest.mark.parametrize("asleep", [True, False])
def test_what_we_did_not_listen_to_is_not_late(asleep: bool) -> None:
    desk = Desk()
    desk.participant.say("Hi", 9)
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
            desk.restart()
            desk.control(desk.welcome(members=1), Roster(MEMBERS[:1]))
        else:
            desk.participant.disconnect()
            desk.control(Resumed())
            desk.hear(desk.message(seq))
        pass_time(desk, 1)
    assert desk.participant.stuck_since == (said_at if said else desk.now)


def test_time_without_progress_goes_on_over_connections_that_bring_none() -> None:
    desk = Desk()
    pass_time(desk, 10)
    desk.participant.say("Hi", 9)
    pass_time(desk, 1)
    said_at = desk.now
    for _ in range(5):
        pass_time(desk, 10)
        desk.participant.disconnect()
        pass_time(desk, 10)
        desk.control(Resumed(), Resend(1))
        desk.sent()
        pass_time(desk, 1)
    assert desk.participant.stuck_since == said_at
    desk.hear(desk.message(1, "Hi", sender=US, time_ms=9))
    pass_time(desk, 10)
    assert desk.participant.stuck_since == desk.now
