"""What attackers tried on this program, each by name: what is shown, what is sent, what is kept.

Who they are: W holds the cable of one member, and has no key. F has been a member, too, and has
left. M is a member, and holds another's cable. m is a member, and holds no cable.
"""

from collections.abc import Callable

import pytest

from chat.cipher import sealed_bytes
from chat.client.events import (
    ClientEvent,
    FrameRefused,
    MemberJoined,
    MemberLeft,
    MessageNotForUs,
    NoticeReceived,
    Tampered,
)
from chat.client.membership import Membership
from chat.contents import Kind, MessageContent
from chat.controls import Control, Resume, Welcome, decode_control
from chat.errors import ClockError, OpenError, ProtocolError, Reason
from chat.identities import RosterEntry
from chat.kex import RoomSecret, SignedShare, check_offer
from chat.limits import CHECK_SECONDS, ORIGIN_BYTES
from chat.roomevents import Joined, Left, Notice, RoomEvent
from chat.wire import Event, Message, RoomHeader, room_header, room_headers
from tests.support.hall import MemberInMemory, RoomInMemory
from tests.support.helpers import WALL_CLOCK, FixedBytes, frames_of, key, open_frame

Items = list[bytes | Control]
FORGED = "forged"


def stream_to(member: MemberInMemory) -> Items:
    """What is on its way to a member: frames of the log, and what is for it alone."""
    items: Items = []
    while member.following:
        if member.splices and member.splices[0][0] == member.offset:
            items.append(decode_control(member.splices.popleft()[1]))
            continue
        end = member.splices[0][0] if member.splices else member.hall.log.end
        if member.offset == end:
            break
        items += [frame for _, frame in frames_of(member.hall.log.read(member.offset, end))]
        member.offset = end
    return items


def give(member: MemberInMemory, items: Items) -> list[ClientEvent]:
    """Pass this on to a member. It loses the connection and comes back where a client would."""
    shown: list[ClientEvent] = []
    member.participant.note_activity(member.hall.now)
    for item in items:
        if isinstance(item, bytes):
            new = member.participant.receive_frames(item[2], item)
        else:
            new = member.participant.receive_control(item, member.hall.now)
        shown += new
        if any(isinstance(event, FrameRefused) or is_certain(event) for event in new):
            member.hall.lose(member)
            member.hall.come_back(member)
            break
    member.shown += shown
    return shown


def is_certain(event: ClientEvent) -> bool:
    return isinstance(event, Tampered) and event.certain


def settle(hall: RoomInMemory, but: MemberInMemory | None = None) -> None:
    """Nobody is on any cable any more, and time goes on until all has been vouched for. The
    attacker may have gone too far with its own participant to take part in this."""
    for _ in range(4):
        hall.pass_time(CHECK_SECONDS)
        for seat in hall.seats.values():
            if seat is not but:
                seat.carry()
                give(seat, stream_to(seat))


def membership_of(member: MemberInMemory) -> Membership:
    membership = member.participant._membership
    assert membership is not None
    return membership


def header_of(frame: bytes) -> RoomHeader:
    (header,) = room_headers(frame[2], frame)
    return header


def sealed_by(secret: RoomSecret, epoch: int, sender: int, seq: int, number: int) -> bytes:
    """A message as whoever knows this secret can make it, in anybody's name."""
    content = MessageContent(Kind.SAY, 0, bytes(ORIGIN_BYTES), number, FORGED.encode()).encode()
    return sealed(Message.TYPE, secret, epoch, sender, seq, content)


def event_by(secret: RoomSecret, epoch: int, seq: int, event: RoomEvent) -> bytes:
    return sealed(Event.TYPE, secret, epoch, 0, seq, event.encode())


def sealed(
    kind: int, secret: RoomSecret, epoch: int, sender: int, seq: int, content: bytes
) -> bytes:
    sealing = secret.message_key() if kind == Message.TYPE else secret.event_key()
    header = room_header(kind, epoch, sender, seq, sealed_bytes(len(content)))
    return header + sealing.seal(header, content, FixedBytes("attack"))


@pytest.fixture
def hall() -> RoomInMemory:
    return RoomInMemory()


def three(hall: RoomInMemory) -> tuple[MemberInMemory, MemberInMemory, MemberInMemory]:
    """Ira, Thea and the victim, who have all been vouched for."""
    ira, thea, victim = hall.enter("Ira", "Thea", "Victim")
    settle(hall)
    return ira, thea, victim


def secret_of(member: MemberInMemory) -> RoomSecret:
    """The secret of the epoch in which a member is."""
    keyring = member.participant._keyring
    return keyring._known[keyring.current].secret


# -- W: nobody on the wire can do anything but cut ---------------------------------------------


def only(kind: int) -> Callable[[bytes | Control], bool]:
    return lambda item: not (isinstance(item, bytes) and item[2] == kind)


def flipped(item: bytes | Control) -> bytes | Control:
    return item if not isinstance(item, bytes) else item[:-1] + bytes((item[-1] ^ 1,))


CHANGES: dict[str, Callable[[Items], Items]] = {
    "one speaker is muted": lambda items: list(filter(only(Message.TYPE), items)),
    "two speakers' words are swapped": lambda items: [items[1], items[0], *items[2:]],
    "a message is repeated": lambda items: [items[0], *items],
    "a bit is flipped": lambda items: [flipped(items[0]), *items[1:]],
    "events are left out": lambda items: list(filter(only(Event.TYPE), items)),
    "the CHECK is left out": lambda items: [item for item in items if isinstance(item, bytes)],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_changed_on_the_way_is_noticed_and_then_shown_as_it_was_said(
    hall: RoomInMemory, change: Callable[[Items], Items]
) -> None:
    """W; C3: one could mute a speaker, or let "No!" stand before the question, without a word."""
    ira, thea, victim = three(hall)
    ira.say("Shall I delete the backup?")
    ira.carry()
    thea.say("No! Only the copy.")
    thea.carry()
    hall.room.say("half an hour to go")
    hall.pass_time(CHECK_SECONDS)
    give(victim, change(stream_to(victim)))
    settle(hall)
    words = [("Ira", "Shall I delete the backup?"), ("Thea", "No! Only the copy.")]
    said = victim.said()
    # Where it was noticed by CHECK, some was shown before that, and the rest comes behind it.
    assert (sorted(said) if any(map(is_certain, victim.shown)) else said) == words
    assert victim.participant.in_room
    assert hall.room.members.keys() == hall.seats.keys()
    assert victim.missed() == 0


def test_junk_under_the_next_number_takes_nobodys_number(hall: RoomInMemory) -> None:
    """W; B4: a member's own message was taken for a repeat, and waited for for ever."""
    ira, _, victim = three(hall)
    junk = Message(hall.room.epoch, ira.member.id, ira.member.seq + 1, bytes(128)).to_wire()
    give(victim, [junk])
    ira.say("still here")
    ira.carry()
    settle(hall)
    assert victim.said() == [("Ira", "still here")]
    assert any(map(is_certain, victim.shown)) or any(
        isinstance(event, FrameRefused) for event in victim.shown
    )


def test_resume_goes_on_at_no_half_frame(hall: RoomInMemory) -> None:
    """W; B2: who withheld one frame, passed the next and cut left a client deaf and mute."""
    ira, _, victim = three(hall)
    start = hall.log.end
    ira.say("x" * 500)
    ira.carry()
    asked = victim.participant.first_control()
    assert isinstance(asked, Resume)
    for offset in (start + 1, start + 147, hall.log.end - 1):
        request = Resume(asked.member, asked.token, offset, asked.epoch)
        resumed = hall.room.resume(request, victim.member.fingerprint, hall.now)
        assert resumed is not None
        first = next(one for one in resumed[1] if one.member is victim.member)
        assert isinstance(decode_control(first.controls[0]), Welcome)


def test_stranger_is_sent_no_log_from_before_the_own_welcome(hall: RoomInMemory) -> None:
    """m; B3: RESUME from offset 0 was answered with all that was in the window."""
    ira, *_ = three(hall)
    ira.say("before")
    settle(hall)
    (stranger,) = hall.enter("Stranger")
    asked = stranger.participant.first_control()
    assert isinstance(asked, Resume)
    request = Resume(asked.member, asked.token, 0, asked.epoch)
    resumed = hall.room.resume(request, stranger.member.fingerprint, hall.now)
    assert resumed is not None
    own = [one for one in resumed[1] if one.member is stranger.member]
    assert isinstance(decode_control(own[0].controls[0]), Welcome)
    assert min(one.at for one in own) >= stranger.member.welcomed_at


@pytest.mark.parametrize("ahead", [3_901, 90_000, 2**63])
def test_signature_that_holds_for_longer_than_an_honest_one_is_refused(ahead: int) -> None:
    """C10: one signature, made by a clock that ran wrong, impersonated for ever."""
    signed = SignedShare.make(key("server"), WALL_CLOCK + ahead - 3_600, FixedBytes("share"))
    with pytest.raises(ClockError):
        check_offer(
            signed.share.public, signed.not_after, signed.signature, signed.server_key, WALL_CLOCK
        )


# -- F: whoever has left neither reads nor speaks ----------------------------------------------


def test_who_was_put_out_speaks_in_nobodys_name(hall: RoomInMemory) -> None:
    """F; C1: a client opened messages of old epochs for ever."""
    ira, mallory, victim = three(hall)
    secret, epoch = secret_of(mallory), hall.room.epoch
    hall.leave(mallory, Reason.KICKED)
    settle(hall)
    assert MemberLeft("Thea", Reason.KICKED) in victim.shown
    shown = give(victim, [sealed_by(secret, epoch, ira.member.id, ira.member.seq + 1, 1)])
    assert [type(event) for event in shown] == [FrameRefused]
    ira.say("Mallory must not come back")
    settle(hall)
    assert victim.said() == [("Ira", "Mallory must not come back")]


def test_who_has_left_reads_nothing_of_what_a_member_says_that_has_not_heard_of_it(
    hall: RoomInMemory,
) -> None:
    """F; C6: for ten seconds a victim whose stream was held back sealed under the leaver's key, and
    the server took it."""
    ira, mallory, victim = three(hall)
    secret, epoch = secret_of(mallory), hall.room.epoch
    hall.leave(mallory, Reason.KICKED)
    hall.pass_time(1)
    give(ira, stream_to(ira))
    victim.say("the password")
    victim.carry()
    assert [frame for _, frame in frames_of(hall.log.everything)][-1][2] == Event.TYPE
    give(victim, stream_to(victim))
    settle(hall)
    assert ("Victim", "the password") in ira.said()
    *_, said = (frame for kind, frame in frames_of(hall.log.everything) if kind == Message.TYPE)
    assert header_of(said).epoch > epoch
    with pytest.raises(OpenError):
        open_frame(secret.message_key(), said)
    assert victim.participant.unacknowledged == 0


# -- M: what a member forges on another's wire is found ----------------------------------------

HUGE = 2**64 - 1


@pytest.mark.parametrize("number", [1, 2, HUGE])
def test_word_put_into_anothers_mouth_is_found_and_silences_nobody(
    hall: RoomInMemory, number: int
) -> None:
    """M; C4: one frame with the number 2^64 - 1 silenced its victim for good, without a word."""
    ira, mallory, victim = three(hall)
    forged = sealed_by(
        secret_of(mallory), hall.room.epoch, ira.member.id, ira.member.seq + 1, number
    )
    give(victim, [forged])
    assert victim.said() == [("Ira", FORGED)]
    ira.say("one")
    ira.say("two")
    settle(hall)
    assert any(isinstance(event, Tampered | FrameRefused) for event in victim.shown)
    assert sorted(victim.said()[1:]) == [("Ira", "one"), ("Ira", "two")]


@pytest.mark.parametrize("seq", [HUGE, 7])
def test_number_that_is_not_next_is_taken_from_nobody(hall: RoomInMemory, seq: int) -> None:
    """M; C4: all that a member said after it "arrived twice"."""
    ira, mallory, victim = three(hall)
    forged = sealed_by(secret_of(mallory), hall.room.epoch, ira.member.id, seq, 1)
    assert [type(event) for event in give(victim, [forged])] == [FrameRefused]
    ira.say("one")
    settle(hall)
    assert victim.said() == [("Ira", "one")]


EVENTS: list[tuple[RoomEvent, type]] = [
    (Notice("send me your password"), NoticeReceived),
    (Left(((1, Reason.LEFT),)), MemberLeft),
    (Left(()), Tampered),
    (Joined((RosterEntry(99, 0, "the Director", bytes(32)),)), Tampered),
    (Joined((RosterEntry(1, 0, "Ira", bytes(32)),)), FrameRefused),
]


@pytest.mark.parametrize(("event", "shown"), EVENTS)
def test_forged_event_is_found_and_ends_no_membership(
    hall: RoomInMemory, event: RoomEvent, shown: type
) -> None:
    """M; C5: a forged *joined* ended the victim's program at the next true event."""
    ira, mallory, victim = three(hall)
    seq = membership_of(victim).server.seq + 1
    give(victim, [event_by(secret_of(mallory), hall.room.epoch, seq, event)])
    ira.say("true")
    hall.room.say("and true")
    settle(hall)
    # What ended an epoch cannot be taken back: then the victim is told how many it has missed.
    assert ("Ira", "true") in victim.said() or victim.missed() == 1
    kinds = {type(one) for one in victim.shown}
    assert shown in kinds
    assert kinds & {Tampered, FrameRefused}
    assert sorted(one.name for one in victim.participant.members()) == ["Ira", "Thea", "Victim"]
    victim.say("I am still here")
    settle(hall)
    assert ("Victim", "I am still here") in ira.said()


def test_who_speaks_under_a_key_that_is_to_come_keeps_its_place(hall: RoomInMemory) -> None:
    """M: a forged *joined* made the victim speak so, and the server ended its membership."""
    _, mallory, victim = three(hall)
    seq = membership_of(victim).server.seq + 1
    give(victim, [event_by(secret_of(mallory), hall.room.epoch, seq, Joined(()))])
    victim.say("hello")
    with pytest.raises(ProtocolError) as refused:
        victim.carry()
    assert refused.value.reason is Reason.LOST


def test_join_that_was_hidden_on_the_way_is_told_with_the_next_welcome(hall: RoomInMemory) -> None:
    """W: whoever flipped a bit in each event made the victim ask for a new WELCOME, and nobody told
    it who had come meanwhile."""
    _, thea, victim = three(hall)
    hall.join("Evil")
    hall.leave(thea, Reason.LEFT)
    for _ in range(3):
        hall.pass_time(CHECK_SECONDS)
        give(victim, [flipped(item) for item in stream_to(victim)])
    settle(hall)
    assert MemberJoined("Evil") in victim.shown
    assert [type(event) for event in victim.shown].count(MemberLeft) == 1


def test_forged_acknowledgement_is_taken_back_and_the_message_said(hall: RoomInMemory) -> None:
    """M holds back what the victim says, guesses it, and sends the copy that acknowledges it."""
    ira, mallory, victim = three(hall)
    victim.say("yes")
    held_back = b"".join(victim.participant.data_to_send())
    guessed = victim.participant._outbox.messages[0].encode()
    place = (hall.room.epoch, victim.member.id, header_of(held_back).seq)
    give(victim, [sealed(Message.TYPE, secret_of(mallory), *place, guessed)])
    assert victim.participant.unacknowledged == 0
    victim.say("of course")
    settle(hall)
    assert any(map(is_certain, victim.shown))
    assert ira.said() == victim.said() == [("Victim", "yes"), ("Victim", "of course")]
    assert victim.participant.unacknowledged == 0


# -- m: what a member alone can do -------------------------------------------------------------


def test_newcomer_is_told_of_what_was_not_for_it(hall: RoomInMemory) -> None:
    """m; C7: for ten seconds a member could speak behind a newcomer's back."""
    ira, thea, _ = three(hall)
    ira.say("behind your back")
    ira.under_way.extend(ira.participant.data_to_send())
    newcomer = hall.join("Newcomer")
    hall.pass_time(1)
    ira.carry()
    settle(hall)
    assert thea.said()[-1] == ("Ira", "behind your back")
    assert newcomer.said() == []
    assert MessageNotForUs("Ira") in newcomer.shown


def test_junk_of_a_member_accuses_nobody_else(hall: RoomInMemory) -> None:
    """m; B6: four junk frames and a good one made everybody accuse the operator."""
    ira, thea, mallory = three(hall)
    epoch = hall.room.epoch
    for seq in range(1, 5):
        junk = Message(epoch, mallory.member.id, seq, bytes(128)).to_wire()
        hall.deliver(hall.room.submit(mallory.member, junk, hall.now))
    ira.say("what was that?")
    settle(hall, but=mallory)
    for one in (ira, thea):
        assert one.warnings() == ["Victim: a message could not be opened, and was dropped"]
        assert one.said() == [("Ira", "what was that?")]


def test_member_that_lies_about_what_it_saw_accuses_itself(hall: RoomInMemory) -> None:
    ira, thea, mallory = three(hall)
    membership_of(mallory).trail._hash.update(b"!")
    mallory.say("did you see that?")
    mallory.carry()
    settle(hall)
    for one in (ira, thea):
        (warning,) = one.warnings()
        assert warning.startswith("Victim says to have been shown another conversation than you")
