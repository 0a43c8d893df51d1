"""A participant's view of the room: with a real room in memory, and with a server that lies.

What happens over several connections is in `test_resuming`.
"""

from collections.abc import Callable, Sequence
from unittest import mock

import pytest

from chat.client import events
from chat.contents import Kind, MessageContent, Seen
from chat.controls import Check, Control, Resend, Resume, Resumed, Roster
from chat.errors import ProtocolError, Reason, UsageError
from chat.limits import (
    MAX_FRAME_BYTES,
    MAX_REFUSALS,
    MAX_SUBMIT_BYTES,
    MAX_TEXT_BYTES,
    OUTBOX_BYTES,
    OUTBOX_MESSAGES,
    SEEN_HASH_BYTES,
)
from chat.roomevents import Back, Closing, Joined, Left, Lost, Notice, RoomEvent
from chat.wire import ROOM_HEADER_BYTES, Event, Message, room_headers
from tests.support.hall import (
    CUT,
    EPOCH,
    MEMBERS,
    ORIGIN,
    OTHER,
    THEM,
    US,
    Desk,
    RoomInMemory,
    cut,
    entry,
    fingerprint,
    hi,
    own,
)
from tests.support.helpers import frames_of, open_frame

RECONNECTED = events.Reconnected(0, new_room=False, awaiting=False)

# -- with a real room --------------------------------------------------------------------------


def person(name: str, since: int, connections: int = 1) -> events.Person:
    return events.Person(name, since, fingerprint(name), connections)


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


def test_member_who_was_asleep_still_opens_what_was_accepted_in_the_time_of_grace() -> None:
    """The grace counts by the server's clock. A laptop that slept for an hour between two frames
    reads, an hour later, what the server took within seconds."""
    hall = RoomInMemory()
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
    (said,) = (frame for kind, frame in frames_of(hall.log.everything) if kind == Message.TYPE)
    assert next(room_headers(Message.TYPE, said)).epoch == 2
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


def test_members_are_those_of_before_until_the_new_roster_is_complete() -> None:
    """So a private message can be said at any time."""
    desk = Desk()
    people = desk.participant.members()
    desk.restart()
    desk.play(CUT, desk.welcome(members=2), Roster(MEMBERS[:1]))
    assert desk.participant.members() == people
    desk.play(Roster(MEMBERS[1:2]))
    assert desk.participant.members() == people[:2]


def test_members_follow_who_joins_and_who_leaves_and_not_who_is_lost() -> None:
    desk = Desk()
    desk.play(desk.joined(entry(4, "Zoë", since=77), entry(5, "Bo", since=78)), desk.event(Lost(4)))
    us, them, other = (person("Ira", 11), person("Sahnawaz", 12), person("Thea", 13))
    came = [person("Zoë", 77, 0), person("Bo", 78)]
    assert desk.participant.members() == [us, them, other, *came]
    desk.play(desk.left(THEM, 4), CUT)
    assert desk.participant.members() == [us, other, came[1]]
    desk.new_room(entry(US, "Ira", since=99))
    assert desk.participant.members() == [person("Ira", 99)]


def test_we_may_be_here_several_times_and_only_what_we_said_here_is_our_own() -> None:
    desk = Desk("one")
    shown = desk.play(desk.joined(entry(4, "Ira", since=99)))
    shown += desk.play(desk.message(1, "from the phone", sender=4), desk.event(Lost(4)))
    assert shown == [hi(1, "Ira", "from the phone")]
    assert desk.participant.members()[0] == person("Ira", 11)
    # As we are here, we are not lost, whatever an old place of ours is.
    shown = desk.play(desk.event(Lost(US)), desk.left(4), desk.rekey(), desk.event(Back(US)))
    assert shown == []
    assert desk.play("two") == []
    assert desk.echo() == [own(2, "two")]


def test_what_a_caller_says_is_shown_and_of_the_caller_nothing() -> None:
    desk = Desk()
    desk.play(desk.joined(entry(4, "Sahnawaz", caller=True), entry(5, "cron", caller=True)))
    # Whoever asks is told who is here, even so.
    assert desk.participant.members() == [
        *(person("Ira", 11), person("Sahnawaz", 12), person("Thea", 13)),
        events.Person("cron", 0, fingerprint("cron"), 1, calling=True),
    ]
    shown = desk.play(
        *(desk.message(1, "done", sender=4), desk.message(1, "done", sender=5)),
        *(desk.event(Lost(4)), desk.event(Back(4)), desk.event(Lost(5)), desk.left(4, 5)),
    )
    assert shown == [hi(1, "Sahnawaz", "done"), hi(1, "cron", "done")]


def test_newcomer_is_told_who_is_lost_when_it_is_told_who_is_in() -> None:
    desk = Desk(welcomed=False)
    entries = [entry(US, "Ira"), entry(THEM, "Sahnawaz", lost=True), entry(OTHER, "Thea")]
    entries += [entry(4, "Thea", lost=True), entry(5, "cron", lost=True, caller=True)]
    assert desk.play(desk.welcome(members=5), Roster(tuple(entries))) == [
        events.Entered(("Ira", "Sahnawaz", "Thea")),
        events.MemberLost("Sahnawaz"),
    ]
    assert desk.play(desk.event(Back(THEM))) == [events.MemberBack("Sahnawaz")]


def test_lost_connection_that_somebody_on_the_way_made_up_is_taken_back() -> None:
    """Who knows the room's keys may forge it on our cable. When it is found, she is here, and when
    she goes, that is told."""
    desk = Desk()
    checked, event_seq = (desk.offset, desk.hash.digest()), desk.event_seq
    assert desk.play(desk.event(Lost(THEM))) == [events.MemberLost("Sahnawaz")]
    tampered = desk.play(Check(*checked))
    assert [type(event) for event in tampered] == [events.Tampered]
    assert desk.participant.members()[1].connections == 1
    desk.event_seq = event_seq
    shown = desk.play(CUT, Resumed(), Resend(1), desk.event(Lost(THEM)))
    assert shown == [RECONNECTED, events.MemberLost("Sahnawaz")]


# -- what is shown -----------------------------------------------------------------------------

CLOSED = events.Warned("Sahnawaz: a message could not be opened, and was dropped")
MALFORMED = events.Warned("Sahnawaz: a frame is too short for its fields, and was dropped")
JUMP = events.Warned("Sahnawaz: a message has a number that is not next, and was dropped")
DECEIVED = events.Warned(
    "Sahnawaz says to have been shown another conversation than you; either Sahnawaz, the server, "
    "or somebody on the way deceives you"
)


def seeing(desk: Desk, seq: int, offset: int, digest: bytes) -> bytes:
    """A message whose sender has seen the log so."""
    content = MessageContent(Kind.SAY, 7, bytes((THEM,)) * 8, seq, b"Hi", Seen(offset, digest))
    return desk.content(seq, content.encode())


def seen_now(desk: Desk, seq: int, *, shift: int = 0, flip: int = 0) -> bytes:
    """The same, who has seen what is there now, or almost."""
    digest = desk.hash.digest()[:SEEN_HASH_BYTES]
    return seeing(desk, seq, desk.offset + shift, bytes((digest[0] ^ flip,)) + digest[1:])


def before_us(seq: int) -> bytes:
    return Message(EPOCH - 1, THEM, seq, bytes(128)).to_wire()


NOT_FOR_US = events.MessageNotForUs("Sahnawaz")
Script = Sequence[bytes | Control | None]
SHOWN: dict[str, tuple[Callable[[Desk], Script], list[events.ClientEvent]]] = {
    "an honest server": (
        lambda desk: [
            *(desk.message(1), desk.message(1, sender=OTHER), desk.joined(entry(4, "Zoë"))),
            *(desk.message(1, sender=4), desk.left(4, reason=Reason.LOST), desk.rekey()),
            *(desk.message(2), desk.event(Notice("?")), desk.event(Closing()), desk.check()),
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
    "epochs that end though nobody comes or goes": (
        lambda desk: [desk.joined(), desk.message(1), desk.left(), desk.rekey(), desk.message(2)],
        [hi(1), hi(2)],
    ),
    "others are lost and back, and not we": (
        lambda desk: [desk.event(event(who)) for event in (Lost, Back) for who in (US, THEM)],
        [events.MemberLost("Sahnawaz"), events.MemberBack("Sahnawaz")],
    ),
    "any time and no text": (
        lambda desk: [desk.message(1, "", time_ms=2**64 - 1)],
        [events.MessageReceived("Sahnawaz", 2**64 - 1, "", own=False, number=1)],
    ),
    "what does not open takes its number": (
        lambda desk: [*map(desk.broken, (1, 2, 3)), desk.message(4)],
        [CLOSED, hi(4)],
    ),
    "what opens and is malformed takes its number, and no number of the run": (
        lambda desk: [desk.content(1, b""), desk.message(2, number=9), desk.message(3, number=10)],
        [MALFORMED, hi(9), hi(10)],
    ),
    "numbers of a run that do not go up with those of the membership": (
        lambda desk: [
            *(desk.message(1, number=7), desk.message(2, number=2**64 - 1)),
            *(desk.message(3, number=7), desk.message(4, number=11), desk.message(5, number=11)),
        ],
        [hi(7), JUMP, hi(11)],
    ),
    "of each sender for itself": (
        lambda desk: [
            *(desk.message(1, number=5, sender=sender) for sender in (THEM, OTHER)),
            *(desk.message(2, number=5, sender=sender) for sender in (THEM, OTHER)),
        ],
        [hi(5), hi(5, "Thea"), JUMP, events.Warned(JUMP.text.replace("Sahnawaz", "Thea"))],
    ),
    "an epoch of before we came": (
        lambda desk: [before_us(1), desk.message(2), before_us(3)],
        [NOT_FOR_US, hi(2)],
    ),
    "an earlier epoch of ours": (
        lambda desk: [message := desk.message(2), desk.message(1), desk.joined(), message][1:],
        [hi(1), hi(2)],
    ),
    "what its sender has seen": (
        lambda desk: [seen_now(desk, 1), desk.event(Notice("?")), seen_now(desk, 2)],
        [hi(1), events.NoticeReceived("?"), hi(2)],
    ),
    "at the end of an epoch": (
        lambda desk: [desk.message(1), desk.joined(entry(4, "Zoë")), seen_now(desk, 2)],
        [hi(1), events.MemberJoined("Zoë"), hi(2)],
    ),
    "before our welcome, whatever it was": (
        lambda desk: [seeing(desk, seq, seq * 1_177, bytes(16)) for seq in (1, 2, 3, 4)],
        [hi(seq) for seq in (1, 2, 3, 4)],
    ),
    "which differs": (lambda desk: [seen_now(desk, 1, flip=1)], [DECEIVED, hi(1)]),
    "where no frame ends": (
        lambda desk: [desk.message(1), seen_now(desk, 2, shift=-1)],
        [hi(1), DECEIVED, hi(2)],
    ),
    "to come, and said once": (
        lambda desk: [seen_now(desk, seq, shift=1) for seq in (1, 2)],
        [DECEIVED, hi(1), hi(2)],
    ),
    "twice, over a cut that lost nothing": (
        lambda desk: [desk.message(1), CUT, Resumed(), desk.message(2)],
        [hi(1), RECONNECTED, hi(2)],
    ),
}


@pytest.mark.parametrize("what", SHOWN)
def test_what_is_shown_of_what_arrives(what: str) -> None:
    desk = Desk()
    script, shown = SHOWN[what]
    assert desk.play(*script(desk)) == shown


def test_what_was_seen_too_far_back_is_not_compared() -> None:
    desk = Desk()
    with mock.patch("chat.client.trail.MAX_TRAIL", 2):
        told = desk.play(*(seeing(desk, seq, 4_711, b"?" * 16) for seq in (1, 2, 3)))
    assert told == [DECEIVED, hi(1), hi(2), hi(3)]


def test_roster_says_how_far_each_member_was_heard() -> None:
    desk = Desk(welcomed=False)
    them = entry(THEM, "Sahnawaz", seq=8)
    desk.play(desk.welcome(members=2), Roster((MEMBERS[0], them)))
    assert desk.play(desk.message(9)) == [hi(9)]


# -- what the server cannot have written -------------------------------------------------------

NOWHERE = 2**64 - 1
NO_MESSAGE = events.FrameRefused("a message that the server cannot have passed on here")
NO_EVENT = events.FrameRefused("an event that the server cannot have told here")
NOT_OURS = events.FrameRefused("our own message came back, but not as we sent it")
TOO_SHORT = events.FrameRefused("a frame is too short for its fields")
NO_REKEY = events.FrameRefused("a room frame where a new key was due")


def event_of_an_epoch_to_come(desk: Desk) -> bytes:
    desk.epoch += 1
    return desk.event(Notice("x"))


def behind(*script: Callable[[Desk], bytes | Control]) -> Callable[[Desk], bytes]:
    """The last of these, behind the others."""

    def lie(desk: Desk) -> bytes:
        made = [step(desk) for step in script]
        desk.play(*made[:-1])
        assert isinstance(made[-1], bytes)
        return made[-1]

    return lie


REFUSED: dict[str, tuple[Callable[[Desk], bytes], events.FrameRefused]] = {
    "the number 0": (lambda desk: desk.message(0), NO_MESSAGE),
    "no epoch": (lambda _: Message(0, THEM, 1, bytes(128)).to_wire(), NO_MESSAGE),
    "an epoch before us that a leave ended": (
        behind(Desk.left, Desk.rekey, lambda _: before_us(1)),
        NO_MESSAGE,
    ),
    "nothing sealed": (lambda _: Message(EPOCH, THEM, 1, b"").to_wire(), TOO_SHORT),
    "an event of an epoch to come": (event_of_an_epoch_to_come, NO_EVENT),
    "a message in the place of a rekey": (behind(Desk.left, lambda _: before_us(1)), NO_REKEY),
    "an event in the place of a rekey": (
        behind(Desk.left, lambda desk: desk.event(Closing())),
        NO_REKEY,
    ),
}
"""What the vectors do not have."""


def asked_offset(desk: Desk) -> int:
    """From where the participant would resume."""
    first = desk.participant.first_control()
    assert isinstance(first, Resume)
    return first.offset


@pytest.mark.parametrize("what", REFUSED)
def test_frame_that_cannot_stand_there_is_refused_and_in_the_end_all_is_doubted(what: str) -> None:
    desk = Desk()
    make, refused = REFUSED[what]
    frame = make(desk)
    place, people = desk.participant.first_control(), desk.participant.members()
    assert desk.play(frame) == [refused]
    assert (desk.participant.first_control(), desk.participant.members()) == (place, people)
    # Some stand behind an event that nobody has vouched for.
    for _ in range(MAX_REFUSALS if asked_offset(desk) == 4_711 else 1):
        assert asked_offset(desk) != NOWHERE
        assert desk.play(CUT, Resumed(), frame) == [RECONNECTED, refused]
    assert asked_offset(desk) == NOWHERE


def test_frame_that_is_refused_twice_puts_in_doubt_what_nobody_has_vouched_for() -> None:
    desk = Desk()
    desk.play(desk.message(1))
    for _ in range(2):
        assert asked_offset(desk) == desk.offset
        assert desk.play(Desk().message(9), CUT, Resumed()) == [NO_MESSAGE, RECONNECTED]
    assert asked_offset(desk) == NOWHERE


def test_rest_of_a_run_is_not_looked_at_behind_what_is_refused() -> None:
    desk = Desk()
    first, forged, rest = desk.message(1), desk.message(1), desk.message(2)
    assert desk.play(first + forged + rest) == [hi(1), NO_MESSAGE]
    assert asked_offset(desk) == 4_711 + len(first)
    # What comes from there is what was meant, and another place may be wrong once more.
    desk.play(CUT, Resumed())
    assert desk.play(rest, forged) == [hi(2), NO_MESSAGE]
    assert asked_offset(desk) == 4_711 + len(first) + len(rest)


EVENT_LIES: dict[str, RoomEvent] = {
    "somebody joins twice at once": Joined((entry(4, "Zoë"), entry(4, "Zoë"))),
    "we join again": Joined((entry(US, "Ira"),)),
    "somebody joins without a name": Joined((entry(4, ""),)),
    "the server joins": Joined((entry(0, "the server"),)),
    "the server leaves": Left(((0, Reason.LEFT),)),
    "somebody leaves twice": Left(((OTHER, Reason.LEFT), (OTHER, Reason.LEFT))),
    "the server is lost": Lost(0),
    "the server is back": Back(0),
}
"""What the vectors do not have."""


@pytest.mark.parametrize("what", EVENT_LIES)
def test_event_that_says_what_cannot_be_makes_all_doubtful_at_once(what: str) -> None:
    """It opened, so half of it may have been applied: only a new WELCOME helps."""
    desk = Desk()
    (refused,) = desk.play(desk.event(EVENT_LIES[what]))
    assert isinstance(refused, events.FrameRefused)
    assert asked_offset(desk) == NOWHERE
    told = desk.play(CUT, desk.welcome(), Roster(MEMBERS))
    assert told[:2] == [UNCHECKED, RECONNECTED]


@pytest.mark.parametrize("run", [b"\0\x11\x20" + bytes(16), bytes(30), b"\0\x40\x20" + bytes(40)])
@pytest.mark.parametrize("frame_type", [Message.TYPE, Event.TYPE])
def test_run_that_is_none_is_refused(frame_type: int, run: bytes) -> None:
    (refused,) = Desk().participant.receive_frames(frame_type, run)
    assert isinstance(refused, events.FrameRefused)


ALTERED: dict[str, Callable[[Desk], bytes]] = {
    "another text": lambda desk: desk.ours(1, "Go"),
    "an empty text": lambda desk: desk.ours(1, ""),
    "another time": lambda desk: desk.message(1, "Hi", US, 10, ORIGIN),
    "another origin": lambda desk: desk.message(1, "Hi", US, 9, bytes(8)),
    "another number of our run": lambda desk: desk.ours(1, "Hi", number=2),
    "another number": lambda desk: desk.ours(2, "Hi"),
    "another order": lambda desk: desk.ours(1, "you", number=2),
    "too short": lambda desk: desk.content(1, b"\0", US),
    "not UTF-8": lambda desk: desk.content(1, b"\x01" + bytes(48) + b"\xff", US),
    "sealed with another key": lambda desk: desk.broken(1, US),
    "sealed before we came": lambda _: Message(EPOCH - 1, US, 1, bytes(128)).to_wire(),
}


@pytest.mark.parametrize("what", ALTERED)
def test_own_message_that_comes_back_altered_is_refused(what: str) -> None:
    desk = Desk()
    desk.play("Hi", "you")
    desk.sent()
    (refused,) = desk.play(ALTERED[what](desk))
    assert isinstance(refused, events.FrameRefused)
    assert desk.participant.unacknowledged == 2
    # Nothing of it was taken: the true one is.
    assert desk.play(CUT, Resumed(), desk.ours(1, "Hi")) == [RECONNECTED, own(1, "Hi")]


@pytest.mark.parametrize("typed", [(), ("Hi",)])
def test_message_in_our_name_that_we_never_sent_is_refused(typed: tuple[str, ...]) -> None:
    desk = Desk("one")
    assert desk.play(*typed, desk.ours(2, "Hi")) == [NOT_OURS]
    assert desk.participant.unacknowledged == len(typed)


# -- what the server vouches for ---------------------------------------------------------------

UNCHECKED = events.Tampered(0.0, certain=False, again=False)


def tampered(*, again: bool, seconds: float = 0.0) -> list[events.ClientEvent]:
    return [events.Tampered(seconds, certain=True, again=again)]


@pytest.mark.parametrize("how", ["in", "catching up", "regrouping", "lacking a key"])
def test_check_that_agrees_is_taken_in_silence_wherever_it_stands(how: str) -> None:
    desk = standing(how)
    if how != "lacking a key":
        assert len(desk.play(desk.message(1), desk.message(2))) == 2
    for _ in range(2):
        assert desk.play(desk.check()) == []
    # Nothing is left to doubt.
    assert UNCHECKED not in desk.play(CUT, desk.welcome(), Roster(MEMBERS))


CHECKS: dict[str, Callable[[Desk], Check]] = {
    "another hash": lambda desk: Check(desk.offset, bytes(32)),
    "a place behind ours": lambda desk: Check(desk.offset - 1, desk.hash.digest()),
    "a place before ours": lambda desk: Check(desk.offset + 1, desk.hash.digest()),
    "a frame was left out": lambda desk: (desk.message(3), desk.check())[1],
}


@pytest.mark.parametrize("what", CHECKS)
def test_check_that_does_not_agree_takes_all_back_to_the_last_one(what: str) -> None:
    desk = Desk("one")
    desk.play(desk.message(1), desk.check())
    place, people = desk.participant.first_control(), desk.participant.members()
    desk.play("two")
    desk.sent()
    since = [desk.message(2), desk.ours(2, "two"), desk.event(Notice("?")), desk.broken(1, OTHER)]
    assert len(desk.play(*since[:3])) == 3
    desk.now += 7
    assert len(desk.play(since[3])) == 1
    assert desk.play(CHECKS[what](desk)) == tampered(again=True, seconds=7.0)
    assert (desk.participant.first_control(), desk.participant.members()) == (place, people)
    # All of it comes once more, with the numbers of then. It is shown if it has not been.
    true = [since[0], desk.message(1, "true", sender=OTHER), since[1], since[2]]
    assert desk.play(CUT, Resumed(), *true, Resend(3)) == [
        RECONNECTED,
        hi(1, "Thea", "true"),
        events.NoticeReceived("?"),
    ]
    assert desk.participant.unacknowledged == 0
    assert desk.play("three") == []
    assert desk.sent() == [(3, "three")]


def test_what_nobody_vouches_for_is_as_old_as_the_connection_on_which_it_came() -> None:
    """However long it took to come back."""
    desk = Desk()
    desk.play(desk.check())
    desk.now += 7
    desk.play(desk.message(1), CUT)
    for _ in range(2):
        # A server that lets nobody in.
        desk.now += 1_800
        desk.participant.note_activity(desk.now)
        desk.play(CUT)
    assert desk.play(desk.welcome(messages=1), Roster(MEMBERS))[0] == events.Tampered(
        3_607.0, certain=False, again=False
    )


def test_number_that_no_check_covers_hides_no_later_one() -> None:
    """It would do so for good, in this room and in the next, if the next CHECK made it count."""
    for script in ([Check(0, bytes(32)), CUT, Resumed()], [CUT, Desk().welcome(), Roster(MEMBERS)]):
        desk, other = Desk(), Desk()
        desk.play(other.message(1, "forged", number=2**64 - 1), *script)
        assert desk.play(desk.message(1), desk.check(), desk.message(2)) == [hi(1), hi(2)]


def test_messages_that_are_taken_back_are_not_counted_as_heard() -> None:
    desk = Desk()
    desk.play(desk.message(1), desk.message(2), Check(0, bytes(32)))
    told = desk.play(CUT, desk.welcome(messages=2), Roster(MEMBERS))
    assert told == [events.Reconnected(2, new_room=False, awaiting=False)]


@pytest.mark.parametrize("checked", [False, True])
def test_nothing_is_taken_back_over_the_end_of_an_epoch(checked: bool) -> None:
    desk = Desk()
    desk.play(desk.joined(entry(4, "Zoë")), *([desk.check()] if checked else []), desk.message(1))
    assert desk.play(Check(0, bytes(32))) == tampered(again=checked)
    assert (asked_offset(desk) == NOWHERE) is not checked
    # What was said is not said twice.
    told = desk.play(CUT, desk.welcome(members=4), Roster((*MEMBERS, entry(4, "Zoë"))))
    assert told == [RECONNECTED]


def test_place_that_is_wrong_again_and_again_is_not_asked_for_without_end() -> None:
    desk = Desk()
    frame = desk.message(1)
    assert desk.play(frame, Check(0, bytes(32))) == [hi(1), *tampered(again=True)]
    for left in range(MAX_REFUSALS - 1, -1, -1):
        assert asked_offset(desk) == 4_711
        again = desk.play(CUT, Resumed(), frame, Check(0, bytes(32)))
        assert again == [RECONNECTED, *tampered(again=left > 0)]
    assert asked_offset(desk) == NOWHERE


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_welcome_before_the_check_says_that_nobody_vouches(refused: int) -> None:
    """Also when it was asked for since the same frame was refused twice: what we had before that
    frame may well be forged."""
    desk = Desk()
    desk.now += 3
    desk.play(desk.message(1))
    for _ in range(refused):
        desk.now += 1
        assert desk.play(Desk().message(9), CUT, Resumed()) == [NO_MESSAGE, RECONNECTED]
    told = desk.play(CUT, desk.welcome(messages=1), Roster(MEMBERS))
    # What nobody vouches for is not counted as taken if it is doubtful.
    back = events.Reconnected(missed=int(refused == 2), new_room=False, awaiting=False)
    assert told == [events.Tampered(3 + refused, certain=False, again=False), back]


def test_altered_message_is_found_and_the_true_one_still_counts() -> None:
    frame = Desk().message(1)
    for at in range(len(frame)):
        desk, altered = Desk(), bytearray(frame)
        altered[at] ^= 0x80 >> at % 8
        (told,) = desk.participant.receive_frames(Message.TYPE, bytes(altered))
        if at >= ROOM_HEADER_BYTES:
            assert told == CLOSED
            assert desk.play(Check(4_711 + len(frame), bytes(32))) == tampered(again=True)
        else:
            assert isinstance(told, events.FrameRefused), at
        assert desk.play(CUT, Resumed(), frame) == [RECONNECTED, hi(1)], at


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
    assert desk.participant.data_to_send() == []
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
    desk.sent()
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
    (run,) = desk.participant.data_to_send()
    assert len(run) <= MAX_FRAME_BYTES


def test_short_texts_have_the_same_length_and_nothing_is_sealed_twice_in_the_same_way() -> None:
    desk, sent = Desk(), []
    for text in ("", "no", "yes", "é" * 23):
        desk.play(text)
        sent += desk.participant.data_to_send()
    assert len({len(frame) for frame in sent}) == 1
    desk.play(Resend(4))
    (again,) = desk.participant.data_to_send()
    assert again[:ROOM_HEADER_BYTES] == sent[3][:ROOM_HEADER_BYTES]
    assert again[19:35] != sent[3][19:35]
    assert again[35:131] != sent[3][35:131]


def test_what_is_sent_fits_into_submits_and_says_how_far_we_have_read() -> None:
    desk = Desk()
    desk.play(desk.message(1), *["x" * MAX_TEXT_BYTES] * 10)
    seen = Seen(desk.offset, desk.hash.digest()[:SEEN_HASH_BYTES])
    runs = desk.participant.data_to_send()
    assert [len(cut(run)) for run in runs] == [1] * 10
    for run in runs:
        assert len(run) <= MAX_SUBMIT_BYTES
        for frame in cut(run):
            data = open_frame(desk.secret.message_key(), frame)
            assert MessageContent.decode(data).seen == seen


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
    if what == "regrouping":
        desk.new_room(MEMBERS[0], MEMBERS[1])
        return desk
    if "lacking a key" in what:
        desk.play(desk.left(OTHER))
    if "cut" in what or "catching up" in what:
        desk.play(CUT)
    if "catching up" in what:
        desk.play(Resumed())
    return desk


@pytest.mark.parametrize("how", ["unknown", "welcomed", "cut", "cut in the roster"])
def test_room_frame_before_we_are_in_is_refused(how: str) -> None:
    for frame in (Desk().message(1), Desk().event(Notice("x"))):
        desk = standing(how)
        first = desk.participant.first_control()
        assert desk.play(frame) == [events.FrameRefused("a room frame before the welcome")]
        assert desk.participant.first_control() == first


def test_welcome_behind_the_end_of_all_places_is_a_breach() -> None:
    """What else makes no sense in WELCOME and ROSTER is in the vectors and in `test_peers`."""
    desk = Desk(welcomed=False)
    with pytest.raises(ProtocolError, match="makes no sense"):
        desk.play(desk.welcome(offset=2**63 + 1))


# -- a server that does not answer -------------------------------------------------------------


def test_server_owes_an_answer_from_when_something_was_said_until_it_is_acknowledged() -> None:
    desk = Desk()

    def pass_time(seconds: float = 2) -> float | None:
        desk.now += seconds
        desk.participant.tick(desk.now)
        return desk.participant.unanswered_since

    assert pass_time() is pass_time(20) is None
    desk.play("one", "two")
    assert desk.participant.unanswered_since is None
    said_at = pass_time()
    assert said_at == desk.now
    desk.sent()
    desk.play(desk.message(1))
    assert pass_time() == pass_time() == said_at
    desk.play(desk.ours(1, "one"))
    assert desk.participant.unanswered_since is None
    assert pass_time() == desk.now
    desk.play(desk.ours(2, "two"))
    assert desk.participant.unanswered_since is pass_time() is None


def test_server_owes_no_answer_on_a_connection_that_is_lost() -> None:
    desk = Desk()
    desk.play("one")
    desk.participant.tick(desk.now)
    assert desk.participant.unanswered_since == desk.now
    desk.play(CUT)
    assert desk.participant.unanswered_since is None
    desk.now += 30
    desk.participant.tick(desk.now)
    assert desk.participant.unanswered_since is None
    desk.play(Resumed(), Resend(1))
    desk.participant.tick(desk.now)
    assert desk.participant.unanswered_since == desk.now
