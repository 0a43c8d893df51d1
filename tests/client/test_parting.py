"""A word at leaving: one line with the leaving itself, once, and nobody is held up by it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chat import limits
from chat.client.contacts import Contacts
from chat.client.events import MemberJoined, MemberLeft, MessageReceived, Tampered, Warned
from chat.client.participant import Participant
from chat.contents import Kind, MessageContent
from chat.controls import Check
from chat.errors import Reason, UsageError
from chat.kex import RoomKey
from chat.limits import LINGER_SECONDS, MAX_PARTING_BYTES
from tests.client.test_client import Distant
from tests.support import loopback
from tests.support.hall import THEM, Desk, MemberInMemory, RoomInMemory
from tests.support.loopback import Hall


def say_parting(seat: MemberInMemory, word: str) -> None:
    """Say this as the last word, and let the server have it."""
    seat.participant.say_parting(word, time_ms=7)
    seat.carry()


def go(hall: RoomInMemory, seat: MemberInMemory, reason: Reason = Reason.LEFT) -> None:
    hall.leave(seat, reason)
    hall.pass_time(1)
    hall.settle()


# -- how it is told


@pytest.mark.parametrize("room_key", [None, RoomKey(bytes(32))])
def test_word_is_told_with_the_leaving_and_is_no_message(room_key: RoomKey | None) -> None:
    hall = RoomInMemory(room_key)
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    sahnawaz.shown.clear()
    say_parting(ira, "bye")
    hall.settle()
    assert sahnawaz.shown == []
    assert (ira.participant.unacknowledged, ira.shown[1:]) == (0, [])
    go(hall, ira)
    assert sahnawaz.shown == [MemberLeft("Ira", Reason.LEFT, "bye")]


@pytest.mark.parametrize("reason", [Reason.LOST, Reason.KICKED])
def test_whoever_did_not_leave_by_their_own_will_has_no_last_word(reason: Reason) -> None:
    hall = RoomInMemory()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    say_parting(ira, "bye")
    sahnawaz.shown.clear()
    go(hall, ira, reason)
    assert sahnawaz.shown == [MemberLeft("Ira", reason)]


def test_only_the_last_connection_of_a_person_takes_leave() -> None:
    hall = RoomInMemory()
    phone, laptop, sahnawaz = hall.enter("Ira", "Ira", "Sahnawaz")
    say_parting(phone, "to the laptop")
    sahnawaz.shown.clear()
    go(hall, phone)
    assert sahnawaz.shown == []
    go(hall, laptop)
    assert sahnawaz.shown == [MemberLeft("Ira", Reason.LEFT)]


def parting(desk: Desk, seq: int, body: bytes) -> bytes:
    content = MessageContent(Kind.PARTING, 7, bytes((THEM,)) * limits.ORIGIN_BYTES, seq, body)
    return desk.content(seq, content.encode())


@pytest.mark.parametrize("body", [b"\xff", b"x" * (MAX_PARTING_BYTES + 1)])
def test_word_that_is_none_is_dropped_and_said(body: bytes) -> None:
    desk = Desk()
    (warning,) = desk.play(parting(desk, 1, body))
    assert isinstance(warning, Warned)
    assert desk.play(desk.left(THEM)) == [MemberLeft("Sahnawaz", Reason.LEFT)]


def test_word_that_was_forged_on_the_way_is_taken_back() -> None:
    desk = Desk()
    desk.play(desk.message(1, "real"), desk.check())
    checked = desk.offset
    forged = parting(desk, 2, b"forged")
    (tampered,) = desk.play(forged, Check(desk.offset, bytes(32)))
    assert isinstance(tampered, Tampered)
    here = desk.participant._membership
    assert here is not None
    peer = here.peers.of(THEM)
    assert (peer.parting, peer.seq, here.trail.offset) == ("", 1, checked)


def test_word_of_somebody_who_is_ignored_is_not_shown() -> None:
    contacts = Contacts(None, "Ira", bytes(32), lambda: 0.0)
    key, nobody = b"k" * 32, Participant(bytes)
    contacts.take(MemberJoined("Eve", key), "", nobody)
    contacts._known.ignore("Eve", key, 0)
    left = MemberLeft("Eve", Reason.LEFT, "spam", key)
    assert contacts.take(left, "", nobody) == [MemberLeft("Eve", Reason.LEFT)]


# -- how it is said


@pytest.fixture
def hall(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    # How long it takes is told by the clock, which goes on with each turn. On a busy machine the
    # kernel needs longer to carry something over, and must not cost more turns for that.
    monkeypatch.setattr(loopback, "MOMENT", 5 * loopback.MOMENT)
    with contextlib.closing(Hall()) as hall:
        yield hall


def leave(distant: Distant, story: Callable[[], None], line: str = "/quit bye") -> float:
    """Come in, let this happen, and leave with a word. For how long that took."""
    begun: list[float] = []

    def come_and_go() -> None:
        story()
        begun.append(distant.hall.reactor.clock())
        distant.seat.type(line)

    distant.run(come_and_go)
    return distant.hall.reactor.clock() - begun[0]


@pytest.mark.parametrize("line", ["/quit bye", "/exit  bye "])
def test_word_goes_out_before_the_farewell_and_nothing_is_waited_for(hall: Hall, line: str) -> None:
    distant = Distant(hall, on_terminal=True)
    assert leave(distant, lambda: None, line) < 0.5
    hall.until(lambda: distant.guest.news[-1:] == [MemberLeft("Ira", Reason.LEFT, "bye")])
    assert distant.guest.heard == []
    assert distant.lines[-1:] in ([], [line.strip()]), "no word of waiting"


def test_word_that_does_not_get_through_is_left_out_and_is_no_error(hall: Hall) -> None:
    distant = Distant(hall, on_terminal=True)
    assert leave(distant, distant.unplug) <= LINGER_SECONDS + 0.5


def test_word_to_a_server_that_does_not_answer_holds_nobody_up(hall: Hall) -> None:
    distant = Distant(hall, on_terminal=True)
    assert leave(distant, distant.cable.freeze) <= LINGER_SECONDS + 0.5


def test_word_comes_behind_what_waited_and_once_though_the_connection_is_cut(hall: Hall) -> None:
    distant = Distant(hall, on_terminal=True)

    def story() -> None:
        distant.unplug()
        distant.seat.type("one", "two")
        hall.until(lambda: distant.seat.client._participant.unacknowledged == 2)
        hall.when(lambda: distant.seat.client._leaving, distant.cable.plug)

    leave(distant, story)
    hall.until(lambda: distant.guest.news[-1:] == [MemberLeft("Ira", Reason.LEFT, "bye")])
    assert distant.guest.heard == ["Ira: one", "Ira: two"]


def test_word_that_was_typed_offline_is_told_when_the_connection_is_back_in_time(
    hall: Hall,
) -> None:
    distant = Distant(hall, on_terminal=True)

    def story() -> None:
        distant.unplug()
        hall.when(lambda: distant.seat.client._leaving, distant.cable.plug)

    assert leave(distant, story) <= LINGER_SECONDS + 0.5
    hall.until(lambda: distant.guest.news[-1:] == [MemberLeft("Ira", Reason.LEFT, "bye")])


def test_farewell_waits_for_a_word_that_cannot_leave_yet(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As between the leaving of somebody else and the new key, or when the socket is full."""
    distant = Distant(hall, on_terminal=True)
    has_data: Any = Participant.has_data_to_send
    held = iter([True] * 20)
    monkeypatch.setattr(
        Participant,
        "has_data_to_send",
        property(lambda self: has_data.fget(self) and not next(held, False)),
    )
    assert leave(distant, lambda: None) <= LINGER_SECONDS + 0.5
    hall.until(lambda: distant.guest.news[-1:] == [MemberLeft("Ira", Reason.LEFT, "bye")])


def test_word_waits_for_the_key_that_somebody_who_has_left_cannot_have() -> None:
    desk = Desk()
    desk.play(desk.left(THEM))
    desk.participant.say_parting("bye", 9)
    assert desk.participant.data_to_send() == []
    assert desk.participant.has_parting_to_send, "so there is no BYE yet"
    desk.play(desk.rekey())
    assert [content.kind for _, content in desk.contents()] == [Kind.PARTING]
    assert not desk.participant.has_parting_to_send


def test_word_that_is_too_long_keeps_us_in(hall: Hall) -> None:
    distant = Distant(hall, on_terminal=True).enter()
    distant.seat.type(f"/quit {'é' * MAX_PARTING_BYTES}")
    why = "A word at leaving of 1024 bytes is too long: a word at leaving has at most 512 bytes."
    distant.wait_for(f"[!] {why}")
    distant.seat.type("still here")
    distant.until_heard("still here")
    with pytest.raises(UsageError):
        distant.seat.client.leave("\udcff")
    assert not distant.seat.client._leaving
    assert not any(
        isinstance(event, MessageReceived) and "é" in event.text for event in distant.guest.events
    )
