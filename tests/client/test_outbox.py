"""What we have said, whom we wait for with it, and what we have shown."""

from collections import Counter
from unittest import mock

import pytest

from chat.client.outbox import Outbox, Regroup, SeenMessages
from chat.contents import Kind, MessageContent
from chat.limits import MAX_MEMBERS, MAX_UNCHECKED, PING_SECONDS, REGROUP_SECONDS, REPLAY_SECONDS

ORIGIN, ROOM = b"origin..", b"room one"


def outbox_with(*texts: str, acknowledged: int = 0) -> Outbox:
    outbox = Outbox(ORIGIN)
    for text in texts:
        outbox.add(7, text)
    outbox.take_to_send(epoch=5)
    for _ in range(acknowledged):
        outbox.acknowledge(ROOM)
    return outbox


def as_it_was(content: MessageContent, room: bytes, epoch: int) -> MessageContent | None:
    assert (room, epoch) == (ROOM, 5)
    return content


def new_room(outbox: Outbox) -> None:
    """Come to another room, and send what there is to say."""
    outbox.replay(as_it_was)
    outbox.renumber()


def waiting(outbox: Outbox) -> list[tuple[int, int]]:
    """Sequence number and number of the run of what is not acknowledged."""
    return [(seq, content.number) for seq, content in outbox.numbered(0)]


def test_messages_are_numbered_by_membership_and_by_run() -> None:
    outbox = Outbox(ORIGIN)
    assert [outbox.add(7, text) for text in ("one", "two")] == [1, 2]
    assert outbox.messages[1] == MessageContent(Kind.SAY, 7, ORIGIN, 2, b"two")
    outbox.take_to_send(epoch=5)
    outbox.acknowledge(ROOM)
    assert outbox.add(8, "three") == 3
    outbox.renumber()
    assert waiting(outbox) == [(1, 2), (2, 3)]


def test_outbox_is_written_down_as_counts_and_without_a_text() -> None:
    outbox = outbox_with("one", "two", "three", acknowledged=1)
    assert repr(outbox) == "Outbox(2 from 2 on, 0 unsent, 1 recent)"


@pytest.mark.parametrize(
    ("seq", "numbers"), [(0, [3, 4]), (3, [3, 4]), (4, [4]), (5, []), (2**64 - 1, [])]
)
def test_numbered_gives_what_is_left_from_a_number_on(seq: int, numbers: list[int]) -> None:
    outbox = outbox_with("one", "two", "three", "four", acknowledged=2)
    assert [at for at, _ in outbox.numbered(seq)] == numbers


def test_size_counts_bytes_and_comes_back_to_nothing() -> None:
    outbox = outbox_with("é", "", "xyz")
    sizes = [outbox.size]
    for _ in range(3):
        outbox.acknowledge(ROOM)
        sizes.append(outbox.size)
    assert sizes == [5, 3, 3, 0]
    new_room(outbox)
    assert outbox.size == 5


def test_new_room_is_offered_what_was_just_acknowledged_first_and_in_order() -> None:
    outbox = outbox_with("one", "two", "three", "four", acknowledged=2)
    for _ in range(2):
        # Acknowledged again, it is offered once more to the room after that; never twice to one.
        new_room(outbox)
        assert waiting(outbox) == [(1, 1), (2, 2), (3, 3), (4, 4)]
        outbox.take_to_send(epoch=5)
        outbox.acknowledge(ROOM)
    assert outbox.add(9, "five") == 5


def test_new_membership_in_the_same_room_is_offered_only_what_is_not_acknowledged() -> None:
    outbox = outbox_with("one", "two", "three", acknowledged=1)
    outbox.renumber()
    assert waiting(outbox) == [(1, 2), (2, 3)]
    # And takes nothing from the next room.
    outbox.take_to_send(epoch=5)
    outbox.acknowledge(ROOM)
    new_room(outbox)
    assert waiting(outbox) == [(1, 1), (2, 2), (3, 3)]


def test_new_membership_is_offered_what_nobody_has_vouched_for_first_and_in_order() -> None:
    outbox = outbox_with("one", "two", "three", "four", acknowledged=1)
    outbox.checked()
    for _ in range(2):
        outbox.acknowledge(ROOM)
    outbox.replay(as_it_was, unchecked_alone=True)
    outbox.renumber()
    assert waiting(outbox) == [(1, 2), (2, 3), (3, 4)]
    # What was vouched for comes before them in the next room.
    new_room(outbox)
    assert waiting(outbox) == [(1, 1), (2, 2), (3, 3), (4, 4)]


@pytest.mark.parametrize("readable", [1, 2])
def test_message_that_cannot_be_repeated_leaves_out_those_before_it(readable: int) -> None:
    outbox = outbox_with("one", "two", "three", "four", acknowledged=1)
    outbox.checked()
    for _ in range(2):
        outbox.acknowledge(ROOM)

    def some(content: MessageContent, _room: bytes, _epoch: int) -> MessageContent | None:
        return content if content.number > 3 - readable else None

    outbox.replay(some, unchecked_alone=True)
    new_room(outbox)
    # "one" may be repeated in the next room if there is no gap behind it.
    first = {1: 3, 2: 1}[readable]
    assert [number for _, number in waiting(outbox)] == list(range(first, 5))
    assert outbox.size == sum(len(content.body) for content in outbox.messages)


def test_what_was_acknowledged_long_ago_is_not_offered_again() -> None:
    outbox = outbox_with("one", "two")
    for now in (0.0, 0.5):
        outbox.age(now)
        outbox.acknowledge(ROOM)
    for pong in (PING_SECONDS, 2 * PING_SECONDS, REPLAY_SECONDS + PING_SECONDS + 0.25):
        outbox.age(pong)
    new_room(outbox)
    assert waiting(outbox) == [(1, 2)]


def test_what_was_acknowledged_before_a_long_silence_is_offered_again() -> None:
    """A process that is suspended, while the server dies, finds its acknowledgements in the socket
    when it wakes."""
    outbox = outbox_with("one", "two")
    outbox.age(0.0)
    outbox.acknowledge(ROOM)
    outbox.age(REPLAY_SECONDS)
    outbox.age(1000 * REPLAY_SECONDS)
    outbox.acknowledge(ROOM)
    new_room(outbox)
    assert waiting(outbox) == [(1, 1), (2, 2)]


def test_replay_that_is_acknowledged_keeps_its_age_over_servers_that_die_in_a_row() -> None:
    outbox = outbox_with("one")
    now = 0.0
    outbox.age(now)
    outbox.acknowledge(ROOM)
    offered = []
    for _ in range(9):
        new_room(outbox)
        offered.append(len(outbox.messages))
        if not outbox.messages:
            break
        # The server is away for an hour, which makes nothing older; and the room lives for 25 s.
        now += 3_600
        for _ in range(25):
            outbox.age(now)
            now += 1
        outbox.take_to_send(epoch=5)
        outbox.acknowledge(ROOM)
        assert outbox.size == 0
    assert offered == [1, 1, 1, 0], "after 24, 48 and 72 seconds in which it heard the server"


def test_acknowledgements_since_the_last_check_can_be_taken_back() -> None:
    outbox = outbox_with("one", "two", "three", acknowledged=1)
    outbox.checked()
    outbox.acknowledge(ROOM)
    outbox.take_back()
    outbox.take_back()
    assert waiting(outbox) == [(2, 2), (3, 3)]
    assert outbox.size == len("twothree")
    outbox.rewind(2)
    assert [seq for seq, _ in outbox.take_to_send(epoch=5)] == [2, 3]
    outbox.acknowledge(ROOM)
    # In a new membership what was acknowledged stays so, whether or not anybody vouches for it.
    outbox.renumber()
    outbox.take_back()
    assert waiting(outbox) == [(1, 3)]
    new_room(outbox)
    outbox.take_back()
    assert waiting(outbox) == [(1, 1), (2, 2), (3, 3)]


def test_message_is_repeated_as_sealed_when_it_was_sent_last() -> None:
    outbox = outbox_with("one", "two")
    outbox.rewind(2)
    outbox.take_to_send(epoch=6)
    for _ in range(2):
        outbox.acknowledge(ROOM)
    asked: list[tuple[bytes, bytes, int]] = []

    def repeat(content: MessageContent, room: bytes, epoch: int) -> MessageContent | None:
        asked.append((content.body, room, epoch))
        return content if epoch == 6 else None

    outbox.replay(repeat)
    outbox.renumber()
    assert asked == [(b"two", ROOM, 6), (b"one", ROOM, 5)]
    assert waiting(outbox) == [(1, 2)], "a run has no gaps: what was before is left out"


def test_more_than_can_be_kept_is_not_offered_again() -> None:
    with mock.patch("chat.client.outbox.REPLAY_BYTES", 10):
        outbox = outbox_with("12345", "678", "90123", "45", acknowledged=4)
    new_room(outbox)
    assert waiting(outbox) == [(1, 2), (2, 3), (3, 4)]
    assert outbox.size == 10


@pytest.mark.parametrize(
    ("seq", "again"), [(0, [2, 3]), (1, [2, 3]), (3, [3]), (5, []), (2**64 - 1, [])]
)
def test_rewind_skips_nothing_and_goes_no_further_than_there_is(seq: int, again: list[int]) -> None:
    outbox = outbox_with("one", "two", "three")
    outbox.take_to_send(epoch=5)
    outbox.acknowledge(ROOM)
    outbox.rewind(seq)
    assert outbox.unsent == len(again)
    assert [at for at, _ in outbox.take_to_send(epoch=5)] == again
    assert outbox.sent_seq == 3
    # What has not been sent at all stays to be sent.
    outbox.add(7, "four")
    outbox.rewind(seq)
    assert [at for at, _ in outbox.take_to_send(epoch=5)] in ([4], [*again, 4])


def test_what_is_acknowledged_meanwhile_is_not_sent_again() -> None:
    outbox = outbox_with("one", "two", "three")
    outbox.take_to_send(epoch=5)
    outbox.rewind()
    for unsent in (2, 1, 0):
        outbox.acknowledge(ROOM)
        assert outbox.unsent == unsent
    assert outbox.take_to_send(epoch=5) == []


# -- whom we wait for


def test_regroup_waits_for_all_of_the_old_rooms_and_not_for_ever() -> None:
    regroup = Regroup()
    assert not regroup.waits
    regroup.expect(Counter({b"a": 1, b"b": 1}))
    regroup.begin(100.0)
    assert regroup.until == 100 + REGROUP_SECONDS
    regroup.arrived([b"b", b"x"])
    # The server dies again: those of the room in between are awaited, too.
    regroup.expect(Counter({b"b": 1, b"c": 1}))
    for fingerprint in (b"c", b"a", b"b"):
        assert regroup.waits
        regroup.arrived([fingerprint])
    assert not regroup.waits
    regroup.expect(Counter({b"a": 1}))
    regroup.stop()
    assert not regroup.waits


def test_regroup_waits_for_as_many_connections_of_a_person_as_there_were() -> None:
    """The laptop may be back a second before the phone."""
    regroup = Regroup()
    regroup.expect(Counter({b"a": 3}))
    regroup.found(Counter({b"a": 1, b"b": 2}))
    regroup.arrived([b"a", b"b"])
    # Told anew who is there: nobody is counted twice.
    regroup.found(Counter({b"a": 2}))
    assert regroup.waits
    regroup.arrived([b"a"])
    assert not regroup.waits
    # Who goes again is not waited for again.
    regroup.found(Counter({b"a": 1}))
    assert not regroup.waits


def test_regroup_waits_for_all_connections_of_a_person_of_whom_one_was_back_in_between() -> None:
    regroup = Regroup()
    regroup.expect(Counter({b"a": 2}))
    regroup.found(Counter({b"a": 1}))
    # The server dies again, before the second one is back.
    regroup.expect(Counter({b"a": 1}))
    regroup.found(Counter({b"a": 1}))
    assert regroup.waits
    regroup.arrived([b"a"])
    assert not regroup.waits


def test_regroup_waits_for_no_more_members_than_a_room_has() -> None:
    regroup = Regroup()
    keys = [bytes((number // 256, number % 256)) for number in range(MAX_MEMBERS + 1)]
    regroup.expect(Counter(keys[:1]))
    regroup.expect(Counter(keys[1:]))
    regroup.arrived(keys[1:])
    assert not regroup.waits


# -- what we have shown


def said(number: int, text: bytes = b"Hi", origin: bytes = ORIGIN) -> MessageContent:
    return MessageContent(Kind.SAY, 7, origin, number, text)


def is_new(seen: SeenMessages, number: int, text: bytes = b"Hi", key: bytes = b"key") -> bool:
    return seen.is_new(key, said(number), text)


def test_message_of_a_run_is_new_once() -> None:
    seen = SeenMessages()
    assert [is_new(seen, number) for number in (1, 2, 1, 2, 5)] == [True, True, False, False, True]
    seen.checked()
    assert [is_new(seen, number) for number in (5, 4, 3, 6)] == [False, False, False, True]
    # Another run of the same key, and another key that says our origin, have numbers of their own.
    assert seen.is_new(b"key", said(1, origin=b"another."), b"Hi")
    assert is_new(seen, 2**64 - 1, key=b"other")
    assert is_new(seen, 7)


def test_word_put_into_anothers_mouth_hides_nothing_of_what_the_other_says() -> None:
    seen = SeenMessages()
    assert is_new(seen, 1, b"true")
    seen.checked()
    assert is_new(seen, 2, b"forged")
    assert is_new(seen, 2**64 - 1, b"forged")
    assert is_new(seen, 2, b"true")
    assert not is_new(seen, 2, b"true")
    assert is_new(seen, 3, b"true")


def test_what_is_not_checked_is_remembered_within_bounds() -> None:
    seen = SeenMessages()
    assert all(is_new(seen, number) for number in range(1, MAX_UNCHECKED + 2))
    assert is_new(seen, 1)
    assert not is_new(seen, MAX_UNCHECKED + 1)


@pytest.mark.parametrize("limit", ["MAX_ORIGINS", "MAX_ORIGINS_OF_ONE"])
def test_run_that_was_silent_for_longest_is_forgotten_first(limit: str) -> None:
    seen = SeenMessages()

    def is_new(who: bytes, number: int) -> bool:
        key, origin = (who, ORIGIN) if limit == "MAX_ORIGINS" else (b"key", who)
        return seen.is_new(key, said(number, origin=origin), b"Hi")

    with mock.patch(f"chat.client.outbox.{limit}", 2):
        assert all(is_new(who, n) for who, n in [(b"a", 1), (b"b", 1), (b"a", 2), (b"c", 1)])
    assert not is_new(b"a", 2)
    assert not is_new(b"c", 1)
    assert is_new(b"b", 1)
