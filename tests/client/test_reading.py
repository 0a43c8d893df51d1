"""Many messages at once: what is opened, and where the reader stops."""

from collections.abc import Iterator, Sequence
from unittest import mock

import pytest

from chat.cipher import SealingKey
from chat.client import events
from chat.client.outbox import Outbox
from chat.wire import Message, room_header
from tests.support.hall import THEM, Desk, RoomInMemory, cut, hi, own

TEXTS = [f"message {number}" for number in range(1, 6)]


@pytest.fixture
def opened() -> Iterator[list[int]]:
    """How many messages are opened at once, each time."""
    counts: list[int] = []
    real = SealingKey.open_all

    def open_all(key: SealingKey, sealed: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        counts.append(len(sealed))
        return real(key, sealed)

    with mock.patch.object(SealingKey, "open_all", open_all):
        yield counts


def test_messages_that_arrive_together_are_opened_together(opened: list[int]) -> None:
    desk = Desk()
    run = b"".join(desk.message(seq) for seq in (1, 2, 3))
    assert desk.play(run) == [hi(1), hi(2), hi(3)]
    assert opened == [3]


def test_our_own_message_in_the_frame_that_we_sent_is_taken_unopened(opened: list[int]) -> None:
    desk = Desk()
    desk.play(*TEXTS)
    run = b"".join(desk.participant.data_to_send())
    shown = desk.play(b"".join(map(desk.write, cut(run))))
    assert shown == [own(number, text) for number, text in enumerate(TEXTS, 1)]
    assert not opened
    assert not desk.participant.unacknowledged


def test_our_own_message_in_another_frame_is_opened_and_compared(opened: list[int]) -> None:
    desk = Desk()
    desk.play("said once")
    desk.sent()
    assert desk.play(desk.ours(1, "said once")) == [own(1, "said once")]
    assert opened == [1]


def test_frame_in_which_we_sent_in_another_place_is_none_that_we_sent_here() -> None:
    outbox = Outbox(b"origin..")
    outbox.add(7, "Hi")
    outbox.take_to_send(epoch=5)
    outbox.keep_frame(1, b"the frame")
    assert outbox.sent_as(1, b"the frame")
    assert not outbox.sent_as(1, b"another")
    assert not outbox.sent_as(2, b"the frame")
    outbox.renumber()
    assert not outbox.sent_as(1, b"the frame")


def test_messages_before_one_that_is_refused_are_taken_and_those_behind_it_are_not() -> None:
    desk = Desk()
    run = desk.message(1) + desk.message(3) + desk.message(4)
    refused = events.FrameRefused("a message that the server cannot have passed on here")
    assert desk.play(run) == [hi(1), refused]


def test_messages_before_what_is_no_message_are_taken() -> None:
    desk = Desk()
    nothing_sealed = room_header(Message.TYPE, desk.epoch, THEM, 2, 0)
    refused = events.FrameRefused("a frame is too short for its fields")
    assert desk.play(desk.message(1) + nothing_sealed) == [hi(1), refused]


def test_one_that_does_not_open_is_told_at_its_place() -> None:
    desk = Desk()
    run = desk.message(1) + desk.broken(2) + desk.message(3)
    warned = events.Warned("Sahnawaz: a message could not be opened, and was dropped")
    assert desk.play(run) == [hi(1), warned, hi(3, text="Hi")]


def test_people_who_talk_at_once_over_two_epochs_are_all_heard() -> None:
    hall = RoomInMemory()
    ira, ola = hall.enter("Ira", "Ola")
    hall.settle()
    for text in TEXTS:
        ira.say(text)
        ola.say(text.upper())
    hall.enter("Ada")
    hall.settle()
    for seat in (ira, ola):
        said = [text for _, text in seat.said()]
        assert [text for text in said if text in TEXTS] == TEXTS
        assert [text for text in said if text.isupper()] == [text.upper() for text in TEXTS]
