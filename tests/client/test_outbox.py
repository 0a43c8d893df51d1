"""What we have said: unacknowledged, and acknowledged a moment ago."""

import pytest

from chat.client import outbox as outbox_module
from chat.client.outbox import Outbox
from chat.limits import PING_SECONDS, REPLAY_SECONDS
from chat.messages import MessageContent

ORIGIN = b"origin.."


def outbox_with(*texts: str) -> Outbox:
    outbox = Outbox(ORIGIN)
    for text in texts:
        outbox.add(7, text)
    return outbox


def texts(outbox: Outbox, seq: int = 0) -> list[tuple[int, int, str]]:
    """Sequence number, number of the run, and text."""
    return [(at, speech.number, speech.text) for at, speech in outbox.numbered(seq)]


def test_messages_are_numbered_by_membership_and_by_run() -> None:
    outbox = Outbox(ORIGIN)
    assert [outbox.add(7, text) for text in ("one", "two")] == [1, 2]
    assert list(outbox.messages) == [
        MessageContent(7, ORIGIN, 1, "one"),
        MessageContent(7, ORIGIN, 2, "two"),
    ]
    outbox.acknowledge()
    assert outbox.add(8, "three") == 3
    assert texts(outbox) == [(2, 2, "two"), (3, 3, "three")]


@pytest.mark.parametrize(
    ("seq", "numbers"),
    [(0, [3, 4]), (2, [3, 4]), (3, [3, 4]), (4, [4]), (5, []), (2**63, []), (2**64 - 1, [])],
)
def test_numbered_gives_what_is_left_from_a_number_on(seq: int, numbers: list[int]) -> None:
    outbox = outbox_with("one", "two", "three", "four")
    outbox.acknowledge()
    outbox.acknowledge()
    assert [at for at, _ in outbox.numbered(seq)] == numbers


def test_size_counts_bytes_and_comes_back_to_nothing() -> None:
    outbox = outbox_with("é", "", "xyz")
    sizes = [outbox.size]
    for _ in range(3):
        outbox.acknowledge()
        sizes.append(outbox.size)
    assert sizes == [5, 3, 3, 0]
    outbox.renumber(replay=True)
    assert outbox.size == 5


def test_new_room_is_offered_what_was_just_acknowledged_first_and_in_order() -> None:
    outbox = outbox_with("one", "two", "three", "four")
    outbox.acknowledge()
    outbox.acknowledge()
    outbox.renumber(replay=True)
    assert texts(outbox) == [(1, 1, "one"), (2, 2, "two"), (3, 3, "three"), (4, 4, "four")]
    # Acknowledged again, it is offered once more to the room after that; never twice to one.
    outbox.acknowledge()
    outbox.renumber(replay=True)
    assert [number for _, number, _ in texts(outbox)] == [1, 2, 3, 4]
    assert outbox.add(9, "five") == 5


def test_new_membership_in_the_same_room_is_offered_only_what_is_not_acknowledged() -> None:
    outbox = outbox_with("one", "two", "three")
    outbox.acknowledge()
    outbox.renumber(replay=False)
    assert texts(outbox) == [(1, 2, "two"), (2, 3, "three")]


def test_new_membership_in_the_same_room_takes_nothing_from_the_next_room() -> None:
    """Whoever is put out and comes in again at once, and then the server dies."""
    outbox = outbox_with("one", "two")
    outbox.acknowledge()
    outbox.renumber(replay=False)
    outbox.acknowledge()
    outbox.renumber(replay=True)
    assert texts(outbox) == [(1, 1, "one"), (2, 2, "two")]


def test_what_was_acknowledged_long_ago_is_not_offered_again() -> None:
    outbox = outbox_with("one", "two")
    outbox.age(0.0)
    outbox.acknowledge()
    outbox.age(0.5)
    outbox.acknowledge()
    for pong in (PING_SECONDS, 2 * PING_SECONDS, REPLAY_SECONDS + PING_SECONDS + 0.25):
        outbox.age(pong)
    outbox.renumber(replay=True)
    assert [number for _, number, _ in texts(outbox)] == [2]


def test_what_was_acknowledged_before_a_long_silence_is_offered_again() -> None:
    """A process that is suspended, while the server dies, finds its acknowledgements in the socket
    when it wakes."""
    outbox = outbox_with("one", "two")
    outbox.age(0.0)
    outbox.acknowledge()
    outbox.age(REPLAY_SECONDS)
    outbox.age(1000 * REPLAY_SECONDS)
    outbox.acknowledge()
    outbox.renumber(replay=True)
    assert [number for _, number, _ in texts(outbox)] == [1, 2]


def test_replay_that_is_acknowledged_keeps_its_age_over_servers_that_die_in_a_row() -> None:
    outbox = outbox_with("one")
    now = 0.0
    outbox.age(now)
    outbox.acknowledge()
    offered = []
    for _ in range(9):
        outbox.renumber(replay=True)
        offered.append(len(outbox.messages))
        if not outbox.messages:
            break
        # The server is away for an hour, which makes nothing older; and the room lives for 25 s.
        now += 3_600
        for _ in range(25):
            outbox.age(now)
            now += 1
        outbox.acknowledge()
        assert outbox.size == 0
    assert offered == [1, 1, 1, 0], "after 24, 48 and 72 seconds in which it heard the server"


def test_more_than_can_be_kept_is_not_offered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "REPLAY_BYTES", 10)
    outbox = outbox_with("12345", "678", "90123", "45")
    for _ in range(4):
        outbox.acknowledge()
    outbox.renumber(replay=True)
    assert [number for _, number, _ in texts(outbox)] == [2, 3, 4]
    assert outbox.size == 10


def next_to_send(outbox: Outbox) -> int:
    return outbox.first_seq + len(outbox.messages) - outbox.unsent


@pytest.mark.parametrize(("seq", "next_seq"), [(0, 2), (1, 2), (3, 3), (5, 4), (2**64 - 1, 4)])
def test_rewind_skips_nothing_and_goes_no_further_than_there_is(seq: int, next_seq: int) -> None:
    outbox = outbox_with("one", "two", "three")
    outbox.take_to_send()
    outbox.acknowledge()
    outbox.rewind(seq)
    assert (next_to_send(outbox), outbox.sent_seq) == (next_seq, 3)
    # What has not been sent at all stays to be sent.
    unsent = outbox_with("one", "two")
    unsent.rewind(seq)
    assert [at for at, _ in unsent.take_to_send()] == [1, 2]


def test_what_is_acknowledged_meanwhile_is_not_sent_again() -> None:
    outbox = outbox_with("one", "two", "three")
    outbox.take_to_send()
    outbox.rewind()
    for next_seq in (2, 3, 4):
        outbox.acknowledge()
        assert (next_to_send(outbox), outbox.sent_seq) == (next_seq, 3)
    assert outbox.take_to_send() == []
