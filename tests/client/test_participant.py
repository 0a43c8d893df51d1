"""A participant's view of the room: with a real room in memory, and with a server that lies.

What happens over several connections is in `test_resuming`.
"""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.cipher import OVERHEAD_BYTES, sealed_bytes
from chat.client.events import (
    Entered,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageQueued,
    MessageReceived,
    NoticeReceived,
    Person,
    RoomClosed,
    Warned,
)
from chat.errors import OpenError, ProtocolError, Reason, UsageError
from chat.limits import (
    EPOCH_GRACE_SECONDS,
    GRACE_SECONDS,
    MAX_EPOCHS,
    MAX_FRAME_BYTES,
    MAX_MEMBERS,
    MAX_TEXT_BYTES,
    OUTBOX_BYTES,
    OUTBOX_MESSAGES,
)
from chat.messages import (
    Back,
    Bye,
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
    Resume,
    Resumed,
    RoomEvent,
    Roster,
    Welcome,
)
from chat.wire import Event, Message, room_header
from tests.support.hall import (
    EPOCH,
    MEMBERS,
    OTHER,
    THEM,
    TOKEN,
    US,
    Desk,
    Hall,
    Seat,
    cut,
    entry,
    epochs_in,
    fingerprint,
)
from tests.support.helpers import WALL_CLOCK


def test_newcomer_is_shown_who_is_in_and_others_who_came() -> None:
    hall = Hall()
    (ira,) = hall.enter("Ira")
    assert ira.shown == [Entered(("Ira",))]
    sahnawaz, thea = hall.enter("Sahnawaz", "Thea")
    assert ira.shown[1:] == [MemberJoined("Sahnawaz"), MemberJoined("Thea")]
    assert sahnawaz.shown == thea.shown == [Entered(("Ira", "Sahnawaz", "Thea"))]
    assert sahnawaz.participant.has_joined


def test_messages_arrive_in_order_once_at_everybody() -> None:
    hall = Hall()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    for number in range(3):
        ira.say(f"one {number}")
        sahnawaz.say(f"two {number}")
    sahnawaz.carry(2)
    ira.carry(1)
    hall.settle()
    order = [
        ("Sahnawaz", "two 0"),
        ("Sahnawaz", "two 1"),
        ("Ira", "one 0"),
        ("Ira", "one 1"),
        ("Ira", "one 2"),
        ("Sahnawaz", "two 2"),
    ]
    assert ira.said() == sahnawaz.said() == thea.said() == order


def test_own_copy_acknowledges() -> None:
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    ira.say("Hi")
    ira.say("there")
    assert ira.participant.unacknowledged == 2
    ira.carry(1)
    assert ira.participant.unacknowledged == 2
    ira.read()
    assert ira.participant.unacknowledged == 1
    assert ira.shown[-1] == MessageReceived("Ira", 1_001_000, "Hi", own=True, number=1)
    hall.settle()
    assert ira.participant.unacknowledged == 0
    assert sahnawaz.shown[-1] == MessageReceived("Ira", 1_001_000, "there", own=False, number=2)


def test_stale_messages_are_sent_again_and_nothing_is_lost() -> None:
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    ira.say("one")
    ira.say("two")
    hall.join("Thea")
    hall.pass_time(1)
    hall.pass_time(EPOCH_GRACE_SECONDS + 1)
    ira.carry()
    assert epochs_in(hall) == []
    # The answer finds the sender in the middle of typing.
    ira.say("three")
    hall.settle()
    assert epochs_in(hall) == [(1, 1, 3), (1, 2, 3), (1, 3, 3)]
    assert ira.said() == sahnawaz.said() == [("Ira", "one"), ("Ira", "two"), ("Ira", "three")]
    assert not ira.warnings() + sahnawaz.warnings()
    assert ira.participant.unacknowledged == 0


def test_resend_sends_under_the_current_epoch_with_the_same_numbers() -> None:
    hall = Hall()
    (ira,) = hall.enter("Ira")
    for text in ("one", "two", "three"):
        ira.say(text)
    first = cut(ira.participant.data_to_send())
    hall.enter("Sahnawaz")
    assert ira.participant.receive_control(Resend(2), hall.now) == []
    again = cut(ira.participant.data_to_send())
    assert [Message.from_wire(frame).seq for frame in first] == [1, 2, 3]
    assert {Message.from_wire(frame).epoch for frame in first} == {2}
    assert [Message.from_wire(frame).seq for frame in again] == [2, 3]
    assert {Message.from_wire(frame).epoch for frame in again} == {3}
    assert ira.participant.unacknowledged == 3


@pytest.mark.parametrize("seq", [4, 2**64 - 1])
def test_resend_of_what_was_never_said_sends_nothing(seq: int) -> None:
    hall = Hall()
    (ira,) = hall.enter("Ira")
    for text in ("one", "two", "three"):
        ira.say(text)
    ira.participant.data_to_send()
    ira.participant.receive_control(Resend(seq), hall.now)
    assert ira.participant.data_to_send() == b""


def test_resend_does_not_send_what_is_acknowledged() -> None:
    hall = Hall()
    (ira,) = hall.enter("Ira")
    ira.say("one")
    hall.settle()
    ira.say("two")
    ira.participant.data_to_send()
    ira.participant.receive_control(Resend(1), hall.now)
    (frame,) = cut(ira.participant.data_to_send())
    assert Message.from_wire(frame).seq == 2


def test_newcomer_skips_what_was_sealed_before_it_came() -> None:
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    ira.say("before, 1")
    ira.say("before, 2")
    thea = hall.join("Thea")
    hall.pass_time(1)
    ira.carry()
    hall.settle()
    ira.say("after")
    hall.settle()
    assert epochs_in(hall) == [(1, 1, 2), (1, 2, 2), (1, 3, 3)]
    assert sahnawaz.said() == [("Ira", "before, 1"), ("Ira", "before, 2"), ("Ira", "after")]
    assert thea.shown == [
        Entered(("Ira", "Sahnawaz", "Thea")),
        MessageReceived("Ira", 1_002_000, "after", own=False, number=3),
    ]


def test_earlier_epoch_is_still_read_by_those_who_were_in() -> None:
    hall = Hall()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    ira.say("typed before Thea left")
    hall.leave(thea)
    hall.pass_time(1)
    ira.carry()
    hall.settle()
    assert sahnawaz.shown[-2:] == [
        MemberLeft("Thea", Reason.LEFT),
        MessageReceived("Ira", 1_001_000, "typed before Thea left", own=False, number=1),
    ]
    assert epochs_in(hall) == [(1, 1, 2)]


def test_who_left_is_named_with_the_reason() -> None:
    hall = Hall()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    hall.leave(sahnawaz, Reason.LOST)
    hall.leave(thea, Reason.KICKED)
    hall.pass_time(1)
    hall.settle()
    assert ira.shown[-2:] == [
        MemberLeft("Sahnawaz", Reason.LOST),
        MemberLeft("Thea", Reason.KICKED),
    ]
    (again,) = hall.enter("Sahnawaz")
    ira.say("welcome back")
    hall.settle()
    assert again.shown[0] == Entered(("Ira", "Sahnawaz"))
    assert again.said() == [("Ira", "welcome back")]
    assert not ira.warnings() + again.warnings()


def test_others_who_are_lost_and_come_back_are_named_and_we_are_not() -> None:
    desk = Desk()
    shown = desk.hear(*(desk.event(event(who)) for event in (Lost, Back) for who in (US, THEM)))
    assert shown == [MemberLost("Sahnawaz"), MemberBack("Sahnawaz")]


def test_notice_and_closing_are_shown_in_their_place() -> None:
    hall = Hall()
    (ira,) = hall.enter("Ira")
    ira.say("first")
    ira.carry()
    hall.room.say("half an hour to go")
    ira.say("second")
    ira.carry()
    hall.room.close()
    ira.read()
    assert ira.shown[1:] == [
        MessageReceived("Ira", 1_001_000, "first", own=True, number=1),
        NoticeReceived("half an hour to go"),
        MessageReceived("Ira", 1_001_000, "second", own=True, number=2),
        RoomClosed(),
    ]


def test_number_of_what_is_under_way_is_that_of_what_is_said() -> None:
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    under_way = [ira.participant.say(text, 9) for text in ("one", "two")]
    assert under_way == [MessageQueued(1, "one"), MessageQueued(2, "two")]
    ira.carry()
    hall.settle()
    assert ira.participant.say("three", 9) == MessageQueued(3, "three")
    ira.carry()
    hall.settle()
    for seat, own in ((ira, True), (sahnawaz, False)):
        assert [event for event in seat.shown if isinstance(event, MessageReceived)] == [
            MessageReceived("Ira", 9, text, own, number)
            for number, text in enumerate(("one", "two", "three"), 1)
        ]


def test_nothing_to_send_is_nothing() -> None:
    hall = Hall()
    (ira,) = hall.enter("Ira")
    assert ira.participant.data_to_send() == b""
    ira.say("Hi")
    assert ira.participant.data_to_send()
    assert ira.participant.data_to_send() == b""


# -- who is in ---------------------------------------------------------------------------------


def person(name: str, since: int) -> Person:
    return Person(name, since, fingerprint(name))


def test_nobody_is_known_before_the_welcome() -> None:
    desk = Desk(welcomed=False)
    assert desk.participant.members() == []
    desk.control(desk.welcome())
    assert desk.participant.members() == []


def test_members_are_those_of_the_roster_and_ourselves_each_since_it_came() -> None:
    desk = Desk(welcomed=False)
    us, them = entry(US, "Ira", since=30), entry(THEM, "Sahnawaz", seq=8, since=2**64 - 1)
    desk.control(desk.welcome(members=2), Roster((us,)))
    assert desk.participant.members() == [person("Ira", 30)]
    desk.control(Roster((them,)))
    assert desk.participant.members() == [person("Ira", 30), person("Sahnawaz", 2**64 - 1)]


def test_members_follow_who_joins_and_who_leaves_and_not_who_is_lost() -> None:
    desk = Desk()
    before = [person("Ira", 11), person("Sahnawaz", 12), person("Thea", 13)]
    assert desk.participant.members() == before
    desk.hear(desk.event(Joined((entry(4, "Zoë", since=77), entry(5, "Bo", since=78)))))
    came = [person("Zoë", 77), person("Bo", 78)]
    assert desk.participant.members() == [*before, *came]
    desk.hear(desk.event(Lost(4)))
    assert desk.participant.members() == [*before, *came]
    desk.hear(desk.event(Left(((THEM, Reason.LEFT), (4, Reason.LOST)))))
    assert desk.participant.members() == [before[0], before[2], came[1]]


def test_members_are_the_last_that_we_knew_of_while_we_are_away_and_then_the_new_ones() -> None:
    desk = Desk()
    known = desk.participant.members()
    desk.restart()
    assert desk.participant.members() == known
    desk.control(desk.welcome(members=1), Roster((entry(US, "Ira", since=99),)))
    assert desk.participant.members() == [person("Ira", 99)]


def test_everybody_knows_since_when_everybody_is_in() -> None:
    hall = Hall()
    seats = [*hall.enter("Ira"), *hall.enter("Sahnawaz"), *hall.enter("Thea")]
    for seat in seats:
        assert seat.participant.members() == [
            person(name, int(WALL_CLOCK) + 1_000 + number)
            for number, name in enumerate(("Ira", "Sahnawaz", "Thea"))
        ]


# -- the property ------------------------------------------------------------------------------

NAMES = ["Ira", "Sahnawaz", "Thea", "Zoë"]
TURN_SECONDS = 0.03
WAITS = [0.1, 1.0, 4.0, EPOCH_GRACE_SECONDS + 0.5]
MAX_SECONDS = GRACE_SECONDS - 10
WINDOW_BYTES = 2_000

ACTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["toggle", "say", "say", "carry", "carry", "read", "read", "wait", "cut", "trim"]
        ),
        st.sampled_from(NAMES),
        st.integers(1, 4),
    ),
    min_size=60,
    max_size=120,
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, derandomize=True)
@given(ACTS)
def test_everybody_is_shown_the_same_order_and_each_message_once(
    acts: list[tuple[str, str, int]],
) -> None:
    """Whatever is cut comes back before anybody's grace is over; where the log's window is left,
    the gap is told."""
    hall = Hall()
    end = hall.now + MAX_SECONDS
    inside = dict(zip(NAMES[:3], hall.enter(*NAMES[:3]), strict=True))
    for number, (act, name, count) in enumerate(acts):
        seat = inside.get(name)
        if act == "wait":
            wait = WAITS[count - 1]
            hall.pass_time(wait if hall.now + wait < end else 0.0)
        elif act == "trim":
            hall.trim(WINDOW_BYTES)
        elif act == "toggle" and seat is None:
            inside[name] = hall.join(name)
        elif act == "toggle" and seat is not None:
            hall.leave(inside.pop(name))
        elif seat is not None and seat.participant.has_joined:
            act_in_room(hall, seat, act, number, count)
        hall.pass_time(TURN_SECONDS)
    for seat in inside.values():
        if not seat.connected:
            hall.come_back(seat)
    for _ in range(6):
        hall.pass_time(0.2)
        hall.settle()
    assert_same_order(hall, inside)


def act_in_room(hall: Hall, seat: Seat, act: str, number: int, count: int) -> None:
    if act == "say":
        for part in range(count):
            seat.say(f"{number}.{part} of {seat.member.name}")
    elif not seat.connected:
        hall.come_back(seat)
    elif act == "cut":
        # Every other time the server does not notice.
        hall.lose(seat) if count % 2 else hall.come_back(seat)
    elif act == "read":
        seat.read(2 * count)
    else:
        seat.carry(count)


def assert_same_order(hall: Hall, inside: dict[str, Seat]) -> None:
    for seat in hall.everybody:
        assert seat.warnings() == []
        assert seat.said() == hall.said(seat)
    for seat in hall.seats.values():
        assert seat.participant.can_send
        assert seat.offset == hall.log.end
        assert seat.participant.unacknowledged == 0
        assert seat.missed() == hall.gaps(seat)
        name = seat.member.name
        assert [text for who, text in seat.said() if who == name] == seat.texts
    assert {seat.member.name for seat in hall.seats.values()} == set(inside)
    said = epochs_in(hall)
    assert len({(sender, seq) for sender, seq, _ in said}) == len(said)


# -- what goes wrong in the room, and is said once ---------------------------------------------

TWICE = Warned("Sahnawaz: a message arrived twice, and was dropped the second time")
CLOSED = Warned("Sahnawaz: a message could not be opened, and was dropped")
STRANGER = Warned("the server: a message of somebody who is not here")


def hi(number: int, name: str = "Sahnawaz") -> MessageReceived:
    return MessageReceived(name, 7, "Hi", own=False, number=number)


def test_desk_is_an_honest_server_unless_told_otherwise() -> None:
    desk = Desk()
    assert desk.hear(desk.message(1), desk.message(1, sender=OTHER)) == [hi(1), hi(1, "Thea")]
    assert desk.hear(desk.event(Joined((entry(4, "Zoë"),)))) == [MemberJoined("Zoë")]
    assert desk.hear(desk.message(1, sender=4)) == [hi(1, "Zoë")]
    assert desk.hear(desk.event(Left(((4, Reason.LOST),)))) == [MemberLeft("Zoë", Reason.LOST)]
    assert desk.control(desk.rekey()) == []
    assert desk.hear(desk.message(2), desk.event(Notice("?"))) == [hi(2), NoticeReceived("?")]
    desk.participant.say("Hello", 9)
    assert desk.sent() == [(1, EPOCH + 2, "Hello")]


def test_gap_says_that_messages_were_withheld() -> None:
    desk = Desk()
    assert desk.hear(desk.message(1), desk.message(4)) == [
        hi(1),
        Warned("2 of Sahnawaz's messages did not arrive: somebody withheld them"),
        hi(4),
    ]
    # Each sender has numbers of its own, and what was withheld is not awaited.
    assert desk.hear(desk.message(5), desk.message(1, sender=OTHER)) == [hi(5), hi(1, "Thea")]


def test_gap_right_after_the_welcome_is_noticed() -> None:
    desk = Desk(welcomed=False)
    desk.control(desk.welcome(members=2))
    desk.control(Roster((entry(US, "Ira"), entry(THEM, "Sahnawaz", seq=8))))
    shown = desk.hear(desk.message(10))
    assert shown == [
        Warned("1 of Sahnawaz's messages did not arrive: somebody withheld them"),
        hi(10),
    ]


def test_message_that_was_already_heard_at_the_welcome_is_dropped() -> None:
    desk = Desk(welcomed=False)
    desk.control(desk.welcome(members=2))
    desk.control(Roster((entry(US, "Ira"), entry(THEM, "Sahnawaz", seq=8))))
    assert desk.hear(desk.message(8), desk.message(9)) == [TWICE, hi(9)]


def test_what_arrived_and_did_not_open_was_not_withheld() -> None:
    """Any member can make frames that do not open; the server relays them."""
    desk = Desk()
    broken = [Message(EPOCH, THEM, seq, bytes(96)).to_wire() for seq in (1, 2, 3, 4)]
    assert desk.hear(*broken, desk.message(5)) == [CLOSED, hi(5)]
    event = Event(EPOCH, 0, 1, bytes(96)).to_wire()
    desk.event(Notice("does not arrive as it was"))
    shown = desk.hear(event, desk.event(Notice("next")))
    assert shown == [
        Warned("the server: an event could not be opened, and was dropped"),
        NoticeReceived("next"),
    ]


def test_message_withheld_behind_one_that_did_not_open_is_noticed() -> None:
    desk = Desk()
    broken = Message(EPOCH, THEM, 1, bytes(96)).to_wire()
    assert desk.hear(broken, desk.message(4)) == [
        CLOSED,
        Warned("2 of Sahnawaz's messages did not arrive: somebody withheld them"),
        hi(4),
    ]


def test_withheld_event_is_noticed() -> None:
    desk = Desk()
    desk.event(Notice("withheld"))
    assert desk.hear(desk.event(Notice("shown"))) == [
        Warned("1 of the server's messages did not arrive: somebody withheld them"),
        NoticeReceived("shown"),
    ]


def test_replay_is_dropped_and_said_once() -> None:
    desk = Desk()
    one, two, three = (desk.message(seq, f"{seq}") for seq in (1, 2, 3))
    shown = desk.hear(one, one, two, one, two, three)
    assert shown == [
        MessageReceived("Sahnawaz", 7, "1", own=False, number=1),
        TWICE,
        MessageReceived("Sahnawaz", 7, "2", own=False, number=2),
        MessageReceived("Sahnawaz", 7, "3", own=False, number=3),
    ]


def test_each_sender_and_each_kind_of_trouble_is_said_once() -> None:
    desk = Desk()
    theirs, others = desk.message(1), desk.message(1, sender=OTHER)
    broken = Message(EPOCH, THEM, 9, bytes(96)).to_wire()
    shown = desk.hear(theirs, others, *[theirs, others, broken] * 3)
    assert shown == [
        hi(1),
        hi(1, "Thea"),
        TWICE,
        Warned("Thea: a message arrived twice, and was dropped the second time"),
        CLOSED,
    ]


def test_replayed_event_is_dropped_and_said_once() -> None:
    desk = Desk()
    notice = desk.event(Notice("mind the gap"))
    shown = desk.hear(notice, notice, notice, desk.event(Notice("next")))
    assert shown == [
        NoticeReceived("mind the gap"),
        Warned("the server: an event arrived twice, and was dropped the second time"),
        NoticeReceived("next"),
    ]


def test_event_forged_without_the_key_is_dropped_and_said_once() -> None:
    desk = Desk()
    forged = [Event(EPOCH, 0, seq, bytes(96)).to_wire() for seq in (1, 2, 2**64 - 1)]
    # A member has the message key, and must not be able to use it for events.
    header = room_header(Event.TYPE, EPOCH, 0, 1, sealed_bytes(1))
    closing = header + desk.secret.message_key().seal(header, Closing().encode(), desk.random_bytes)
    shown = desk.hear(*forged, closing, desk.event(Notice("true")))
    assert shown == [
        Warned("the server: an event could not be opened, and was dropped"),
        NoticeReceived("true"),
    ]


def test_message_relabelled_as_an_event_does_not_open_and_the_other_way_round() -> None:
    desk = Desk()
    event = Event.from_wire(desk.event(Notice("x")))
    as_message = Message(EPOCH, THEM, 1, event.sealed).to_wire()
    assert desk.hear(as_message) == [CLOSED]
    message = Message.from_wire(desk.message(1))
    as_event = Event(EPOCH, 0, 1, message.sealed).to_wire()
    assert [type(event) for event in desk.hear(as_event)] == [Warned]
    assert desk.hear(desk.message(1)) == [hi(1)]


def test_message_of_a_stranger_is_dropped_and_said_once() -> None:
    desk = Desk()
    frames = [desk.message(seq, sender=sender) for seq in (1, 2) for sender in (0, 4, 2**32 - 1)]
    assert desk.hear(*frames, desk.message(1)) == [STRANGER, hi(1)]


def test_message_of_somebody_who_has_left_is_dropped() -> None:
    desk = Desk()
    desk.hear(desk.event(Left(((OTHER, Reason.LEFT),))))
    desk.control(desk.rekey())
    assert desk.hear(desk.message(1, sender=OTHER)) == [STRANGER]


@pytest.mark.parametrize("epoch", [EPOCH + 1, EPOCH + 2, 2**32 - 1])
def test_message_under_an_epoch_to_come_is_dropped(epoch: int) -> None:
    desk = Desk()
    desk.epoch = epoch
    early = desk.message(1)
    desk.epoch = EPOCH
    assert desk.hear(early, desk.message(1)) == [CLOSED, hi(1)]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(
        st.builds(
            Message,
            st.integers(EPOCH, EPOCH + 2) | st.just(2**32 - 1),
            st.integers(0, 4),
            st.integers(0, 5) | st.just(2**64 - 1),
            st.binary(min_size=1, max_size=OVERHEAD_BYTES + 70),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_forged_messages_do_not_disturb_what_follows(forged: list[Message]) -> None:
    desk = Desk()
    shown = desk.hear(*(frame.to_wire() for frame in forged))
    assert all(isinstance(event, Warned) for event in shown)
    assert len(set(shown)) == len(shown)
    assert desk.hear(desk.message(1), desk.message(2)) == [hi(1), hi(2)]
    desk.participant.say("Hello", 9)
    assert desk.hear(desk.message(1, "Hello", sender=US, time_ms=9)) == [
        MessageReceived("Ira", 9, "Hello", own=True, number=1)
    ]


@pytest.mark.parametrize("part", [range(3, 7), range(7, 11), range(11, 19), range(19, 115)])
def test_altered_message_is_dropped_and_the_true_one_still_counts(part: range) -> None:
    for bit in range(8 * part.start, 8 * part.stop):
        desk = Desk()
        frame = desk.message(1)
        altered = bytearray(frame)
        altered[bit // 8] ^= 0x80 >> bit % 8
        shown = desk.hear(bytes(altered))
        assert not [event for event in shown if not isinstance(event, Warned)], bit
        assert desk.hear(frame) == [hi(1)], bit
    assert len(frame) == 115


def test_forged_number_under_an_earlier_epoch_silences_nobody() -> None:
    """A newcomer cannot open what is older than itself, so such a frame proves nothing: anybody
    on the wire can make one."""
    desk = Desk()
    forged = Message(EPOCH - 1, THEM, 2**64 - 1, bytes(96)).to_wire()
    assert desk.hear(forged) == []
    assert desk.hear(desk.message(1)) == [hi(1)]


def test_numbers_of_skipped_messages_are_not_missing() -> None:
    desk = Desk()
    skipped = [Message(EPOCH - 1, THEM, seq, bytes(96)).to_wire() for seq in (1, 2)]
    assert desk.hear(*skipped) == []
    assert desk.hear(desk.message(3)) == [hi(3)]


def test_message_withheld_behind_skipped_ones_is_noticed() -> None:
    desk = Desk()
    assert desk.hear(Message(EPOCH - 1, THEM, 1, bytes(96)).to_wire()) == []
    assert desk.hear(desk.message(3)) == [
        Warned("1 of Sahnawaz's messages did not arrive: somebody withheld them"),
        hi(3),
    ]


@pytest.mark.parametrize(
    ("content", "trouble"),
    [
        (b"", "a frame is too short for its fields"),
        (bytes(23), "a frame is too short for its fields"),
        (bytes(24) + b"\xff", "a text is not UTF-8"),
        (bytes(24) + "\ud800".encode("utf-8", "surrogatepass"), "a text is not UTF-8"),
        (bytes(24) + b"x" * (MAX_TEXT_BYTES + 1), "a message is too long"),
    ],
)
def test_malformed_content_of_a_hostile_member_is_dropped_and_said_once(
    content: bytes, trouble: str
) -> None:
    desk = Desk()
    frames = [desk.content(seq, content) for seq in (1, 2, 3)]
    assert desk.hear(*frames, desk.message(4), desk.message(1, sender=OTHER)) == [
        Warned(f"Sahnawaz: {trouble}, and was dropped"),
        hi(4),
        hi(1, "Thea"),
    ]


@pytest.mark.parametrize("time_ms", [0, 2**63, 2**64 - 1])
def test_any_time_and_an_empty_text_are_shown_as_they_are(time_ms: int) -> None:
    desk = Desk()
    assert desk.hear(desk.message(1, "", time_ms=time_ms)) == [
        MessageReceived("Sahnawaz", time_ms, "", own=False, number=1)
    ]


# -- keys --------------------------------------------------------------------------------------


def test_keys_of_ended_epochs_are_kept_as_long_as_messages_under_them_can_come() -> None:
    """However late we hear of it all: ten seconds of grace, with 20 joins and 10 leaves in each."""
    desk = Desk()
    late = desk.message(1)
    for number in range(EPOCH_GRACE_SECONDS * 30):
        desk.hear(desk.event(Joined((entry(10 + number, f"guest {number}"),))))
    desk.now += 86_400
    assert desk.hear(late, desk.message(2)) == [hi(1), hi(2)]


def test_keys_of_epochs_long_past_are_forgotten() -> None:
    desk = Desk()
    late = desk.message(1)
    for number in range(MAX_EPOCHS):
        desk.hear(desk.event(Joined((entry(10 + number, f"guest {number}"),))))
    assert desk.hear(late, desk.message(1)) == [CLOSED, hi(1)]


def test_member_who_was_asleep_still_opens_what_was_accepted_in_the_time_of_grace() -> None:
    """The grace counts by the server's clock. A laptop that slept for an hour between two frames
    reads, an hour later, what the server took within seconds."""
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    ira.say("on its way")
    hall.join("Thea")
    hall.pass_time(1)
    sahnawaz.read()
    hall.join("Zoë")
    hall.pass_time(1)
    ira.carry()
    hall.now += 3_600
    sahnawaz.read()
    assert sahnawaz.warnings() == []
    assert sahnawaz.said() == [("Ira", "on its way")]


def test_many_epochs_pass_and_the_current_key_is_always_at_hand() -> None:
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    for number in range(40):
        (guest,) = hall.enter(f"guest {number}")
        hall.leave(guest)
        hall.pass_time(EPOCH_GRACE_SECONDS)
        ira.say(f"{number}")
        hall.settle()
    assert len(sahnawaz.said()) == 40
    assert not sahnawaz.warnings()


def test_what_is_said_between_a_leave_and_the_new_key_waits_for_the_key() -> None:
    """Who has left has the old key. Somebody on the wire could hold back REKEY, which follows LEFT
    in a frame of its own, while we are told already that they are alone."""
    desk = Desk()
    old = desk.secret
    desk.hear(desk.event(Left(((OTHER, Reason.LEFT),))))
    desk.participant.say("now that Thea is gone", 9)
    desk.participant.say("we can talk", 9)
    for data in cut(desk.participant.data_to_send()):
        frame = Message.from_wire(data)
        with pytest.raises(OpenError):
            old.message_key().open(frame.header, frame.sealed)
    desk.control(desk.rekey())
    assert desk.sent() == [
        (1, EPOCH + 1, "now that Thea is gone"),
        (2, EPOCH + 1, "we can talk"),
    ]


@pytest.mark.parametrize("say_first", [True, False])
def test_resend_between_a_leave_and_the_new_key_waits_for_the_key(say_first: bool) -> None:
    desk = Desk()
    desk.participant.say("one", 9)
    assert len(desk.sent()) == 1
    desk.hear(desk.event(Left(((OTHER, Reason.LEFT),))))
    if say_first:
        desk.participant.say("two", 9)
    desk.control(Resend(1))
    if not say_first:
        desk.participant.say("two", 9)
    assert desk.participant.data_to_send() == b""
    desk.control(desk.rekey())
    assert desk.sent() == [(1, EPOCH + 1, "one"), (2, EPOCH + 1, "two")]


# -- the outbox --------------------------------------------------------------------------------


def test_outbox_is_full_when_so_many_messages_are_under_way() -> None:
    desk = Desk()
    for number in range(OUTBOX_MESSAGES):
        assert not desk.participant.full
        desk.participant.say(f"{number}", 9)
    assert desk.participant.full
    assert desk.participant.unacknowledged == OUTBOX_MESSAGES
    desk.hear(desk.message(1, "0", sender=US, time_ms=9))
    assert not desk.participant.full


def test_outbox_is_full_when_so_many_bytes_are_under_way() -> None:
    desk = Desk()
    text = "é" * (MAX_TEXT_BYTES // 2)
    count = OUTBOX_BYTES // MAX_TEXT_BYTES
    assert count < OUTBOX_MESSAGES
    for _ in range(count):
        assert not desk.participant.full
        desk.participant.say(text, 9)
    assert desk.participant.full
    desk.hear(desk.message(1, text, sender=US, time_ms=9))
    assert not desk.participant.full
    for seq in range(2, count + 1):
        desk.hear(desk.message(seq, text, sender=US, time_ms=9))
    assert desk.participant.unacknowledged == 0
    desk.participant.say(text, 9)
    assert not desk.participant.full


@pytest.mark.parametrize("text", ["x" * (MAX_TEXT_BYTES + 1), "é" * (MAX_TEXT_BYTES // 2) + "x"])
def test_text_too_long_is_not_sent_and_uses_up_no_number(text: str) -> None:
    desk = Desk()
    with pytest.raises(UsageError, match=f"a message of {MAX_TEXT_BYTES + 1} bytes") as error:
        desk.participant.say(text, 9)
    assert str(MAX_TEXT_BYTES) in error.value.hint
    assert desk.participant.data_to_send() == b""
    assert desk.participant.unacknowledged == 0
    assert desk.participant.say(text[:-1], 9) == MessageQueued(1, text[:-1])
    assert desk.sent() == [(1, EPOCH, text[:-1])]


def test_text_of_the_largest_size_fits_into_a_frame() -> None:
    desk = Desk()
    desk.participant.say("x" * MAX_TEXT_BYTES, 2**64 - 1)
    assert len(desk.participant.data_to_send()) <= MAX_FRAME_BYTES


def test_short_texts_have_the_same_length_on_the_wire() -> None:
    desk = Desk()
    sizes = set()
    for text in ("", "no", "yes", "é" * 19):
        desk.participant.say(text, 9)
        sizes.add(len(desk.participant.data_to_send()))
    assert len(sizes) == 1


def test_nothing_is_sealed_twice_in_the_same_way() -> None:
    desk = Desk()
    desk.participant.say("Hi", 9)
    first = desk.participant.data_to_send()
    desk.control(Resend(1))
    second = desk.participant.data_to_send()
    assert first[:19] == second[:19]
    assert first[19:35] != second[19:35]
    assert first[35:99] != second[35:99]


# -- a server that lies ------------------------------------------------------------------------


def standing(what: str) -> Desk:
    """A participant that stands so with its server."""
    if what in ("unknown", "welcomed", "cut in the roster"):
        desk = Desk(welcomed=False)
        if what != "unknown":
            desk.control(desk.welcome(), Roster(MEMBERS[:1]))
        if what == "cut in the roster":
            desk.participant.disconnect()
        return desk
    desk = Desk()
    if what in ("lacking a key", "cut, lacking a key", "catching up, lacking a key"):
        desk.hear(desk.event(Left(((OTHER, Reason.LEFT),))))
    if what not in ("in", "lacking a key"):
        desk.participant.disconnect()
    if what in ("catching up", "catching up, lacking a key"):
        desk.control(Resumed())
    return desk


STANDINGS = {
    "unknown": {"welcome"},
    "welcomed": {"roster"},
    "cut in the roster": {"welcome"},
    "in": {"resend"},
    "lacking a key": {"rekey", "resend"},
    "cut": {"welcome", "resumed"},
    "cut, lacking a key": {"welcome", "resumed"},
    "catching up": {"resend"},
    "catching up, lacking a key": {"rekey", "resend"},
}
"""How a participant can stand, and what the server may say then."""

CONTROLS: dict[str, Callable[[Desk], Control]] = {
    "welcome": Desk.welcome,
    "roster": lambda _: Roster(MEMBERS[1:]),
    "empty roster": lambda _: Roster(()),
    "resumed": lambda _: Resumed(),
    "rekey": Desk.rekey,
    "resend": lambda _: Resend(1),
    "ready": lambda _: Ready(),
    "resume": lambda _: Resume(US, TOKEN, 4_711, EPOCH),
    "pong": lambda _: Pong(),
    "bye": lambda _: Bye(Reason.LEFT, "bye"),
}


def is_accepted(desk: Desk, control: Control) -> bool:
    try:
        desk.control(control)
    except ProtocolError as error:
        return "message is out of place" not in str(error)
    return True


@pytest.mark.parametrize("how", STANDINGS)
def test_control_out_of_place_is_a_breach(how: str) -> None:
    accepted = set()
    for name, control in CONTROLS.items():
        desk = standing(how)
        if is_accepted(desk, control(desk)):
            accepted.add(name)
    assert accepted - {"empty roster"} == STANDINGS[how]


@pytest.mark.parametrize("epoch", [0, EPOCH, EPOCH + 2, 2**32 - 1])
def test_rekey_for_another_epoch_is_a_breach(epoch: int) -> None:
    desk = Desk()
    desk.hear(desk.event(Left(((OTHER, Reason.LEFT),))))
    with pytest.raises(ProtocolError, match="Rekey message is out of place"):
        desk.control(Rekey(epoch, bytes(32)))


def test_rekey_that_does_not_follow_a_leave_is_missed() -> None:
    for next_one in (Desk.message, lambda desk, _: desk.event(Notice("too soon"))):
        desk = Desk()
        left = desk.event(Left(((OTHER, Reason.LEFT),)))
        with pytest.raises(ProtocolError, match="where a new key was due"):
            desk.hear(left, next_one(desk, 1))
    # Nor may it hide in the same run.
    desk = Desk()
    with pytest.raises(ProtocolError, match="where a new key was due"):
        desk.hear(desk.event(Left(((OTHER, Reason.LEFT),))) + desk.event(Notice("too soon")))


def roster_lies() -> dict[str, tuple[Welcome, tuple[Roster, ...], str]]:
    welcome = Desk(welcomed=False).welcome
    us, them, other = MEMBERS
    return {
        "a member twice": (welcome(), (Roster((us, them, them)),), "in the room twice"),
        "a member twice, in two pieces": (
            welcome(),
            (Roster((us, them)), Roster((us,))),
            "in the room twice",
        ),
        "the number of the server": (welcome(), (Roster((us, entry(0, "x"))),), "twice"),
        "more than were announced": (welcome(members=2), (Roster(MEMBERS),), "more members"),
        "more in the second piece": (
            welcome(members=2),
            (Roster((us,)), Roster((them, other))),
            "more members",
        ),
        "ourselves missing": (welcome(members=2), (Roster((them, other)),), "we are not in"),
        "ourselves under no number": (welcome(member=0), (Roster(MEMBERS),), "makes no sense"),
        "nobody": (welcome(members=0), (), "makes no sense"),
        "more than a room has": (welcome(members=MAX_MEMBERS + 1), (), "makes no sense"),
        "us under another name": (
            welcome(),
            (Roster((entry(US, "Thea"), them, entry(OTHER, "Ira"))),),
            "under another name",
        ),
        "another one of our name": (welcome(), (Roster((us, them, entry(OTHER, "ira"))),), "twice"),
        "somebody without a name": (welcome(), (Roster((us, entry(THEM, ""))),), "no name"),
    }


@pytest.mark.parametrize("what", roster_lies())
def test_welcome_and_roster_that_make_no_sense_are_a_breach(what: str) -> None:
    welcome, rosters, said = roster_lies()[what]
    desk = Desk(welcomed=False)

    def lie() -> None:
        desk.control(welcome)
        for roster in rosters:
            desk.control(roster)

    with pytest.raises(ProtocolError, match=said):
        lie()


def test_roster_in_pieces_is_one_entry() -> None:
    desk = Desk(welcomed=False)
    assert desk.control(desk.welcome()) == []
    assert desk.control(Roster(MEMBERS[:1])) == []
    assert desk.control(Roster(())) == []
    assert not desk.participant.has_joined
    assert desk.control(Roster(MEMBERS[1:])) == [Entered(("Ira", "Sahnawaz", "Thea"))]
    assert desk.participant.has_joined


def test_room_frame_before_the_welcome_is_complete_is_a_breach() -> None:
    desk = Desk(welcomed=False)
    frames = [desk.message(1), desk.event(Notice("x"))]
    for control in (desk.welcome(), Roster(MEMBERS[:2])):
        for frame in frames:
            with pytest.raises(ProtocolError, match="before the welcome"):
                desk.hear(frame)
        desk.control(control)


def lies() -> dict[str, Callable[[Desk], object]]:
    """What no honest server sends."""

    def event(what: RoomEvent) -> Callable[[Desk], object]:
        return lambda desk: desk.hear(desk.event(what))

    def sealed(content: bytes, epoch: int = EPOCH, sender: int = 0) -> Callable[[Desk], object]:
        def lie(desk: Desk) -> object:
            desk.epoch = epoch
            key = desk.secret.event_key()
            return desk.hear(desk.seal(Event.TYPE, key, sender, 1, content))

        return lie

    def raw(frame_type: int, run: bytes) -> Callable[[Desk], object]:
        return lambda desk: desk.participant.receive_frames(frame_type, run)

    gone = partial(Left.encode, Left(((OTHER, Reason.LEFT),)))
    return {
        "somebody joins twice": event(Joined((entry(THEM, "Sahnawaz"),))),
        "somebody joins twice at once": event(Joined((entry(4, "Zoë"), entry(4, "Zoë")))),
        "we join again": event(Joined((entry(US, "Ira"),))),
        "somebody joins under our name": event(Joined((entry(4, "IRA"),))),
        "somebody joins without a name": event(Joined((entry(4, ""),))),
        "the server joins": event(Joined((entry(0, "the server"),))),
        "a stranger leaves": event(Left(((4, Reason.LEFT),))),
        "we leave": event(Left(((US, Reason.LEFT),))),
        "the server leaves": event(Left(((0, Reason.LEFT),))),
        "somebody leaves twice": event(Left(((OTHER, Reason.LEFT), (OTHER, Reason.LEFT)))),
        "event of the last epoch": sealed(Notice("x").encode(), epoch=EPOCH - 1),
        "event of an epoch to come": sealed(Notice("x").encode(), epoch=EPOCH + 1),
        "event of a member": sealed(Notice("x").encode(), sender=THEM),
        "a stranger is lost": event(Lost(4)),
        "the server is lost": event(Lost(0)),
        "a stranger is back": event(Back(4)),
        "the server is back": event(Back(0)),
        "unknown event": sealed(b"\x7f"),
        "empty event": sealed(b""),
        "left-over bytes": sealed(Closing().encode() + b"\0"),
        "unknown reason": sealed(gone()[:-1] + b"\0"),
        "half a departure": sealed(gone()[:-1]),
        "half an entry": sealed(Joined(MEMBERS).encode()[:-1]),
        "notice that is not UTF-8": sealed(b"\x03\xff"),
        "message too short for its header": raw(Message.TYPE, b"\0\x01\x20"),
        "event too short for its header": raw(Event.TYPE, b"\0\x11\x21" + bytes(16)),
        "nothing sealed": raw(Message.TYPE, Message(EPOCH, THEM, 1, b"").to_wire()),
    }


@pytest.mark.parametrize("what", lies())
def test_lie_of_the_server_is_a_breach(what: str) -> None:
    with pytest.raises(ProtocolError):
        lies()[what](Desk())


def test_epochs_that_run_out_are_a_breach() -> None:
    """Nobody gets there honestly; the number must not grow beyond the four bytes it travels in."""
    desk = Desk(welcomed=False)

    def lie() -> None:
        desk.epoch = 2**32 - 1
        desk.control(desk.welcome(), Roster(MEMBERS))
        desk.hear(desk.event(Joined((entry(4, "Zoë"),))))
        desk.participant.say("Hi", 9)

    with pytest.raises(ProtocolError):
        lie()


# -- our own message coming back ---------------------------------------------------------------

ALTERED: dict[str, Callable[[Desk], bytes]] = {
    "another text": lambda desk: desk.message(1, "Go", sender=US, time_ms=9),
    "another time": lambda desk: desk.message(1, "Hi", sender=US, time_ms=10),
    "an empty text": lambda desk: desk.message(1, "", sender=US, time_ms=9),
    "another origin": lambda desk: desk.message(1, "Hi", sender=US, time_ms=9, origin=bytes(8)),
    "another number of our run": lambda desk: desk.message(1, "Hi", sender=US, time_ms=9, number=2),
    "another number": lambda desk: desk.message(2, "Hi", sender=US, time_ms=9),
}


@pytest.mark.parametrize("what", ALTERED)
def test_own_message_coming_back_altered_is_a_breach(what: str) -> None:
    desk = Desk()
    desk.participant.say("Hi", 9)
    with pytest.raises(ProtocolError, match="not as we sent it"):
        desk.hear(ALTERED[what](desk))


@pytest.mark.parametrize("content", [b"\0", bytes(24) + b"\xff"])
def test_own_message_coming_back_malformed_is_a_breach(content: bytes) -> None:
    desk = Desk()
    desk.participant.say("Hi", 9)
    with pytest.raises(ProtocolError):
        desk.hear(desk.content(1, content, sender=US))
    assert desk.participant.unacknowledged == 1


def test_own_messages_coming_back_in_another_order_are_a_breach() -> None:
    desk = Desk()
    for text in ("one", "two"):
        desk.participant.say(text, 9)
    with pytest.raises(ProtocolError, match="not as we sent it"):
        desk.hear(desk.message(2, "two", sender=US, time_ms=9))


def test_message_in_our_name_that_we_never_sent_is_a_breach() -> None:
    desk = Desk()
    with pytest.raises(ProtocolError, match="not as we sent it"):
        desk.hear(desk.message(1, "Hi", sender=US))
    desk = Desk()
    desk.participant.say("Hi", 9)
    desk.hear(desk.message(1, "Hi", sender=US, time_ms=9))
    with pytest.raises(ProtocolError, match="not as we sent it"):
        desk.hear(desk.message(2, "Hi", sender=US, time_ms=9))


def test_own_message_coming_back_twice_is_dropped_and_said() -> None:
    desk = Desk()
    desk.participant.say("Hi", 9)
    ours = desk.message(1, "Hi", sender=US, time_ms=9)
    assert desk.hear(ours, ours) == [
        MessageReceived("Ira", 9, "Hi", own=True, number=1),
        Warned("Ira: a message arrived twice, and was dropped the second time"),
    ]
    assert desk.participant.unacknowledged == 0


def test_own_message_that_does_not_open_is_not_acknowledged() -> None:
    desk = Desk()
    desk.participant.say("Hi", 9)
    assert [type(event) for event in desk.hear(Message(EPOCH, US, 1, bytes(96)).to_wire())] == [
        Warned
    ]
    assert desk.participant.unacknowledged == 1
    desk.hear(desk.message(1, "Hi", sender=US, time_ms=9))
    assert desk.participant.unacknowledged == 0
