"""A participant's view of the room: with a real room in memory, and with a server that lies.

What happens over several connections is in `test_resuming`.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.cipher import OVERHEAD_BYTES
from chat.client import events
from chat.errors import ProtocolError, Reason, UsageError
from chat.limits import (
    EPOCH_GRACE_SECONDS,
    GRACE_SECONDS,
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
    Resend,
    Resume,
    Resumed,
    RoomEvent,
    Roster,
    RosterEntry,
)
from chat.wire import ROOM_HEADER_BYTES, Event, Message
from tests.support.hall import (
    CUT,
    EPOCH,
    MEMBERS,
    ORIGIN,
    OTHER,
    THEM,
    TOKEN,
    US,
    Desk,
    MemberInMemory,
    RoomInMemory,
    entry,
    epochs_in,
    fingerprint,
    hi,
    own,
)
from tests.support.helpers import WALL_CLOCK

RECONNECTED = events.Reconnected(0, new_room=False, awaiting=False)

# -- with a real room --------------------------------------------------------------------------


def person(name: str, since: int) -> events.Person:
    return events.Person(name, since, fingerprint(name))


def test_newcomer_is_shown_who_is_in_and_others_who_came() -> None:
    hall = RoomInMemory()
    (ira,) = hall.enter("Ira")
    sahnawaz, thea = hall.enter("Sahnawaz", "Thea")
    assert ira.shown == [
        events.Entered(("Ira",)),
        events.MemberJoined("Sahnawaz"),
        events.MemberJoined("Thea"),
    ]
    assert sahnawaz.shown == thea.shown == [events.Entered(("Ira", "Sahnawaz", "Thea"))]
    came = int(WALL_CLOCK) + 1_000
    everybody = [person("Ira", came), person("Sahnawaz", came + 1), person("Thea", came + 1)]
    for seat in (ira, sahnawaz, thea):
        assert seat.participant.has_joined
        assert seat.participant.members() == everybody


def test_own_copy_acknowledges_and_bears_the_number_that_was_given() -> None:
    hall = RoomInMemory()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    assert ira.participant.say("one", 9) == events.MessageQueued(1, "one")
    assert ira.participant.say("two", 9) == events.MessageQueued(2, "two")
    ira.carry(1)
    assert ira.participant.unacknowledged == 2
    ira.read()
    assert ira.participant.unacknowledged == 1
    assert ira.participant.say("three", 9) == events.MessageQueued(3, "three")
    hall.settle()
    assert ira.participant.unacknowledged == 0
    for seat, ours in ((ira, True), (sahnawaz, False)):
        assert seat.shown[-3:] == [
            events.MessageReceived("Ira", 9, text, ours, number)
            for number, text in enumerate(("one", "two", "three"), 1)
        ]


def test_stale_messages_are_sent_again_and_nothing_is_lost() -> None:
    hall = RoomInMemory()
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


def test_member_who_was_asleep_still_opens_what_was_accepted_in_the_time_of_grace() -> None:
    """The grace counts by the server's clock. A laptop that slept for an hour between two frames
    reads, an hour later, what the server took within seconds."""
    hall = RoomInMemory()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    ira.say("on its way")
    hall.leave(thea)
    hall.pass_time(1)
    sahnawaz.read()
    hall.join("Zoë")
    hall.pass_time(1)
    ira.carry()
    hall.now += 3_600
    sahnawaz.read()
    assert epochs_in(hall) == [(1, 1, 2)]
    assert sahnawaz.warnings() == []
    assert sahnawaz.said() == [("Ira", "on its way")]


# -- who is in ---------------------------------------------------------------------------------


def test_members_are_those_of_the_roster_as_far_as_it_came() -> None:
    desk = Desk(welcomed=False)
    assert desk.participant.members() == []
    assert desk.play(desk.welcome()) == []
    assert desk.participant.members() == []
    assert desk.play(Roster(MEMBERS[:1]), Roster(())) == []
    assert desk.participant.members() == [person("Ira", 11)]
    assert not desk.participant.has_joined
    assert desk.play(Roster(MEMBERS[1:])) == [events.Entered(("Ira", "Sahnawaz", "Thea"))]
    assert desk.participant.has_joined


def test_members_follow_who_joins_and_who_leaves_and_not_who_is_lost() -> None:
    desk = Desk()
    desk.play(desk.joined(entry(4, "Zoë", since=77), entry(5, "Bo", since=78)), desk.event(Lost(4)))
    us, them, other = (person("Ira", 11), person("Sahnawaz", 12), person("Thea", 13))
    came = [person("Zoë", 77), person("Bo", 78)]
    assert desk.participant.members() == [us, them, other, *came]
    desk.play(desk.left(THEM, 4), CUT)
    assert desk.participant.members() == [us, other, came[1]]
    desk.new_room(entry(US, "Ira", since=99))
    assert desk.participant.members() == [person("Ira", 99)]


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
    hall = RoomInMemory()
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


def act_in_room(
    hall: RoomInMemory, seat: MemberInMemory, act: str, number: int, count: int
) -> None:
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


def assert_same_order(hall: RoomInMemory, inside: dict[str, MemberInMemory]) -> None:
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


# -- what is shown -----------------------------------------------------------------------------

TWICE = events.Warned("Sahnawaz: a message arrived twice, and was dropped the second time")
CLOSED = events.Warned("Sahnawaz: a message could not be opened, and was dropped")
STRANGER = events.Warned("the server: a message of somebody who is not here")
NO_EVENT = events.Warned("the server: an event could not be opened, and was dropped")


def withheld(count: int, whose: str = "Sahnawaz") -> events.Warned:
    return events.Warned(f"{count} of {whose}'s messages did not arrive: somebody withheld them")


Script = list[str | bytes | Control | None]

SHOWN: dict[str, tuple[Callable[[Desk], Script], list[events.ClientEvent]]] = {
    "an honest server": (
        lambda desk: [
            *(desk.message(1), desk.message(1, sender=OTHER), desk.joined(entry(4, "Zoë"))),
            *(desk.message(1, sender=4), desk.left(4, reason=Reason.LOST), desk.rekey()),
            *(desk.message(2), desk.event(Notice("?")), desk.event(Closing())),
        ],
        [
            *(hi(1), hi(1, "Thea"), events.MemberJoined("Zoë")),
            *(hi(1, "Zoë"), events.MemberLeft("Zoë", Reason.LOST)),
            *(hi(2), events.NoticeReceived("?"), events.RoomClosed()),
        ],
    ),
    "departures with their reasons": (
        lambda desk: [desk.event(Left(((THEM, Reason.KICKED), (OTHER, Reason.LEFT))))],
        [events.MemberLeft("Sahnawaz", Reason.KICKED), events.MemberLeft("Thea", Reason.LEFT)],
    ),
    "others are lost and back, and not we": (
        lambda desk: [desk.event(event(who)) for event in (Lost, Back) for who in (US, THEM)],
        [events.MemberLost("Sahnawaz"), events.MemberBack("Sahnawaz")],
    ),
    "any time and no text": (
        lambda desk: [desk.message(1, "", time_ms=2**64 - 1)],
        [events.MessageReceived("Sahnawaz", 2**64 - 1, "", own=False, number=1)],
    ),
    "a gap, of each sender for itself": (
        lambda desk: [desk.message(1), desk.message(4), desk.message(5), desk.message(1, "", 3)],
        [hi(1), withheld(2), hi(4), hi(5), hi(1, "Thea", "")],
    ),
    "an event withheld": (
        lambda desk: [desk.event(Notice("lost"))[:0] + desk.event(Notice("shown"))],
        [withheld(1, "the server"), events.NoticeReceived("shown")],
    ),
    "what does not open was not withheld": (
        lambda desk: [*map(desk.broken, (1, 2, 3)), desk.message(4)],
        [CLOSED, hi(4)],
    ),
    "withheld behind one that does not open": (
        lambda desk: [desk.broken(1), desk.message(4)],
        [CLOSED, withheld(2), hi(4)],
    ),
    "an event that does not open": (
        lambda desk: [
            desk.event(Notice("altered"))[:-96] + bytes(96),
            Event(EPOCH, 0, 2**64 - 1, bytes(96)).to_wire(),
            desk.event(Notice("next")),
        ],
        [NO_EVENT, events.NoticeReceived("next")],
    ),
    "an event under the members' key": (
        lambda desk: [
            desk.seal(Event.TYPE, desk.secret.message_key(), 0, 1, Closing().encode()),
            desk.event(Notice("true")),
        ],
        [NO_EVENT, events.NoticeReceived("true")],
    ),
    "an event as a message": (
        lambda desk: [
            Message(EPOCH, THEM, 1, desk.event(Notice("x"))[ROOM_HEADER_BYTES:]).to_wire()
        ],
        [CLOSED],
    ),
    "a message as an event": (
        lambda desk: [Event(EPOCH, 0, 1, desk.message(1)[ROOM_HEADER_BYTES:]).to_wire()],
        [NO_EVENT],
    ),
    "each kind of trouble is told once, of each sender": (
        lambda desk: [
            *(desk.message(seq, sender=sender) for seq in (1, 1) for sender in (THEM, OTHER)),
            *(desk.message(1), desk.broken(9), desk.broken(9), desk.message(2), desk.message(1)),
        ],
        [
            *(hi(1), hi(1, "Thea"), TWICE),
            events.Warned("Thea: a message arrived twice, and was dropped the second time"),
            *(CLOSED, hi(2)),
        ],
    ),
    "an event twice": (
        lambda desk: [*[desk.event(Notice("once"))] * 3, desk.event(Notice("next"))],
        [
            events.NoticeReceived("once"),
            events.Warned("the server: an event arrived twice, and was dropped the second time"),
            events.NoticeReceived("next"),
        ],
    ),
    "strangers": (
        lambda desk: [*(desk.message(1, sender=who) for who in (0, 4, 2**32 - 1)), desk.message(1)],
        [STRANGER, hi(1)],
    ),
    "a member that has left": (
        lambda desk: [desk.left(OTHER), desk.rekey(), desk.message(1, sender=OTHER)],
        [events.MemberLeft("Thea", Reason.LEFT), STRANGER],
    ),
    "an invented number under an epoch of before we came": (
        lambda desk: [Message(EPOCH - 1, THEM, 2**64 - 1, bytes(96)).to_wire(), desk.message(1)],
        [hi(1)],
    ),
    "skipped messages, and one withheld behind them": (
        lambda desk: [
            *(Message(EPOCH - 1, THEM, seq, bytes(96)).to_wire() for seq in (1, 2)),
            *(desk.message(3), desk.message(5)),
        ],
        [hi(3), withheld(1), hi(5)],
    ),
    "our own message twice": (
        lambda desk: ["Hi", desk.ours(1, "Hi"), desk.ours(1, "Hi")],
        [
            own(1, "Hi"),
            events.Warned("Ira: a message arrived twice, and was dropped the second time"),
        ],
    ),
    "our own message, first broken": (
        lambda desk: ["Hi", desk.broken(1, US), desk.ours(1, "Hi")],
        [events.Warned("Ira: a message could not be opened, and was dropped"), own(1, "Hi")],
    ),
    "twice, over a cut": (
        lambda desk: [desk.message(1), CUT, Resumed(), desk.message(1)],
        [hi(1), RECONNECTED, TWICE],
    ),
    "withheld over a cut": (
        lambda desk: [desk.message(1), CUT, Resumed(), desk.message(3)],
        [hi(1), RECONNECTED, withheld(1), hi(3)],
    ),
}


@pytest.mark.parametrize("what", SHOWN)
def test_what_is_shown_of_what_arrives(what: str) -> None:
    desk = Desk()
    script, shown = SHOWN[what]
    assert desk.play(*script(desk)) == shown
    assert desk.participant.unacknowledged == 0


def test_roster_says_how_far_each_member_was_heard() -> None:
    desk = Desk(welcomed=False)
    them = entry(THEM, "Sahnawaz", seq=8)
    desk.play(desk.welcome(members=2), Roster((MEMBERS[0], them)))
    assert desk.play(desk.message(8), desk.message(10)) == [TWICE, withheld(1), hi(10)]


@settings(max_examples=100, deadline=None, derandomize=True)
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
    shown = desk.play(*(frame.to_wire() for frame in forged))
    assert all(isinstance(event, events.Warned) for event in shown)
    assert len(set(shown)) == len(shown)
    assert desk.play(desk.message(1), desk.message(2)) == [hi(1), hi(2)]
    assert desk.play("Hello", desk.ours(1, "Hello")) == [own(1, "Hello")]


def test_altered_message_is_dropped_and_the_true_one_still_counts() -> None:
    frame = Desk().message(1)
    assert len(frame) == 115
    for at in range(3, len(frame)):
        desk, altered = Desk(), bytearray(frame)
        altered[at] ^= 0x80 >> at % 8
        assert all(isinstance(event, events.Warned) for event in desk.play(bytes(altered))), at
        assert desk.play(frame) == [hi(1)], at


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
    malformed = [desk.content(seq, content) for seq in (1, 2)]
    warned = events.Warned(f"Sahnawaz: {trouble}, and was dropped")
    assert desk.play(*malformed, desk.message(3)) == [warned, hi(3)]


# -- what is sent ------------------------------------------------------------------------------


def test_resend_sends_under_the_current_epoch_with_the_same_numbers() -> None:
    desk = Desk("one")
    desk.play("two", "three")
    assert desk.sent() == [(2, "two"), (3, "three")]
    assert desk.sent() == []
    desk.play(desk.joined(entry(4, "Zoë")), Resend(3))
    assert desk.sent() == [(3, "three")]
    assert desk.participant.unacknowledged == 2


@pytest.mark.parametrize("resend", [[], [Resend(1)]], ids=["new", "again"])
def test_nothing_is_sent_between_a_leave_and_the_new_key(resend: list[Control]) -> None:
    """Who has left has the old key. Somebody on the wire could hold back REKEY, which follows LEFT
    in a frame of its own, while we are told already that they are alone."""
    desk = Desk()
    desk.play("one")
    before = desk.sent()
    desk.play(desk.left(OTHER), "now that Thea is gone", *resend, "we can talk")
    assert not desk.participant.has_data_to_send
    assert desk.participant.data_to_send() == b""
    desk.play(desk.rekey())
    assert desk.sent() == [
        *(before if resend else []),
        (2, "now that Thea is gone"),
        (3, "we can talk"),
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [("x", OUTBOX_MESSAGES), ("é" * (MAX_TEXT_BYTES // 2), OUTBOX_BYTES // MAX_TEXT_BYTES)],
    ids=["messages", "bytes"],
)
def test_outbox_is_full_when_so_much_is_under_way(text: str, count: int) -> None:
    desk = Desk()
    for _ in range(count):
        assert not desk.participant.full
        desk.play(text)
    assert desk.participant.full
    assert desk.participant.unacknowledged == count
    desk.play(desk.ours(1, text))
    assert not desk.participant.full


@pytest.mark.parametrize("text", ["x" * (MAX_TEXT_BYTES + 1), "é" * (MAX_TEXT_BYTES // 2) + "x"])
def test_text_too_long_is_not_sent_and_uses_up_no_number(text: str) -> None:
    desk = Desk()
    with pytest.raises(UsageError, match=f"a message of {MAX_TEXT_BYTES + 1} bytes") as error:
        desk.play(text)
    assert str(MAX_TEXT_BYTES) in error.value.hint
    assert not desk.participant.unacknowledged
    assert desk.participant.say(text[:-1], 2**64 - 1) == events.MessageQueued(1, text[:-1])
    assert len(desk.participant.data_to_send()) <= MAX_FRAME_BYTES


def test_short_texts_have_the_same_length_and_nothing_is_sealed_twice_in_the_same_way() -> None:
    desk, sent = Desk(), []
    for text in ("", "no", "yes", "é" * 19):
        desk.play(text)
        sent.append(desk.participant.data_to_send())
    assert len({len(frame) for frame in sent}) == 1
    desk.play(Resend(4))
    again = desk.participant.data_to_send()
    assert again[:ROOM_HEADER_BYTES] == sent[3][:ROOM_HEADER_BYTES]
    assert again[19:35] != sent[3][19:35]
    assert again[35:99] != sent[3][35:99]


# -- a server that lies ------------------------------------------------------------------------


def standing(what: str) -> Desk:
    """A participant that stands so with its server."""
    if what in ("unknown", "welcomed", "cut in the roster"):
        desk = Desk(welcomed=False)
        if what != "unknown":
            desk.play(desk.welcome(), Roster(MEMBERS[:1]))
        if what == "cut in the roster":
            desk.play(CUT)
        return desk
    desk = Desk()
    if "lacking a key" in what:
        desk.play(desk.left(OTHER))
    if what not in ("in", "lacking a key"):
        desk.play(CUT)
    if "catching up" in what:
        desk.play(Resumed())
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
        desk.play(control)
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
    assert accepted == STANDINGS[how]


@pytest.mark.parametrize("how", ["unknown", "welcomed", "cut", "cut in the roster"])
def test_room_frame_before_we_are_in_is_a_breach(how: str) -> None:
    for frame in (Desk().message(1), Desk().event(Notice("x"))):
        with pytest.raises(ProtocolError, match="before the welcome"):
            standing(how).play(frame)


def test_room_frame_in_the_place_of_a_rekey_is_a_breach() -> None:
    desk = Desk()
    left, event, message = desk.left(OTHER), desk.event(Notice("too soon")), desk.message(1)
    with pytest.raises(ProtocolError, match="where a new key was due"):
        Desk().play(left + event)
    desk.play(left)
    for frame in (event, message):
        with pytest.raises(ProtocolError, match="where a new key was due"):
            desk.play(frame)


ROSTER_LIES: dict[str, tuple[dict[str, int], list[tuple[RosterEntry, ...]], str]] = {
    "a member twice": ({}, [(MEMBERS[0], *MEMBERS[1:2] * 2)], "in the room twice"),
    "a member twice, in two pieces": ({}, [MEMBERS[:2], MEMBERS[:1]], "in the room twice"),
    "more than were announced": ({"members": 2}, [MEMBERS], "more members"),
    "more in the second piece": ({"members": 2}, [MEMBERS[:1], MEMBERS[1:]], "more members"),
    "ourselves missing": ({"members": 2}, [MEMBERS[1:]], "we are not in"),
    "ourselves under no number": ({"member": 0}, [MEMBERS], "makes no sense"),
    "nobody": ({"members": 0}, [], "makes no sense"),
    "more than a room has": ({"members": MAX_MEMBERS + 1}, [], "makes no sense"),
    "a place behind the end of numbers": ({"offset": 2**63 + 1}, [], "makes no sense"),
    "us under another name": (
        {},
        [(entry(US, "Thea"), MEMBERS[1], entry(OTHER, "Ira"))],
        "under another name",
    ),
}


@pytest.mark.parametrize("what", ROSTER_LIES)
def test_welcome_and_roster_that_make_no_sense_are_a_breach(what: str) -> None:
    fields, rosters, said = ROSTER_LIES[what]
    desk = Desk(welcomed=False)
    with pytest.raises(ProtocolError, match=said):
        desk.play(desk.welcome(**fields), *map(Roster, rosters))


def sealed(content: bytes, epoch: int = EPOCH, sender: int = 0) -> Callable[[Desk], bytes]:
    """An event with any content, well sealed."""

    def lie(desk: Desk) -> bytes:
        desk.epoch = epoch
        return desk.seal(Event.TYPE, desk.secret.event_key(), sender, 1, content)

    return lie


EVENT_LIES: dict[str, RoomEvent] = {
    "somebody joins twice": Joined((entry(THEM, "Sahnawaz"),)),
    "somebody joins twice at once": Joined((entry(4, "Zoë"), entry(4, "Zoë"))),
    "we join again": Joined((entry(US, "Ira"),)),
    "somebody joins under our name": Joined((entry(4, "IRA"),)),
    "somebody joins without a name": Joined((entry(4, ""),)),
    "the server joins": Joined((entry(0, "the server"),)),
    "a stranger leaves": Left(((4, Reason.LEFT),)),
    "we leave": Left(((US, Reason.LEFT),)),
    "the server leaves": Left(((0, Reason.LEFT),)),
    "somebody leaves twice": Left(((OTHER, Reason.LEFT), (OTHER, Reason.LEFT))),
    "a stranger is lost": Lost(4),
    "the server is lost": Lost(0),
    "a stranger is back": Back(4),
    "the server is back": Back(0),
}
NOTICE, LEFT = Notice("x").encode(), Left(((OTHER, Reason.LEFT),)).encode()
SEALED_LIES: dict[str, Callable[[Desk], bytes]] = {
    "event of the last epoch": sealed(NOTICE, epoch=EPOCH - 1),
    "event of an epoch to come": sealed(NOTICE, epoch=EPOCH + 1),
    "event of a member": sealed(NOTICE, sender=THEM),
    "unknown event": sealed(b"\x7f"),
    "empty event": sealed(b""),
    "left-over bytes": sealed(Closing().encode() + b"\0"),
    "unknown reason": sealed(LEFT[:-1] + b"\0"),
    "half a departure": sealed(LEFT[:-1]),
    "half an entry": sealed(Joined(MEMBERS).encode()[:-1]),
    "notice that is not UTF-8": sealed(b"\x03\xff"),
    "nothing sealed": lambda _: Message(EPOCH, THEM, 1, b"").to_wire(),
}


@pytest.mark.parametrize("what", [*EVENT_LIES, *SEALED_LIES])
def test_lie_of_the_server_is_a_breach(what: str) -> None:
    desk = Desk()
    lie = SEALED_LIES[what](desk) if what in SEALED_LIES else desk.event(EVENT_LIES[what])
    with pytest.raises(ProtocolError):
        desk.play(lie)


@pytest.mark.parametrize("frame_type", [Message.TYPE, Event.TYPE])
def test_frame_too_short_for_its_header_is_a_breach(frame_type: int) -> None:
    with pytest.raises(ProtocolError):
        Desk().participant.receive_frames(frame_type, b"\0\x11" + bytes((frame_type,)) + bytes(16))


ALTERED: dict[str, Callable[[Desk], bytes]] = {
    "another text": lambda desk: desk.ours(1, "Go"),
    "an empty text": lambda desk: desk.ours(1, ""),
    "another time": lambda desk: desk.message(1, "Hi", US, 10, ORIGIN),
    "another origin": lambda desk: desk.message(1, "Hi", US, 9, bytes(8)),
    "another number of our run": lambda desk: desk.ours(1, "Hi", number=2),
    "another number": lambda desk: desk.ours(2, "Hi"),
    "another order": lambda desk: desk.ours(2, "you"),
    "too short": lambda desk: desk.content(1, b"\0", US),
    "not UTF-8": lambda desk: desk.content(1, bytes(24) + b"\xff", US),
}


@pytest.mark.parametrize("what", ALTERED)
def test_own_message_coming_back_altered_is_a_breach(what: str) -> None:
    desk = Desk()
    desk.play("Hi", "you")
    with pytest.raises(ProtocolError):
        desk.play(ALTERED[what](desk))
    assert desk.participant.unacknowledged == 2


@pytest.mark.parametrize("said", [(), ("Hi",)])
def test_message_in_our_name_that_we_never_sent_is_a_breach(said: tuple[str, ...]) -> None:
    desk = Desk(*said)
    with pytest.raises(ProtocolError, match="not as we sent it"):
        desk.play(desk.ours(len(said) + 1, "Hi"))
