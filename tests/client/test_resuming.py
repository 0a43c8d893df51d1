"""A participant over several connections: coming back to its place, and into a new room.

With a real room in memory, and with a server that lies. Whole schedules of cuts are in the
simulation.
"""

from collections.abc import Callable

import pytest

from chat.cipher import MIN_SEALED_BYTES
from chat.client import events
from chat.contents import Kind, MessageContent, Repeat
from chat.controls import Check, Ready, Resend, Resume, Resumed, Roster
from chat.errors import ProtocolError
from chat.frozen import replace
from chat.identities import RosterEntry
from chat.kex import RoomSecret
from chat.limits import GRACE_SECONDS, PING_SECONDS, REGROUP_SECONDS, REPLAY_SECONDS
from chat.roomevents import Lost, Notice
from chat.wire import Message
from tests.support.hall import (
    CUT,
    EPOCH,
    MEMBERS,
    ORIGIN,
    OTHER,
    ROOM,
    THEM,
    TOKEN,
    US,
    Desk,
    RoomInMemory,
    entry,
    hi,
    own,
)

NOWHERE = 2**64 - 1


def back(missed: int = 0, *, new_room: bool = False, awaiting: bool = False) -> events.Reconnected:
    return events.Reconnected(missed, new_room, awaiting)


# -- with a real room --------------------------------------------------------------------------


def test_gap_between_an_old_key_and_now_accuses_nobody() -> None:
    """A message that is accepted in the time of grace, under an epoch of which we were never given
    the key, is no fault of its sender's nor of the server's."""
    hall = RoomInMemory()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    hall.lose(ira)
    hall.leave(thea)
    hall.pass_time(0.2)
    hall.settle()
    sahnawaz.say("under a key that Ira never had")
    sahnawaz.under_way += sahnawaz.participant.data_to_send()
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


def test_member_that_comes_back_after_its_grace_is_a_new_one_and_sends_what_is_left() -> None:
    hall = RoomInMemory()
    ira, sahnawaz = hall.enter("Ira", "Sahnawaz")
    ira.say("acknowledged")
    hall.settle()
    hall.pass_time(1)
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
    assert ira.member is not old
    hall.pass_time(1)
    hall.settle()
    # The second is sent again, into the log even, and shown to nobody twice.
    assert sahnawaz.said() == ira.said() == [("Ira", text) for text in ira.texts]
    assert (hall.room.messages, ira.member.seq) == (4, 2)
    assert ira.participant.unacknowledged == 0
    assert ira.warnings() + sahnawaz.warnings() == []
    assert ira.shown[2:4] == [back(1), events.Entered(("Sahnawaz", "Ira"), again=True)]


# -- what is asked for on a new link -----------------------------------------------------------


def test_first_link_begins_with_ready() -> None:
    desk = Desk(welcomed=False)
    for _ in range(2):
        assert desk.participant.first_control() == Ready()
        desk.play(CUT)


def test_place_is_counted_over_all_frames_whatever_became_of_them() -> None:
    desk = Desk()
    frames = [
        *(desk.message(1), desk.broken(2), desk.content(3, b""), desk.message(4, number=9)),
        Message(EPOCH - 1, THEM, 5, bytes(MIN_SEALED_BYTES)).to_wire(),
        desk.event(Notice("x")),
    ]
    desk.play(*frames)
    place = Resume(US, TOKEN, 4_711 + sum(map(len, frames)), EPOCH)
    # A link that comes to nothing changes nothing.
    for script in ([CUT], [CUT], [Resumed(), CUT]):
        desk.play(*script)
        assert desk.participant.first_control() == place


def test_epoch_that_is_asked_from_is_the_last_whose_key_has_arrived() -> None:
    desk = Desk()
    frames = [desk.joined(entry(4, "Zoë")), desk.left(4)]
    desk.play(*frames)
    offset = 4_711 + sum(map(len, frames))
    assert desk.participant.first_control() == Resume(US, TOKEN, offset, EPOCH + 1)
    desk.play(desk.rekey())
    assert desk.participant.first_control() == Resume(US, TOKEN, offset, EPOCH + 2)


def test_member_that_was_not_told_all_names_asks_for_a_new_welcome() -> None:
    desk = Desk(welcomed=False)
    desk.play(desk.welcome(), Roster(MEMBERS[:1]), CUT)
    assert desk.participant.first_control() == Resume(US, TOKEN, NOWHERE, EPOCH)
    assert not desk.participant.has_joined
    with pytest.raises(ProtocolError, match="a Resumed message is out of place"):
        desk.play(Resumed())
    shown = desk.play("Hi", desk.welcome(offset=5_000), Roster(MEMBERS), Resend(1))
    assert shown == [events.Entered(("Ira", "Sahnawaz", "Thea"))]
    assert desk.sent() == [(1, "Hi")]
    assert desk.participant.first_control() == Resume(US, TOKEN, 5_000, EPOCH)


# -- between RESUME and RESEND -----------------------------------------------------------------


def test_nothing_is_sent_until_the_server_asks_for_it() -> None:
    desk = Desk()
    desk.play("one", "two")
    assert len(desk.sent()) == 2
    desk.play(CUT)
    assert not desk.participant.in_room
    assert desk.play("three", Resumed()) == [back()]
    assert desk.participant.in_room
    assert not desk.participant.can_send
    # What is met on the way is acknowledged, and the rest goes out under the key of then.
    desk.play(desk.ours(1, "one"), desk.joined(entry(4, "Zoë")), "four")
    assert desk.sent() == []
    desk.play(Resend(2))
    assert desk.participant.can_send
    assert desk.sent() == [(2, "two"), (3, "three"), (4, "four")]
    desk.play("five")
    assert desk.sent() == [(5, "five")]


def test_resend_over_and_over_sends_what_is_left_and_never_what_is_acknowledged() -> None:
    desk = Desk("one")
    # When it is first lost, it was about to be sent. Whatever is asked for, none is left out.
    desk.play("two")
    for seq in (2, NOWHERE):
        desk.play(CUT, Resumed(), Resend(seq))
        assert desk.sent() == [(2, "two")]
    desk.play(Resend(NOWHERE))
    assert desk.sent() == []
    # An honest server does not ask for what has come back: somebody else has sent the copy.
    acknowledged, told = desk.play(desk.ours(2, "two"), Resend(2))
    assert acknowledged == own(2, "two")
    assert isinstance(told, events.Tampered)


def test_what_waits_for_a_new_key_waits_through_a_cut() -> None:
    desk = Desk()
    desk.play(desk.left(OTHER), "now that Thea is gone", CUT, Resumed(), desk.rekey())
    assert desk.sent() == []
    desk.play(Resend(1))
    assert desk.sent() == [(1, "now that Thea is gone")]


# -- a gap -------------------------------------------------------------------------------------


def with_own(seq: int) -> Roster:
    """The roster, saying that our last message so far was this one."""
    return Roster((entry(US, "Ira", seq), *MEMBERS[1:]))


@pytest.mark.parametrize(
    ("acknowledged", "counted", "messages", "missed", "shown"),
    [
        (1, 2, 38, 36, ["two"]),
        (0, 2, 5, 3, ["one", "two"]),
        (0, 3, 3, 0, ["one", "two", "three"]),
        # An honest server counts at least as many messages as it acknowledges.
        (1, 3, 0, 0, ["two", "three"]),
        (1, 3, 1, 0, ["two", "three"]),
    ],
)
def test_roster_behind_a_gap_acknowledges_our_own(
    acknowledged: int, counted: int, messages: int, missed: int, shown: list[str]
) -> None:
    texts = ["one", "two", "three"]
    desk = Desk(*texts[:acknowledged])
    desk.play(*texts[acknowledged:])
    desk.sent()
    desk.renew(RoomSecret(b"7" * 32))
    assert desk.play(CUT, desk.welcome(messages=messages), with_own(counted)) == [
        back(missed),
        *(own(texts.index(text) + 1, text) for text in shown),
    ]
    left = texts[max(acknowledged, counted) :]
    assert desk.participant.unacknowledged == len(left)
    assert desk.sent() == []
    desk.play(Resend(counted + 1))
    assert [text for _, text in desk.sent()] == left
    # The same roster once more: there is nothing left to be said of it.
    again = max(messages, acknowledged)
    assert desk.play(CUT, desk.welcome(messages=again), with_own(counted))[1:] == []


def test_gap_of_two_welcomes_is_told_once_and_whole() -> None:
    """The first of them was cut off behind our own entry of the roster."""
    desk = Desk()
    desk.play("one", "two")
    desk.sent()
    cut_off = Roster(with_own(2).entries[:1])
    assert desk.play(CUT, desk.welcome(messages=4), cut_off, CUT) == []
    assert desk.participant.unacknowledged == 2
    assert desk.participant.first_control() == Resume(US, TOKEN, NOWHERE, EPOCH)
    told = desk.play(desk.welcome(messages=9), with_own(2))
    assert told == [back(7), own(1, "one"), own(2, "two")]
    assert desk.play(CUT, desk.welcome(messages=9), with_own(2)) == [back()]


@pytest.mark.parametrize("counted", [0, 1])
def test_roster_says_which_of_our_own_was_true_that_we_had_before_a_gap(counted: int) -> None:
    """The gap is no smaller for it."""
    desk = Desk()
    desk.play("one")
    desk.sent()
    desk.play(desk.ours(1, "one"))
    told = desk.play(CUT, desk.welcome(messages=3), with_own(counted))
    assert told == [events.Tampered(0.0, certain=False, again=False), back(2)]
    desk.play(Resend(counted + 1))
    assert desk.sent() == [(1, "one")][counted:]


def test_own_that_we_had_before_a_gap_makes_it_no_smaller_after_two_welcomes() -> None:
    """The first of them was cut off."""
    desk = Desk()
    desk.play("one", "two")
    desk.sent()
    desk.play(desk.ours(1, "one"))
    cut_off = Roster(with_own(2).entries[:1])
    told = desk.play(
        CUT, desk.welcome(messages=4), cut_off, CUT, desk.welcome(messages=4), with_own(2)
    )
    assert told == [events.Tampered(0.0, certain=False, again=False), back(2), own(2, "two")]


def test_own_message_in_a_gap_of_a_new_room_that_was_shown_in_the_old_is_not_shown_again() -> None:
    desk = Desk("one")
    desk.play("two")
    desk.sent()
    desk.new_room()
    assert desk.sent() == [(1, "one"), (2, "two")]
    told = desk.play(CUT, desk.welcome(messages=5), with_own(2))
    assert told == [back(3), own(2, "two")]
    assert desk.participant.unacknowledged == 0


def test_own_message_shown_behind_a_gap_is_offered_to_a_new_room_and_not_shown_again() -> None:
    desk = Desk()
    desk.play("one")
    desk.sent()
    assert own(1, "one") in desk.play(CUT, desk.welcome(messages=1), with_own(1), Resend(2))
    desk.new_room()
    assert desk.echo() == []
    assert desk.participant.unacknowledged == 0


def test_numbers_in_a_gap_are_counted() -> None:
    desk = Desk()
    desk.play(desk.message(1), desk.check(), CUT)
    desk.event(Notice("in the gap"))
    them = entry(THEM, "Sahnawaz", seq=9)
    desk.play(desk.welcome(messages=9), Roster((MEMBERS[0], them, MEMBERS[2])))
    behind = [desk.event(Notice("behind it")), desk.message(10)]
    assert desk.play(*behind) == [events.NoticeReceived("behind it"), hi(10)]


def test_key_that_was_lacking_is_in_the_welcome_behind_a_gap() -> None:
    desk = Desk()
    desk.play(desk.left(OTHER), CUT, desk.welcome(members=2), Roster(MEMBERS[:2]))
    assert desk.play(desk.message(1)) == [hi(1)]


@pytest.mark.parametrize(
    ("sent", "room", "counted"),
    [
        (True, None, 3),
        (True, None, NOWHERE),
        # Typed while offline, and never sent.
        (False, None, 1),
        # In a membership that only begins we have said nothing yet, however much there is to say.
        (True, ROOM, 1),
        (True, b"", 1),
    ],
)
def test_roster_that_acknowledges_what_we_never_sent_is_a_breach(
    sent: bool, room: bytes | None, counted: int
) -> None:
    desk = Desk()
    desk.play(*(["one", "two"] if sent else []))
    desk.sent()
    desk.play(CUT, *([] if sent else ["one", "two"]))
    if room is not None:
        desk.restart(room)
    with pytest.raises(ProtocolError, match="messages that we did not send"):
        desk.play(desk.welcome(), with_own(counted))
    assert desk.participant.unacknowledged == 2


# -- a new room --------------------------------------------------------------------------------


def test_new_room_is_offered_again_what_it_may_lack() -> None:
    desk = Desk("one", "two")
    desk.play("three")
    desk.sent()
    desk.restart()
    desk.play(CUT, "four")
    assert desk.play(desk.welcome(), Roster(MEMBERS)) == [
        back(new_room=True),
        events.Entered(("Ira", "Sahnawaz", "Thea"), again=True),
    ]
    # What we had shown of our own is not shown again, yet acknowledged.
    desk.play(Resend(1))
    assert desk.participant.unacknowledged == 4
    contents = desk.contents()
    assert [(content.number, content.kind) for _, content in contents] == [
        *((1, Kind.REPEAT), (2, Kind.REPEAT), (3, Kind.SAY), (4, Kind.SAY))
    ]
    assert [(seq, desk.text(content)) for seq, content in contents] == list(
        enumerate(("one", "two", "three", "four"), 1)
    )
    desk.play(Resend(1))
    assert desk.echo() == [own(3, "three"), own(4, "four")]
    assert desk.participant.unacknowledged == 0
    assert desk.participant.say("five", 9) == events.MessageQueued(5, "five")


@pytest.mark.parametrize("connected", [True, False])
def test_outage_makes_nothing_too_old_for_a_new_room(connected: bool) -> None:
    """What is long known would be shown to those that join the new room without having been in the
    old one."""
    desk = Desk("one")
    desk.play(*([] if connected else [CUT]))
    for seconds in (PING_SECONDS, PING_SECONDS, 1, REPLAY_SECONDS):
        desk.now += seconds
        desk.participant.note_activity(desk.now)
    desk.new_room()
    assert desk.sent() == ([] if connected else [(1, "one")])


def test_keys_of_the_old_room_are_of_no_use_in_the_new_one() -> None:
    """What was sealed before we came is passed over, though we knew an epoch of that number."""
    desk = Desk()
    desk.restart()
    desk.epoch = EPOCH + 1
    desk.play(CUT, desk.welcome(), Roster(MEMBERS))
    before_us = Message(EPOCH, THEM, 1, bytes(MIN_SEALED_BYTES)).to_wire()
    told = desk.play(before_us, desk.message(2))
    assert told == [events.MessageNotForUs("Sahnawaz"), hi(2)]


def test_new_membership_in_the_same_room_offers_nothing_again() -> None:
    """The numbers of the run go on where those of the membership begin anew."""
    desk = Desk("one")
    desk.play("two")
    desk.sent()
    desk.restart(ROOM)
    shown = desk.play(CUT, desk.welcome(messages=5, offset=desk.offset), Roster(MEMBERS))
    assert shown[0] == back(4)
    assert desk.contents() == [(1, MessageContent(Kind.SAY, 9, ORIGIN, 2, b"two"))]
    assert desk.play(desk.ours(1, "two", number=2)) == [own(2, "two")]


# -- a room that was put back to an earlier time -----------------------------------------------


def test_what_was_acknowledged_and_is_gone_is_said_again_to_those_who_lack_it() -> None:
    hall = RoomInMemory()
    ira, sahnawaz, thea = hall.enter("Ira", "Sahnawaz", "Thea")
    ira.say("in the log")
    hall.settle()
    kept = hall.kept()
    # A newcomer, of whom nobody will have heard, nor of what is said now; and Thea is cut off.
    (zoe,) = hall.enter("Zoë")
    thea.lose()
    ira.say("gone")
    zoe.say("gone, too")
    hall.settle()
    hall.pass_time(1)
    hall.settle()
    assert ira.participant.unacknowledged == zoe.participant.unacknowledged == 0
    hall.put_back(kept)
    ira.say("said meanwhile")
    for seat in (sahnawaz, ira, zoe):
        hall.come_back(seat)
    hall.settle()
    assert ira.shown[-1] == events.LogGone()
    assert ira.participant.first_control() == Ready()
    # All who keep their place are connected, as far as the room knows.
    hall.come_back(ira)
    hall.pass_time(1)
    hall.settle()
    assert back(new_room=True, awaiting=True) in ira.shown
    assert back(new_room=True, awaiting=True) in zoe.shown
    hall.come_back(thea)
    hall.pass_time(REGROUP_SECONDS)
    for seat in hall.everybody:
        seat.participant.tick(hall.now)
    hall.settle()
    hall.settle()
    said = [("Ira", "in the log"), ("Ira", "gone"), ("Zoë", "gone, too"), ("Ira", "said meanwhile")]
    for seat in (ira, sahnawaz, thea):
        assert sorted(seat.said()) == sorted(said)
        assert [one for one in seat.said() if one[0] == "Ira"] == [said[0], said[1], said[3]]
    assert zoe.said() == said[1:]
    assert [seat.participant.unacknowledged for seat in hall.everybody] == [0] * 4
    assert [warning for seat in hall.everybody for warning in seat.warnings()] == []
    assert sum(seat.missed() for seat in hall.everybody) == 0


def test_who_has_read_another_log_is_told_so_before_anything_is_told_of_this_one() -> None:
    """The room was put back, and has grown again past where a member was. There another member has
    the number of the newcomer whom that one knew, and the keys are the same."""
    hall = RoomInMemory()
    (ira,) = hall.enter("Ira")
    kept = hall.kept()
    (thea,) = hall.enter("Thea")
    hall.put_back(kept)
    (zoe,) = hall.enter("Zoë")
    assert zoe.member.id == thea.member.id
    zoe.say("is this Thea?")
    hall.settle()
    hall.come_back(ira)
    ira.read(2)
    assert ira.shown[-2:] == [back(), events.LogGone()]
    ira.lose()
    hall.come_back(ira)
    hall.pass_time(1)
    hall.settle()
    zoe.say("this is Zoë")
    hall.settle()
    assert ira.said() == [("Zoë", "this is Zoë")]
    assert ira.warnings() == []


def test_what_is_gone_with_a_place_does_not_come_behind_what_was_said_since() -> None:
    """The room was put back to before somebody came, and has grown again past where that one was.
    To the one it is the same room, in which its place was given up."""
    hall = RoomInMemory()
    (sahnawaz,) = hall.enter("Sahnawaz")
    kept = hall.kept()
    (ira,) = hall.enter("Ira")
    sahnawaz.lose()
    ira.say("gone")
    hall.settle()
    assert ira.participant.unacknowledged == 0
    hall.put_back(kept)
    hall.come_back(sahnawaz)
    hall.settle()
    while hall.log.end < ira.offset:
        sahnawaz.say("meanwhile")
        hall.settle()
    hall.come_back(ira)
    hall.pass_time(1)
    hall.settle()
    ira.say("said since")
    hall.settle()
    assert not any(one.new_room for one in ira.shown if isinstance(one, events.Reconnected))
    assert [text for name, text in sahnawaz.said() if name == "Ira"] == ["gone", "said since"]
    assert sahnawaz.warnings() == ira.warnings() == []


def in_the_roster(desk: Desk) -> list[events.ClientEvent]:
    return desk.play(CUT, desk.welcome(offset=4_711), with_own(1))


DENIALS: dict[str, Callable[[Desk], list[events.ClientEvent]]] = {
    "in the roster": in_the_roster,
    "behind what we missed": lambda desk: desk.play(CUT, Resumed(), Resend(2))[1:],
    "at any time": lambda desk: desk.play(Resend(2)),
    "in a CHECK": lambda desk: desk.play(CUT, Resumed(), Check(desk.offset, bytes(32)))[1:],
}


@pytest.mark.parametrize("how", DENIALS)
def test_place_is_void_if_the_server_has_less_of_ours_than_it_vouched_for(how: str) -> None:
    desk = Desk("one", "two")
    desk.play("three")
    assert DENIALS[how](desk) == [events.LogGone()]
    assert desk.participant.first_control() == Ready()
    with pytest.raises(ProtocolError, match="a Resumed message is out of place"):
        desk.play(CUT, Resumed())
    desk.restart(ROOM)
    told = desk.play(desk.welcome(US + 10, 4), Roster((entry(US + 10, "Ira"), *MEMBERS)))
    names = ("Ira", "Sahnawaz", "Thea")
    assert told == [back(new_room=True, awaiting=True), events.Entered(names, again=True)]
    # By the roster all are here. But it is of a time when they were.
    assert desk.participant.data_to_send() == []
    desk.participant.tick(desk.now + REGROUP_SECONDS)
    desk.participant.data_to_send()
    assert [(one.number, one.kind) for one in desk.participant._outbox.messages] == [
        *((1, Kind.REPEAT), (2, Kind.REPEAT), (3, Kind.SAY))
    ]


@pytest.mark.parametrize("how", DENIALS)
def test_what_nobody_vouched_for_is_no_proof_that_the_log_is_gone(how: str) -> None:
    """Somebody on the way who knows the keys may have acknowledged it."""
    desk = Desk("one")
    desk.play("two")
    desk.sent()
    desk.play(desk.ours(2, "two"))
    assert events.LogGone() not in DENIALS[how](desk)
    assert isinstance(desk.participant.first_control(), Resume)
    assert desk.participant.unacknowledged == 1


@pytest.mark.parametrize("further", [0, -1])
def test_new_member_where_we_have_read_further_is_in_a_room_that_was_put_back(further: int) -> None:
    desk = Desk("one")
    desk.restart(ROOM)
    offset = desk.offset + further
    told = desk.play(CUT, desk.welcome(offset=offset, messages=3), Roster(MEMBERS))
    assert told[0] == back(2, new_room=further < 0, awaiting=further < 0)
    desk.participant.tick(desk.now + REGROUP_SECONDS)
    assert desk.sent() == ([(1, "one")] if further < 0 else [])


def test_what_is_said_while_we_join_anew_is_counted_as_missed() -> None:
    desk = Desk("one", "two")
    desk.play(CUT, desk.welcome(offset=4_711, messages=1), with_own(1))
    desk.restart(ROOM)
    told = desk.play(CUT, desk.welcome(messages=4), Roster(MEMBERS))
    assert told[0] == back(3, new_room=True, awaiting=True)


@pytest.mark.parametrize("entered", [False, True])
def test_cut_in_a_room_that_was_put_back_does_not_end_the_waiting(entered: bool) -> None:
    """The next roster, too, may name as connected whoever was so at the earlier place."""
    desk = Desk("one", "two")
    desk.play(Resend(2))
    desk.restart(ROOM)
    anew = desk.welcome(US + 10, 4)
    entries = (entry(US + 10, "Ira"), *MEMBERS)
    desk.play(CUT, anew, Roster(entries if entered else entries[:1]))
    desk.play(CUT, anew, Roster(entries), *[Resend(1)] * entered)
    assert desk.participant.data_to_send() == []
    desk.participant.tick(desk.now + REGROUP_SECONDS)
    assert desk.participant.data_to_send() != []


def test_newcomer_that_a_room_that_was_put_back_has_never_heard_of_is_awaited() -> None:
    desk = Desk("one")
    zoe = entry(9, "Zoë")
    desk.play(desk.joined(zoe), desk.check())
    assert desk.play(CUT, desk.welcome(offset=4_711), with_own(0)) == [events.LogGone()]
    desk.restart(ROOM)
    desk.play(CUT, desk.welcome(US + 10, 4), Roster((entry(US + 10, "Ira"), *MEMBERS)))
    desk.play(desk.joined(entry(US + 11, "Sahnawaz"), entry(US + 12, "Thea")))
    assert desk.participant.data_to_send() == []
    desk.play(desk.joined(zoe))
    assert desk.participant.data_to_send() != []


# -- awaiting the others -----------------------------------------------------------------------

ALONE = MEMBERS[0]


def awaiting() -> Desk:
    """The first who is back in a new room, with something to say."""
    desk = Desk("one")
    shown = desk.new_room(ALONE)
    assert shown == [back(new_room=True, awaiting=True), events.Entered(("Ira",), again=True)]
    desk.play("two")
    assert desk.participant.in_room
    assert not desk.participant.can_send
    assert desk.sent() == []
    return desk


def test_first_one_back_in_a_new_room_waits_until_all_are_back_by_their_keys() -> None:
    desk = awaiting()
    impostors = [RosterEntry(number, 0, f"{number}", bytes(32)) for number in (7, 8)]
    desk.play(desk.joined(MEMBERS[2], *impostors))
    assert desk.sent() == []
    desk.play(desk.joined(RosterEntry(9, 0, "Sahnawaz 2", MEMBERS[1].fingerprint)))
    assert desk.sent() == [(1, "one"), (2, "two")]
    desk.play("three")
    assert desk.sent() == [(3, "three")]


def wait(desk: Desk) -> None:
    assert desk.participant.deadline == desk.now + REGROUP_SECONDS
    desk.participant.tick(desk.now + REGROUP_SECONDS - 0.001)
    assert desk.sent() == []
    desk.participant.tick(desk.now + REGROUP_SECONDS)


def do_not_wait(desk: Desk) -> None:
    desk.participant.stop_waiting()


@pytest.mark.parametrize("stop", [wait, do_not_wait])
def test_others_are_not_awaited_for_ever(stop: Callable[[Desk], None]) -> None:
    desk = awaiting()
    stop(desk)
    assert desk.sent() == [(1, "one"), (2, "two")]
    # They come after all, and the server dies again: nobody is awaited any more.
    desk.play(desk.joined(MEMBERS[1]), desk.check())
    desk.participant.stop_waiting()
    desk.participant.tick(desk.now + 2 * REGROUP_SECONDS)
    assert desk.sent() == []
    assert desk.new_room(ALONE, MEMBERS[1])[0] == back(new_room=True)
    assert desk.sent() == [(1, "one"), (2, "two")]


@pytest.mark.parametrize("stop", [wait, do_not_wait])
def test_speaking_up_between_a_leave_and_the_new_key_waits_for_the_key(
    stop: Callable[[Desk], None],
) -> None:
    desk = awaiting()
    desk.play(desk.joined(entry(9, "Zoë")), desk.left(9))
    stop(desk)
    assert desk.participant.data_to_send() == []
    desk.play(desk.rekey())
    assert desk.sent() == [(1, "one"), (2, "two")]


@pytest.mark.parametrize("resumed", [True, False])
def test_cut_while_awaiting_the_others_does_not_end_the_waiting(resumed: bool) -> None:
    desk = awaiting()
    until = desk.now + REGROUP_SECONDS
    desk.now += 1
    again = [Resumed()] if resumed else [desk.welcome(members=1), Roster((ALONE,))]
    desk.play(CUT, *again, Resend(1))
    assert desk.sent() == []
    assert desk.participant.deadline == until
    desk.play(desk.joined(*MEMBERS[1:]))
    assert desk.sent() == [(1, "one"), (2, "two")]


def test_others_that_came_back_during_a_gap_are_not_awaited() -> None:
    desk = awaiting()
    desk.play(CUT, desk.welcome(messages=4), Roster(MEMBERS), Resend(1))
    assert desk.sent() == [(1, "one"), (2, "two")]


def test_callers_are_not_awaited_and_awaited_are_as_many_connections_as_stood() -> None:
    """The ghost of somebody who is there is not awaited either."""
    calling = entry(6, "cron", caller=True)
    desk = Desk("one")
    desk.play(desk.joined(calling, entry(4, "Thea"), entry(5, "Sahnawaz")), desk.event(Lost(5)))
    desk.new_room(ALONE)
    desk.play(desk.joined(*MEMBERS[1:], entry(5, "Thea", caller=True)))
    assert desk.sent() == []
    desk.play(desk.joined(entry(4, "Thea")))
    assert desk.sent() == [(1, "one")]


def test_cut_in_the_first_roster_of_a_new_room_is_no_breach() -> None:
    desk = Desk("one")
    desk.restart()
    desk.play(CUT, desk.welcome(), Roster(MEMBERS[1:2]), CUT)
    shown = desk.play(desk.welcome(members=1), Roster((ALONE,)), Resend(1))
    assert shown == [back(new_room=True, awaiting=True), events.Entered(("Ira",), again=True)]
    assert desk.sent() == []
    desk.play(desk.joined(*MEMBERS[1:]))
    assert desk.sent() == [(1, "one")]


# -- shown once --------------------------------------------------------------------------------


def test_message_that_is_offered_again_is_shown_once_of_each_key() -> None:
    desk = Desk()
    run = b"the run."
    # Thea knows the origin, since everybody does, and says the highest number in its name.
    shown = desk.play(desk.message(1, "forged", OTHER, origin=run, number=2**64 - 1))
    for number in (1, 2):
        said = [desk.message(seq, "again", origin=run, number=number + seq - 1) for seq in (1, 2)]
        shown += desk.play(*said, desk.check())
        desk.new_room(ALONE, RosterEntry(THEM, 0, "another name", MEMBERS[1].fingerprint))
    assert [event.number for event in shown if isinstance(event, events.MessageReceived)] == [
        *(2**64 - 1, 1, 2, 3)
    ]


# -- repeated ----------------------------------------------------------------------------------


def as_of_them(desk: Desk, seq: int, content: MessageContent) -> bytes:
    """A message with this content of another member."""
    return desk.content(seq, content.encode())


def repeated(desk: Desk, text: str = "Hi") -> MessageContent:
    """What another member said in the room of now under the epoch of now, for a later room."""
    said = MessageContent(Kind.SAY, 7, bytes((THEM,)) * 8, 1, text.encode())
    sealed = desk.secret.repeat_key().seal(said.bound(), said.body, desk.random_bytes)
    body = Repeat(desk.room, desk.epoch, sealed).encode()
    return replace(said, kind=Kind.REPEAT, body=body)


@pytest.mark.parametrize("rooms", [1, 2])
def test_repeated_message_is_shown_once_to_those_who_were_there(rooms: int) -> None:
    """Also over two crashes; what the second repeats is what the first did."""
    desk = Desk()
    content = repeated(desk)
    for _ in range(rooms):
        desk.new_room()
    assert desk.play(as_of_them(desk, 1, content), desk.check()) == [hi(1)]
    desk.new_room()
    assert desk.play(as_of_them(desk, 1, content)) == []
    # Who said it and goes on saying new things takes the next number.
    assert desk.play(desk.message(2)) == [hi(2)]


def test_own_repeat_whose_key_is_gone_ends_nothing() -> None:
    """The servers have put the room back, and another epoch has the number now."""
    desk = Desk("one")
    desk.new_room()
    assert desk.sent() == [(1, "one")]
    desk.restart(ROOM)
    desk.epoch = EPOCH
    desk.play(CUT, desk.welcome(), Roster(MEMBERS))
    assert desk.participant.data_to_send()
    assert desk.play(CUT, desk.welcome(messages=1), with_own(1)) == [back()]
    assert desk.participant.unacknowledged == 0


def test_message_that_was_shown_is_not_shown_when_it_is_repeated() -> None:
    desk = Desk()
    content = repeated(desk)
    assert desk.play(desk.message(1), desk.check()) == [hi(1)]
    desk.new_room()
    assert desk.play(as_of_them(desk, 1, content), desk.message(2)) == [hi(2)]


def test_repeated_message_is_passed_over_by_those_who_were_not_there() -> None:
    earlier, elsewhere = Desk(), Desk()
    earlier.epoch, elsewhere.room = EPOCH - 1, b"room 000"
    for source in (earlier, elsewhere):
        desk = Desk()
        desk.new_room()
        assert desk.play(as_of_them(desk, 1, repeated(source)), desk.message(2)) == [hi(2)]


@pytest.mark.parametrize("leaves", [0, 1])
def test_repeat_can_be_read_though_the_epoch_was_renewed(leaves: int) -> None:
    desk = Desk()
    content = repeated(desk)
    for _ in range(leaves):
        desk.play(desk.left(), desk.rekey(), desk.check())
    desk.new_room()
    assert desk.play(as_of_them(desk, 1, content)) == [hi(1)]


FORGED: dict[str, Callable[[MessageContent], MessageContent]] = {
    "another time": lambda said: replace(said, time_ms=8),
    "another run": lambda said: replace(said, origin=bytes(8)),
    "another number": lambda said: replace(said, number=2),
    "another epoch": lambda said: replace(
        said, body=said.body[:8] + (EPOCH + 1).to_bytes(4, "big") + said.body[12:]
    ),
    "another text": lambda said: replace(said, body=said.body[:-1] + b"?"),
    "no text": lambda said: replace(said, body=said.body[:12]),
}


@pytest.mark.parametrize("what", FORGED)
def test_repeat_that_is_not_as_it_was_said_is_dropped(what: str) -> None:
    desk = Desk()
    content = FORGED[what](repeated(desk))
    desk.play(desk.joined(), desk.check())
    desk.new_room()
    warned = events.Warned("Sahnawaz: a repeated message could not be opened, and was dropped")
    assert desk.play(as_of_them(desk, 1, content)) == [warned]
