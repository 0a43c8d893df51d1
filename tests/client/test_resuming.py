"""A participant over several connections: coming back to its place, and into a new room.

With a real room in memory, and with a server that lies. Whole schedules of cuts are in
`test_participant` and in the simulation.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest

from chat.cipher import MIN_SEALED_BYTES
from chat.client import outbox as outbox_module
from chat.client.events import (
    Entered,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageQueued,
    MessageReceived,
    NoticeReceived,
    Reconnected,
    Warned,
)
from chat.errors import ProtocolError, Reason
from chat.kex import RoomSecret
from chat.limits import (
    GRACE_SECONDS,
    ORIGIN_BYTES,
    PING_SECONDS,
    REGROUP_SECONDS,
    REPLAY_SECONDS,
)
from chat.messages import (
    Joined,
    Left,
    MessageContent,
    Notice,
    Ready,
    Rekey,
    Resend,
    Resume,
    Resumed,
    Roster,
    RosterEntry,
)
from chat.wire import Message
from tests.support.hall import (
    EPOCH,
    MEMBERS,
    ORIGIN,
    OTHER,
    ROOM,
    THEM,
    TOKEN,
    US,
    Desk,
    Hall,
    entry,
)

NOWHERE = 2**64 - 1
RECONNECTED = Reconnected(0, new_room=False, awaiting=False)


def heard(sender: str, text: str, number: int) -> MessageReceived:
    return MessageReceived(sender, 7, text, own=False, number=number)


def own(text: str, number: int) -> MessageReceived:
    return MessageReceived("Ira", 9, text, own=True, number=number)


# -- with a real room --------------------------------------------------------------------------


def test_resume_with_nothing_missed_sends_what_was_not_acknowledged() -> None:
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    ira.say("arrived, of which we do not hear")
    ira.carry()
    ira.say("lost on the way")
    ira.participant.data_to_send()
    hall.lose(ira)
    ira.say("typed while offline")
    assert ira.participant.data_to_send() == b""
    hall.come_back(ira)
    hall.settle()
    said = [("Ira", text) for text in ira.texts]
    assert ira.said() == sahnawaz.said() == said
    assert ira.participant.unacknowledged == 0
    assert ira.shown[1] == RECONNECTED
    assert [event for event in sahnawaz.shown if not isinstance(event, MessageReceived)][1:] == [
        MemberLost("Ira"),
        MemberBack("Ira"),
    ]


def test_resume_is_told_in_order_all_that_happened_meanwhile() -> None:
    hall = Hall()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    hall.lose(ira)
    sahnawaz.say("one")
    hall.settle()
    hall.leave(thea)
    hall.pass_time(1)
    hall.settle()
    sahnawaz.say("two")
    (zoe,) = hall.enter("Zoë")
    hall.room.say("behave")
    zoe.say("three")
    hall.settle()
    hall.leave(zoe, Reason.KICKED)
    hall.pass_time(1)
    hall.come_back(ira)
    ira.say("typed before the end was heard")
    hall.settle()
    assert [event for event in ira.shown if not isinstance(event, MessageReceived)] == [
        Entered(("Ira", "Sahnawaz", "Thea")),
        RECONNECTED,
        MemberLeft("Thea", Reason.LEFT),
        MemberJoined("Zoë"),
        NoticeReceived("behave"),
        MemberLeft("Zoë", Reason.KICKED),
    ]
    assert ira.said() == hall.said(ira)
    assert ira.said()[-1] == ("Ira", "typed before the end was heard")


def test_lost_between_a_leave_and_the_new_key_is_given_the_key() -> None:
    hall = Hall()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    hall.leave(thea)
    hall.pass_time(1)
    ira.read(1)
    assert ira.shown[-1] == MemberLeft("Thea", Reason.LEFT)
    hall.lose(ira)
    sahnawaz.say("under the new key")
    hall.settle()
    hall.come_back(ira)
    hall.settle()
    assert ira.said() == [("Sahnawaz", "under the new key")]
    assert ira.warnings() == []


def test_gap_is_told_and_the_roster_acknowledges_what_is_in_it() -> None:
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    ira.say("in the gap")
    ira.carry()
    ira.say("not arrived")
    ira.participant.data_to_send()
    hall.lose(ira)
    for number in range(37):
        sahnawaz.say(f"{number}")
    hall.settle()
    hall.trim(0)
    sahnawaz.say("after the gap")
    hall.settle()
    hall.trim(0)
    hall.come_back(ira)
    sahnawaz.say("back again")
    hall.settle()
    assert ira.shown[1:] == [
        Reconnected(38, new_room=False, awaiting=False),
        MessageReceived("Ira", 1_001_000, "in the gap", own=True, number=1),
        MessageReceived("Sahnawaz", 1_001_000, "back again", own=False, number=39),
        MessageReceived("Ira", 1_001_000, "not arrived", own=True, number=2),
    ]
    assert ira.participant.unacknowledged == 0
    assert ("Ira", "in the gap") in sahnawaz.said()
    assert ira.said() == hall.said(ira)
    assert ira.missed() == hall.gaps(ira)


def test_gap_between_an_old_key_and_now_accuses_nobody() -> None:
    """A message that is accepted in the time of grace, under an epoch of which we were never given
    the key, is no fault of its sender's nor of the server's."""
    hall = Hall()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    hall.lose(ira)
    hall.leave(thea)
    hall.pass_time(0.2)
    hall.settle()
    sahnawaz.say("under a key that Ira never had")
    sahnawaz.under_way.append(sahnawaz.participant.data_to_send())
    zoe = hall.join("Zoë")
    hall.pass_time(0.2)
    sahnawaz.read()
    zoe.read()
    hall.trim(0)
    hall.come_back(ira)
    hall.settle()
    sahnawaz.say("under the key that it has")
    hall.settle()
    assert ira.warnings() == []
    assert ira.said() == [("Sahnawaz", "under the key that it has")]


def test_who_comes_back_after_its_grace_is_a_new_member_and_sends_what_is_left() -> None:
    hall = Hall()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    ira.say("acknowledged")
    hall.settle()
    ira.say("arrived, of which we do not hear")
    ira.carry()
    ira.say("lost on the way")
    ira.participant.data_to_send()
    hall.lose(ira)
    old = ira.member
    hall.pass_time(GRACE_SECONDS)
    hall.settle()
    hall.come_back(ira)
    assert isinstance(ira.participant.first_control(), Resume)
    assert ira.member is not old
    hall.pass_time(1)
    hall.settle()
    said = [("Ira", text) for text in ira.texts]
    # The second is sent again, into the log even, and shown to nobody twice.
    assert sahnawaz.said() == ira.said() == said
    assert hall.room.messages == 4
    assert ira.member.seq == 2
    assert ira.participant.unacknowledged == 0
    assert ira.warnings() + sahnawaz.warnings() == []
    assert ira.shown[2:4] == [
        Reconnected(1, new_room=False, awaiting=False),
        Entered(("Sahnawaz", "Ira"), again=True),
    ]


# -- what is asked for on a new link -----------------------------------------------------------


def test_first_link_begins_with_ready() -> None:
    desk = Desk(welcomed=False)
    assert desk.participant.first_control() == Ready()
    desk.participant.disconnect()
    assert desk.participant.first_control() == Ready()


def test_place_is_counted_over_all_frames_whatever_became_of_them() -> None:
    desk = Desk()
    frames = [
        desk.message(1),
        desk.message(1),
        Message(EPOCH, THEM, 9, bytes(MIN_SEALED_BYTES)).to_wire(),
        Message(EPOCH - 1, THEM, 9, bytes(MIN_SEALED_BYTES)).to_wire(),
        desk.message(1, sender=99),
        desk.event(Notice("x")),
    ]
    for frame in frames:
        desk.hear(frame)
    offset = 4_711 + sum(map(len, frames))
    desk.participant.disconnect()
    assert desk.participant.first_control() == Resume(US, TOKEN, offset, EPOCH)
    # A link that comes to nothing changes nothing.
    desk.participant.disconnect()
    desk.control(Resumed())
    desk.participant.disconnect()
    assert desk.participant.first_control() == Resume(US, TOKEN, offset, EPOCH)


def test_epoch_that_is_asked_from_is_the_last_whose_key_has_arrived() -> None:
    desk = Desk()
    frames = [desk.event(Joined((entry(4, "Zoë"),))), desk.event(Left(((4, Reason.LEFT),)))]
    desk.hear(*frames)
    offset = 4_711 + sum(map(len, frames))
    assert desk.participant.first_control() == Resume(US, TOKEN, offset, EPOCH + 1)
    desk.control(desk.rekey())
    assert desk.participant.first_control() == Resume(US, TOKEN, offset, EPOCH + 2)


def test_who_was_not_told_all_names_asks_for_a_new_welcome() -> None:
    desk = Desk(welcomed=False)
    desk.control(desk.welcome(), Roster(MEMBERS[:1]))
    desk.participant.disconnect()
    assert desk.participant.first_control() == Resume(US, TOKEN, NOWHERE, EPOCH)
    assert not desk.participant.has_joined
    desk.participant.say("Hi", 9)
    shown = desk.control(desk.welcome(offset=5_000), Roster(MEMBERS), Resend(1))
    assert shown == [Entered(("Ira", "Sahnawaz", "Thea"))]
    assert {text for _, _, text in desk.sent()} == {"Hi"}
    assert desk.participant.first_control() == Resume(US, TOKEN, 5_000, EPOCH)


@pytest.mark.parametrize("offset", [NOWHERE, NOWHERE - 1])
def test_offset_that_a_lying_server_lets_overflow_does_not_crash(offset: int) -> None:
    desk = Desk(welcomed=False)
    with suppress(ProtocolError):
        desk.control(desk.welcome(offset=offset), Roster(MEMBERS))
        desk.hear(desk.message(1))
    desk.participant.first_control().encode()


# -- between RESUME and RESEND -----------------------------------------------------------------


def test_nothing_is_sent_until_the_server_asks_for_it() -> None:
    desk = Desk()
    desk.participant.say("one", 9)
    desk.participant.say("two", 9)
    assert len(desk.sent()) == 2
    desk.participant.disconnect()
    assert not desk.participant.in_room
    desk.participant.say("three", 9)
    assert desk.control(Resumed()) == [RECONNECTED]
    assert desk.participant.in_room
    assert not desk.participant.can_send
    # What is met on the way is acknowledged, and the rest goes out under the key of then.
    desk.hear(desk.message(1, "one", sender=US, time_ms=9), desk.event(Joined((entry(4, "Zoë"),))))
    desk.participant.say("four", 9)
    assert desk.sent() == []
    desk.control(Resend(2))
    assert desk.participant.can_send
    assert [text for _, _, text in desk.sent()] == ["two", "three", "four"]
    desk.participant.say("five", 9)
    assert desk.sent() == [(5, EPOCH + 1, "five")]


def test_what_was_about_to_be_sent_when_the_connection_broke_is_sent_once() -> None:
    desk = Desk()
    desk.participant.say("one", 9)
    desk.participant.disconnect()
    desk.control(Resumed(), Resend(1))
    assert desk.sent() == [(1, EPOCH, "one")]


def test_what_waits_for_a_new_key_waits_through_a_cut() -> None:
    desk = Desk()
    desk.hear(desk.event(Left(((OTHER, Reason.LEFT),))))
    desk.participant.say("now that Thea is gone", 9)
    desk.participant.disconnect()
    desk.control(Resumed(), desk.rekey())
    assert desk.sent() == []
    desk.control(Resend(1))
    assert desk.sent() == [(1, EPOCH + 1, "now that Thea is gone")]


def test_replay_over_a_new_connection_is_still_a_replay() -> None:
    desk = Desk()
    frame = desk.message(1)
    desk.hear(frame)
    desk.participant.disconnect()
    desk.control(Resumed())
    assert [type(event) for event in desk.hear(frame)] == [Warned]


def test_message_withheld_over_a_cut_is_noticed() -> None:
    desk = Desk()
    desk.hear(desk.message(1))
    desk.participant.disconnect()
    desk.control(Resumed())
    assert desk.hear(desk.message(3)) == [
        Warned("1 of Sahnawaz's messages did not arrive: somebody withheld them"),
        heard("Sahnawaz", "Hi", 3),
    ]


# -- a gap -------------------------------------------------------------------------------------


def with_own(seq: int) -> Roster:
    """The roster, saying that our last message so far was this one."""
    return Roster((entry(US, "Ira", seq), *MEMBERS[1:]))


def test_roster_behind_a_gap_acknowledges_our_own() -> None:
    desk = Desk()
    for text in ("one", "two", "three"):
        desk.participant.say(text, 9)
    desk.sent()
    desk.hear(desk.message(1, "one", sender=US, time_ms=9))
    desk.participant.disconnect()
    desk.renew(RoomSecret(b"7" * 32))
    shown = desk.control(desk.welcome(offset=90_000, messages=38), with_own(2))
    assert shown == [Reconnected(36, new_room=False, awaiting=False), own("two", 2)]
    assert desk.participant.unacknowledged == 1
    assert desk.sent() == []
    desk.control(Resend(3))
    assert desk.sent() == [(3, EPOCH + 1, "three")]
    desk.hear(desk.message(3, "three", sender=US, time_ms=9))
    assert desk.participant.unacknowledged == 0


def test_own_messages_in_a_gap_are_shown_once_in_order_and_are_not_missed() -> None:
    desk = Desk()
    for text in ("one", "two", "three"):
        desk.participant.say(text, 9)
    desk.sent()
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=5), with_own(2)) == [
        Reconnected(3, new_room=False, awaiting=False),
        own("one", 1),
        own("two", 2),
    ]
    desk.control(Resend(3))
    assert desk.sent() == [(3, EPOCH, "three")]
    assert desk.hear(desk.message(3, "three", sender=US, time_ms=9)) == [own("three", 3)]
    # The same roster once more: there is nothing left to be said of it.
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=6), with_own(3)) == [RECONNECTED]


def test_gap_of_nothing_but_our_own_misses_nothing() -> None:
    desk = Desk()
    desk.participant.say("one", 9)
    desk.participant.say("two", 9)
    desk.sent()
    desk.participant.disconnect()
    shown = desk.control(desk.welcome(messages=2), with_own(2), Resend(3))
    assert shown == [RECONNECTED, own("one", 1), own("two", 2)]
    assert desk.participant.unacknowledged == 0
    assert desk.participant.say("three", 9) == MessageQueued(3, "three")


@pytest.mark.parametrize("messages", [0, 1, 3])
def test_own_messages_are_shown_though_the_server_counts_fewer_than_it_acknowledges(
    messages: int,
) -> None:
    """One of ours was heard, and two more are acknowledged: an honest server counts three."""
    desk = Desk()
    for text in ("one", "two", "three"):
        desk.participant.say(text, 9)
    desk.sent()
    desk.hear(desk.message(1, "one", sender=US, time_ms=9))
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=messages), with_own(3)) == [
        RECONNECTED,
        own("two", 2),
        own("three", 3),
    ]
    assert desk.participant.unacknowledged == 0


def test_roster_that_counts_fewer_of_ours_than_came_back_takes_nothing_back() -> None:
    desk = acknowledged("one", "two")
    desk.participant.say("three", 9)
    desk.sent()
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=2), with_own(1)) == [RECONNECTED]
    desk.control(Resend(2))
    assert desk.sent() == [(3, EPOCH, "three")]


def test_own_messages_in_a_gap_of_two_welcomes_are_shown_at_its_end() -> None:
    """The first of them was cut off behind our own entry of the roster."""
    desk = Desk()
    desk.participant.say("one", 9)
    desk.participant.say("two", 9)
    desk.sent()
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=4), Roster(with_own(2).entries[:1])) == []
    assert desk.participant.unacknowledged == 2
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=9), with_own(2)) == [
        Reconnected(7, new_room=False, awaiting=False),
        own("one", 1),
        own("two", 2),
    ]


def test_own_message_in_a_gap_of_a_new_room_that_was_shown_in_the_old_is_not_shown_again() -> None:
    desk = acknowledged("one")
    desk.participant.say("two", 9)
    desk.sent()
    in_new_room(desk)
    assert desk.sent() == [(1, 2, "one"), (2, 2, "two")]
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=5), with_own(2)) == [
        Reconnected(3, new_room=False, awaiting=False),
        own("two", 2),
    ]
    assert desk.participant.unacknowledged == 0


def test_own_messages_shown_behind_a_gap_are_offered_to_a_new_room_and_not_shown_again() -> None:
    desk = Desk()
    desk.participant.say("one", 9)
    desk.sent()
    desk.participant.disconnect()
    assert own("one", 1) in desk.control(desk.welcome(messages=1), with_own(1), Resend(2))
    in_new_room(desk)
    assert desk.speeches() == [(1, MessageContent(9, ORIGIN, 1, "one"))]
    assert desk.hear(desk.message(1, "one", sender=US, time_ms=9)) == []
    assert desk.participant.unacknowledged == 0


def test_gap_of_two_welcomes_is_told_once_and_whole() -> None:
    """The first of them was cut off in the middle of the roster."""
    desk = Desk()
    desk.hear(desk.message(1))
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=11), Roster(MEMBERS[:1])) == []
    desk.participant.disconnect()
    first = desk.participant.first_control()
    assert isinstance(first, Resume)
    assert first.offset == NOWHERE
    assert desk.control(desk.welcome(messages=16), Roster(MEMBERS)) == [
        Reconnected(15, new_room=False, awaiting=False)
    ]
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=16), Roster(MEMBERS)) == [RECONNECTED]


def test_numbers_in_a_gap_are_not_withheld() -> None:
    desk = Desk()
    desk.hear(desk.message(1))
    desk.participant.disconnect()
    desk.event(Notice("in the gap"))
    them = entry(THEM, "Sahnawaz", seq=9)
    desk.control(desk.welcome(messages=9), Roster((MEMBERS[0], them)), Roster(MEMBERS[2:]))
    assert desk.hear(desk.event(Notice("behind it")), desk.message(10)) == [
        NoticeReceived("behind it"),
        heard("Sahnawaz", "Hi", 10),
    ]


def test_key_that_was_lacking_is_in_the_welcome_behind_a_gap() -> None:
    desk = Desk()
    desk.hear(desk.event(Left(((OTHER, Reason.LEFT),))))
    desk.participant.disconnect()
    desk.control(desk.welcome(members=2), Roster(MEMBERS[:2]))
    assert desk.hear(desk.message(1)) == [heard("Sahnawaz", "Hi", 1)]
    with pytest.raises(ProtocolError, match="out of place"):
        desk.control(Rekey(desk.epoch + 1, bytes(32)))


@pytest.mark.parametrize("seq", [3, 2**64 - 1])
def test_roster_that_acknowledges_what_we_never_said_is_a_breach(seq: int) -> None:
    desk = Desk()
    desk.participant.say("one", 9)
    desk.participant.say("two", 9)
    desk.participant.disconnect()
    desk.control(desk.welcome())
    with pytest.raises(ProtocolError, match="messages that we did not send"):
        desk.control(with_own(seq))


@pytest.mark.parametrize("same_room", [True, False])
def test_new_membership_that_already_counts_messages_of_ours_is_a_breach(same_room: bool) -> None:
    """In a membership that only begins we have said nothing yet, however much we have to say."""
    desk = Desk()
    desk.participant.say("one", 9)
    desk.restart()
    if same_room:
        desk.room = ROOM
    desk.control(desk.welcome())
    with pytest.raises(ProtocolError, match="messages that we did not send"):
        desk.control(with_own(1))
    assert desk.participant.unacknowledged == 1


def test_roster_that_acknowledges_what_was_typed_offline_is_a_breach() -> None:
    desk = Desk()
    desk.participant.disconnect()
    desk.participant.say("never sent", 9)
    desk.control(desk.welcome())
    with pytest.raises(ProtocolError, match="messages that we did not send"):
        desk.control(with_own(1))


# -- a new room --------------------------------------------------------------------------------


def acknowledged(*texts: str) -> Desk:
    """Somebody whose messages have come back, one a second."""
    desk = Desk()
    for seq, text in enumerate(texts, 1):
        desk.now += 1
        desk.participant.say(text, 9)
        desk.hear(desk.message(seq, text, sender=US, time_ms=9))
    desk.sent()
    return desk


def test_new_room_is_offered_again_what_it_may_lack() -> None:
    desk = acknowledged("one", "two")
    desk.participant.say("three", 9)
    desk.sent()
    desk.restart()
    desk.participant.say("four", 9)
    assert desk.control(desk.welcome(), Roster(MEMBERS)) == [
        Reconnected(0, new_room=True, awaiting=False),
        Entered(("Ira", "Sahnawaz", "Thea"), again=True),
    ]
    numbered = list(enumerate(("one", "two", "three", "four"), 1))
    assert desk.speeches() == [
        (seq, MessageContent(9, ORIGIN, seq, text)) for seq, text in numbered
    ]
    assert desk.participant.unacknowledged == 4
    # What we had shown of our own is not shown again, yet acknowledged.
    shown = desk.hear(*(desk.message(seq, text, sender=US, time_ms=9) for seq, text in numbered))
    assert shown == [own("three", 3), own("four", 4)]
    assert desk.participant.unacknowledged == 0


def test_what_was_acknowledged_long_before_the_connection_was_lost_is_not_offered_again() -> None:
    """Who joins the new room without having been in the old one would be shown it."""
    desk = acknowledged("long ago")
    for seconds in (PING_SECONDS, PING_SECONDS, 1):
        desk.now += seconds
        desk.participant.note_activity(desk.now)
    desk.restart()
    desk.control(desk.welcome(), Roster(MEMBERS))
    assert desk.sent() == []


def test_what_was_acknowledged_shortly_before_a_long_outage_is_offered_again() -> None:
    desk = acknowledged("just before")
    desk.participant.disconnect()
    desk.now += 10 * REPLAY_SECONDS
    desk.restart()
    desk.control(desk.welcome(), Roster(MEMBERS))
    assert desk.sent() == [(1, 2, "just before")]


def test_keys_of_the_old_room_are_of_no_use_in_the_new_one() -> None:
    """What was sealed before we came is passed over, though we knew an epoch of that number."""
    desk = Desk()
    desk.restart()
    desk.epoch = EPOCH + 1
    desk.control(desk.welcome(), Roster(MEMBERS))
    assert desk.hear(Message(EPOCH, THEM, 1, bytes(MIN_SEALED_BYTES)).to_wire()) == []
    assert desk.hear(desk.message(2)) == [MessageReceived("Sahnawaz", 7, "Hi", False, 2)]


def test_numbers_of_the_run_go_on_in_a_new_room() -> None:
    desk = acknowledged("one")
    desk.restart()
    assert desk.participant.say("typed while offline", 9) == MessageQueued(2, "typed while offline")
    desk.control(desk.welcome(), Roster(MEMBERS))
    assert desk.participant.say("three", 9) == MessageQueued(3, "three")
    assert [speech.number for _, speech in desk.speeches()] == [1, 2, 3]


def test_room_after_the_new_room_is_offered_it_all_once_more() -> None:
    desk = acknowledged("one")
    desk.participant.say("two", 9)
    for _ in range(3):
        desk.restart()
        desk.control(desk.welcome(), Roster(MEMBERS))
        assert desk.sent() == [(1, 2, "one"), (2, 2, "two")]
        desk.hear(desk.message(1, "one", sender=US, time_ms=9))


def test_numbers_of_the_run_go_on_where_those_of_the_membership_begin_anew() -> None:
    desk = acknowledged("one")
    room = desk.room
    desk.restart()
    desk.room = room
    desk.control(desk.welcome(), Roster(MEMBERS))
    assert desk.participant.say("two", 9) == MessageQueued(2, "two")
    assert desk.speeches() == [(1, MessageContent(9, ORIGIN, 2, "two"))]
    shown = desk.hear(desk.message(1, "two", sender=US, time_ms=9, number=2))
    assert shown == [own("two", 2)]


def test_new_membership_in_the_same_room_offers_nothing_again() -> None:
    desk = acknowledged("one")
    desk.participant.say("two", 9)
    desk.sent()
    room = desk.room
    desk.restart()
    desk.room = room
    shown = desk.control(desk.welcome(messages=5), Roster(MEMBERS))
    assert shown[0] == Reconnected(4, new_room=False, awaiting=False)
    assert desk.speeches() == [(1, MessageContent(9, ORIGIN, 2, "two"))]


# -- awaiting the others -----------------------------------------------------------------------

ALONE = Roster(MEMBERS[:1])


def awaiting() -> Desk:
    """The first who is back in a new room, with something to say."""
    desk = acknowledged("one")
    desk.restart()
    shown = desk.control(desk.welcome(members=1), ALONE)
    assert shown == [Reconnected(0, new_room=True, awaiting=True), Entered(("Ira",), again=True)]
    desk.participant.say("two", 9)
    assert desk.participant.in_room
    assert not desk.participant.can_send
    assert desk.sent() == []
    return desk


def test_first_one_back_in_a_new_room_waits_until_all_are_back() -> None:
    desk = awaiting()
    desk.hear(desk.event(Joined((MEMBERS[2], entry(9, "Zoë")))))
    assert desk.sent() == []
    desk.hear(desk.event(Joined((MEMBERS[1],))))
    assert desk.sent() == [(1, 4, "one"), (2, 4, "two")]
    desk.participant.say("three", 9)
    assert desk.sent() == [(3, 4, "three")]


def test_others_are_known_by_their_keys_not_by_name_or_number() -> None:
    desk = awaiting()
    impostors = (
        RosterEntry(THEM, 0, "Sahnawaz", bytes(32)),
        RosterEntry(OTHER, 0, "Thea", bytes(32)),
    )
    desk.hear(desk.event(Joined(impostors)))
    assert desk.sent() == []
    theirs = tuple(
        RosterEntry(number, 0, f"guest {number}", known.fingerprint)
        for number, known in enumerate(MEMBERS[1:], 7)
    )
    desk.hear(desk.event(Joined(theirs)))
    assert len(desk.sent()) == 2


def test_others_are_not_awaited_for_ever() -> None:
    desk = awaiting()
    assert desk.participant.deadline == desk.now + REGROUP_SECONDS
    desk.participant.tick(desk.now + REGROUP_SECONDS - 0.001)
    assert desk.sent() == []
    desk.participant.tick(desk.now + REGROUP_SECONDS)
    assert [text for _, _, text in desk.sent()] == ["one", "two"]
    # They come after all: nothing is said twice for that.
    desk.hear(desk.event(Joined(MEMBERS[1:])))
    desk.participant.tick(desk.now + 2 * REGROUP_SECONDS)
    assert desk.sent() == []


def test_who_is_about_to_leave_does_not_wait() -> None:
    desk = awaiting()
    desk.participant.stop_waiting()
    assert [text for _, _, text in desk.sent()] == ["one", "two"]
    desk.participant.stop_waiting()
    assert desk.sent() == []


@pytest.mark.parametrize(
    "stop_waiting",
    [
        lambda desk: desk.participant.stop_waiting(),
        lambda desk: desk.participant.tick(desk.now + REGROUP_SECONDS),
    ],
    ids=["asked to", "waited enough"],
)
def test_speaking_up_between_a_leave_and_the_new_key_waits_for_the_key(
    stop_waiting: Callable[[Desk], None],
) -> None:
    desk = awaiting()
    desk.hear(desk.event(Joined((entry(9, "Zoë"),))), desk.event(Left(((9, Reason.LEFT),))))
    stop_waiting(desk)
    assert desk.participant.data_to_send() == b""
    desk.control(desk.rekey())
    assert desk.sent() == [(1, 4, "one"), (2, 4, "two")]


def comes_back(desk: Desk) -> None:
    desk.control(Resumed(), Resend(1))


def starts_over(desk: Desk) -> None:
    desk.control(desk.welcome(members=1), ALONE, Resend(1))


@pytest.mark.parametrize("how", [comes_back, starts_over])
def test_cut_while_awaiting_the_others_does_not_end_the_waiting(
    how: Callable[[Desk], None],
) -> None:
    desk = awaiting()
    until = desk.now + REGROUP_SECONDS
    desk.now += 1
    desk.participant.disconnect()
    how(desk)
    assert desk.sent() == []
    assert desk.participant.deadline == until
    desk.hear(desk.event(Joined(MEMBERS[1:])))
    assert desk.sent() == [(1, 3, "one"), (2, 3, "two")]


def test_others_who_came_back_during_a_gap_are_not_awaited() -> None:
    desk = awaiting()
    desk.participant.disconnect()
    desk.control(desk.welcome(messages=4), Roster(MEMBERS), Resend(1))
    assert desk.sent() == [(1, 2, "one"), (2, 2, "two")]


def test_cut_in_the_first_roster_of_a_new_room_is_no_breach() -> None:
    desk = acknowledged("one")
    desk.restart()
    desk.control(desk.welcome(), Roster(MEMBERS[1:2]))
    desk.participant.disconnect()
    shown = desk.control(desk.welcome(members=1), ALONE, Resend(1))
    assert shown == [Reconnected(0, new_room=True, awaiting=True), Entered(("Ira",), again=True)]
    assert desk.sent() == []
    desk.hear(desk.event(Joined(MEMBERS[1:])))
    assert desk.sent() == [(1, 3, "one")]


def test_server_that_dies_again_is_awaited_by_all_who_were_known_in_either_room() -> None:
    desk = awaiting()
    desk.hear(desk.event(Joined((entry(9, "Zoë"),))))
    desk.restart()
    desk.control(desk.welcome(members=2), Roster((MEMBERS[0], entry(9, "Zoë"))))
    desk.hear(desk.event(Joined((MEMBERS[1],))))
    assert desk.sent() == []
    desk.hear(desk.event(Joined((MEMBERS[2],))))
    assert [text for _, _, text in desk.sent()] == ["one", "two"]


def test_who_never_came_back_is_not_awaited_again() -> None:
    desk = awaiting()
    desk.participant.tick(desk.now + REGROUP_SECONDS)
    desk.sent()
    room = desk.room
    desk.restart()
    desk.room = room
    shown = desk.control(desk.welcome(members=1), ALONE)
    assert shown[0] == RECONNECTED
    assert [text for _, _, text in desk.sent()] == ["one", "two"]


# -- shown once --------------------------------------------------------------------------------

RUN = b"their run"[:ORIGIN_BYTES]


def in_new_room(desk: Desk, *members: RosterEntry) -> None:
    desk.restart()
    members = members or MEMBERS
    desk.control(desk.welcome(members=len(members)), Roster(members))


def test_message_that_is_offered_again_is_shown_once() -> None:
    desk = Desk()
    desk.hear(*(desk.message(seq, f"{seq}", origin=RUN, number=seq) for seq in (1, 2)))
    in_new_room(desk)
    again = [desk.message(seq, f"{seq}", origin=RUN, number=seq) for seq in (1, 2, 3)]
    assert desk.hear(*again) == [heard("Sahnawaz", "3", 3)]
    in_new_room(desk)
    again = [desk.message(seq - 1, f"{seq}", origin=RUN, number=seq) for seq in (2, 3, 4)]
    assert desk.hear(*again) == [heard("Sahnawaz", "4", 4)]


def test_member_is_known_by_its_key_when_it_offers_again() -> None:
    desk = Desk()
    desk.hear(desk.message(1, "one", origin=RUN))
    renamed = RosterEntry(8, 0, "Sahnawaz 2", MEMBERS[1].fingerprint)
    in_new_room(desk, MEMBERS[0], renamed)
    assert desk.hear(desk.message(1, "one", sender=8, origin=RUN)) == []


def test_another_run_of_the_same_key_is_shown() -> None:
    desk = Desk()
    desk.hear(desk.message(1, "one", origin=RUN))
    assert desk.hear(desk.message(2, "anew", origin=RUN[::-1], number=1)) == [
        heard("Sahnawaz", "anew", 1)
    ]


def test_number_of_another_key_suppresses_nothing() -> None:
    """Thea knows the origin, since everybody does, and says the highest number in its name."""
    desk = Desk()
    forged = desk.message(1, "forged", sender=OTHER, origin=RUN, number=2**64 - 1)
    assert desk.hear(forged) == [heard("Thea", "forged", 2**64 - 1)]
    assert desk.hear(desk.message(1, "one", origin=RUN, number=1)) == [heard("Sahnawaz", "one", 1)]
    in_new_room(desk)
    assert desk.hear(desk.message(1, "two", origin=RUN, number=2)) == [heard("Sahnawaz", "two", 2)]


def test_number_of_a_message_that_does_not_open_suppresses_nothing() -> None:
    desk = Desk()
    forged = bytearray(desk.message(1, "forged", origin=RUN, number=9))
    forged[-1] ^= 1
    assert [type(event) for event in desk.hear(bytes(forged))] == [Warned]
    assert desk.hear(desk.message(1, "one", origin=RUN, number=1)) == [heard("Sahnawaz", "one", 1)]


def test_runs_that_are_remembered_are_bounded_and_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_module, "MAX_ORIGINS_OF_ONE", 2)
    desk = Desk()
    runs = [bytes((number,)) * ORIGIN_BYTES for number in (1, 2, 3)]
    first, second, third = runs
    for seq, (run, number) in enumerate([(first, 1), (second, 1), (first, 2), (third, 1)], 1):
        assert len(desk.hear(desk.message(seq, origin=run, number=number))) == 1
    # The second has been silent for longest.
    in_new_room(desk)
    assert desk.hear(desk.message(1, origin=first, number=2)) == []
    assert desk.hear(desk.message(2, origin=third, number=1)) == []
    assert len(desk.hear(desk.message(3, origin=second, number=1))) == 1


# -- a server that lies ------------------------------------------------------------------------


def test_welcome_that_counts_fewer_messages_than_we_have_heard_is_not_a_negative_gap() -> None:
    desk = Desk()
    desk.hear(desk.message(1), desk.message(2))
    desk.participant.disconnect()
    assert desk.control(desk.welcome(messages=1), Roster(MEMBERS)) == [RECONNECTED]


def test_resend_again_and_again_sends_what_is_left_and_never_what_is_acknowledged() -> None:
    desk = acknowledged("one")
    desk.participant.say("two", 9)
    desk.sent()
    for seq in (0, 1, 2):
        desk.participant.disconnect()
        desk.control(Resumed(), Resend(seq))
        assert desk.sent() == [(2, EPOCH, "two")]
    desk.control(Resend(NOWHERE))
    assert desk.sent() == []


def test_room_frame_before_the_answer_to_resume_is_a_breach() -> None:
    desk = Desk()
    frames = [desk.message(1), desk.event(Notice("x"))]
    desk.participant.disconnect()
    for frame in frames:
        with pytest.raises(ProtocolError, match="before the welcome"):
            desk.hear(frame)
