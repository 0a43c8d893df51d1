"""Private messages: who reads them, what they survive, and what is refused (PROTOCOL 6.12)."""

from collections.abc import Callable, Iterator

import pytest

from chat.cipher import SealingKey
from chat.client import events
from chat.client.direct import DirectMessages
from chat.client.peers import Peer, Peers
from chat.contents import Direct, DirectText, Kind, MessageContent, Repeat
from chat.errors import UsageError
from chat.frozen import replace
from chat.identities import Card
from chat.kex import KeyShare, RoomKey, direct_key
from chat.limits import (
    DIRECT_WRAP_BYTES,
    DIRECT_WRAPS,
    DIRECT_WRAPS_OF_PERSON,
    GRACE_SECONDS,
    MAX_TEXT_BYTES,
)
from chat.wire import Message, room_headers
from tests.support.hall import MemberInMemory, RoomInMemory, fingerprint
from tests.support.helpers import FixedBytes, frames_of, open_frame, roster_of

ROOM_KEY = RoomKey(bytes(32))
Three = tuple[MemberInMemory, MemberInMemory, MemberInMemory]


@pytest.fixture(params=[None, ROOM_KEY], ids=["open", "sealed"])
def hall(request: pytest.FixtureRequest) -> RoomInMemory:
    return RoomInMemory(request.param)


@pytest.fixture
def three(hall: RoomInMemory) -> Iterator[Three]:
    """Ira says something to Boris in private, and Thea hears nothing of it, whatever happens."""
    ira, boris, thea = hall.enter("Ira", "Boris", "Thea")
    yield ira, boris, thea
    assert [event for event in private(thea) if not event.own] == []
    assert thea.warnings() == []


def private(seat: MemberInMemory) -> list[events.MessageReceived]:
    """The private messages that this member was shown."""
    return [event for event in seat.shown if isinstance(event, events.MessageReceived) and event.to]


def said(text: str = "Psst", number: int = 1, *, own: bool = False) -> events.MessageReceived:
    return events.MessageReceived("Ira", 1_001_000, text, own, number, "Boris")


def assert_all_once(three: Three, *texts: str) -> None:
    """Ira and Boris have these, and each just once."""
    ira, boris, _ = three
    assert [event.text for event in private(boris)] == list(texts)
    assert [event.text for event in private(ira)] == list(texts)
    assert ira.participant.unacknowledged == 0
    assert ira.warnings() == boris.warnings() == []


# -- who reads it ------------------------------------------------------------------------------


def test_private_message_is_shown_to_whom_it_is_for_at_its_place(
    hall: RoomInMemory, three: Three
) -> None:
    ira, boris, thea = three
    ira.say("before")
    assert ira.say_to("Boris", "Psst") == events.MessageQueued(2, "Psst", "Boris")
    ira.say("after")
    hall.settle()
    for seat in (ira, boris):
        own = seat is ira
        assert [event for event in seat.shown if isinstance(event, events.MessageReceived)] == [
            events.MessageReceived("Ira", 1_001_000, "before", own, 1),
            said(number=2, own=own),
            events.MessageReceived("Ira", 1_001_000, "after", own, 3),
        ]
        assert private(seat)[0].fingerprint == fingerprint("Ira")
    assert thea.said() == [("Ira", "before"), ("Ira", "after")]
    boris.say_to("Ira", "Yes?")
    hall.settle()
    assert [(event.name, event.text, event.to) for event in private(ira)[1:]] == [
        ("Boris", "Yes?", "Ira")
    ]


def test_longest_text_and_an_empty_one_arrive(hall: RoomInMemory, three: Three) -> None:
    texts = "x" * MAX_TEXT_BYTES, ""
    for text in texts:
        three[0].say_to("Boris", text)
    hall.settle()
    assert_all_once(three, *texts)


def contents(hall: RoomInMemory, seat: MemberInMemory) -> list[MessageContent]:
    """What is in the log of this member's, as all members can open it."""
    found = []
    for frame_type, frame in frames_of(hall.log.everything):
        if frame_type == Message.TYPE:
            (header,) = room_headers(Message.TYPE, frame)
            key = seat.participant._keyring.message_key(header.epoch)
            assert key is not None
            if header.sender == seat.member.id:
                data = open_frame(key, frame, seat.member.entry().card.proof)
                found.append(MessageContent.decode(data))
    return found


def test_nobody_else_can_see_for_whom_it_is_nor_how_long(hall: RoomInMemory, three: Three) -> None:
    ira = three[0]
    for name in ("Boris", "Thea"):
        for text in ("a", "b" * 20):
            ira.say_to(name, text)
            hall.settle()
    found = contents(hall, ira)
    assert [content.kind for content in found] == 4 * [Kind.DIRECT]
    assert {len(content.body) for content in found} == {DIRECT_WRAPS * DIRECT_WRAP_BYTES + 128}
    wraps = [Direct.decode(content.body).wraps for content in found]
    assert len(set().union(*wraps)) == 4 * DIRECT_WRAPS
    assert all(list(each) == sorted(each) for each in wraps)
    three[2].shown.clear()


def test_without_a_share_nothing_is_sent_and_nothing_is_opened(hall: RoomInMemory) -> None:
    ira, thea = hall.enter("Ira", "Thea")
    thea.participant._speech._direct = thea.participant._hearing._direct = None
    ira.say_to("Thea", "Psst")
    hall.settle()
    assert (thea.said(), thea.warnings()) == ([], [])
    with pytest.raises(UsageError, match="private messages cannot be sent from here"):
        thea.say_to("Ira", "Psst")


# -- what it survives --------------------------------------------------------------------------


def lose_the_message(hall: RoomInMemory, three: Three) -> None:
    """It was sent, and did not arrive."""
    ira = three[0]
    ira.say_to("Boris", "Psst")
    ira.participant.data_to_send()
    hall.come_back(ira)


def lose_the_acknowledgement(hall: RoomInMemory, three: Three) -> None:
    ira = three[0]
    ira.say_to("Boris", "Psst")
    ira.carry()
    hall.come_back(ira)


def say_it_while_offline(hall: RoomInMemory, three: Three) -> None:
    ira = three[0]
    hall.lose(ira)
    ira.say_to("Boris", "Psst")
    hall.come_back(ira)


def receive_it_while_lost(hall: RoomInMemory, three: Three) -> None:
    """Who is lost is still there."""
    ira, boris, _ = three
    hall.lose(boris)
    ira.say_to("Boris", "Psst")
    hall.settle()
    hall.come_back(boris)


def be_refused_for_a_leave(hall: RoomInMemory, three: Three) -> None:
    """It is sealed for the room once more."""
    (zoe,) = hall.enter("Zoë")
    three[0].say_to("Boris", "Psst")
    three[0].under_way.extend(three[0].participant.data_to_send())
    hall.leave(zoe)
    hall.pass_time(1)


def cross_a_join(hall: RoomInMemory, three: Three) -> None:
    three[0].say_to("Boris", "Psst")
    three[0].under_way.extend(three[0].participant.data_to_send())
    hall.join("Zoë")
    hall.pass_time(1)


def crash_before_it_arrived(hall: RoomInMemory, three: Three) -> None:
    three[0].say_to("Boris", "Psst")
    three[0].participant.data_to_send()
    come_to_a_new_room(hall, *three)


def crash_before_boris_had_it(hall: RoomInMemory, three: Three) -> None:
    """The server has acknowledged it, and nobody else has it."""
    three[0].say_to("Boris", "Psst")
    three[0].carry()
    three[0].read()
    come_to_a_new_room(hall, *three)


def crash_before_ira_heard_of_it(hall: RoomInMemory, three: Three) -> None:
    three[0].say_to("Boris", "Psst")
    three[0].carry()
    three[1].read()
    come_to_a_new_room(hall, *three)


def crash_twice(hall: RoomInMemory, three: Three) -> None:
    crash_before_boris_had_it(hall, three)
    three[0].carry()
    three[0].read()
    come_to_a_new_room(hall, *three)


def come_to_a_new_room(hall: RoomInMemory, *seats: MemberInMemory) -> None:
    hall.crash()
    for seat in seats:
        hall.come_back(seat)
    hall.pass_time(1)
    hall.settle()


Event = Callable[[RoomInMemory, Three], None]
SURVIVED: list[Event] = [
    *(lose_the_message, lose_the_acknowledgement, say_it_while_offline, receive_it_while_lost),
    *(be_refused_for_a_leave, cross_a_join, crash_before_it_arrived, crash_before_boris_had_it),
    *(crash_before_ira_heard_of_it, crash_twice),
]


@pytest.mark.parametrize("event", SURVIVED, ids=lambda event: event.__name__)
def test_private_message_arrives_just_once(hall: RoomInMemory, three: Three, event: Event) -> None:
    event(hall, three)
    hall.settle()
    three[0].say_to("Boris", "Psst again")
    hall.settle()
    assert_all_once(three, "Psst", "Psst again")


def test_same_bytes_are_sent_again(hall: RoomInMemory, three: Three) -> None:
    ira = three[0]
    ira.say_to("Boris", "Psst")
    hall.settle()
    (first,) = contents(hall, ira)
    come_to_a_new_room(hall, *three)
    assert contents(hall, ira) == [first]


def test_first_acknowledgement_that_is_taken_back_has_no_age(
    hall: RoomInMemory, three: Three
) -> None:
    outbox = three[0].participant._outbox
    three[0].say_to("Boris", "Psst")
    hall.settle()
    assert outbox.take_back() == 1
    assert outbox._acknowledged_at == {}


def test_replay_that_is_taken_back_keeps_the_age_of_its_first_acknowledgement(
    hall: RoomInMemory, three: Three
) -> None:
    outbox = three[0].participant._outbox
    three[0].say_to("Boris", "Psst")
    hall.settle()
    (first,) = outbox._recent
    assert not first.again
    outbox.age(1_000.0)
    outbox.age(1_020.0)
    come_to_a_new_room(hall, *three)
    assert [(each.at, each.again) for each in outbox._recent] == [(first.at, True)]
    outbox.take_back()
    assert outbox._acknowledged_at == {1: first.at}


# -- who is not there any more -----------------------------------------------------------------

NOT_REACHED = "Boris was not here any more: the private message did not reach Boris"


def test_sender_is_told_when_nobody_was_there_who_could_read_it(
    hall: RoomInMemory, three: Three
) -> None:
    ira, boris, _ = three
    ira.say_to("Boris", "Psst")
    hall.leave(boris)
    hall.pass_time(1)
    hall.settle()
    assert [event for event in ira.shown if event in (said(own=True), events.Warned(NOT_REACHED))]
    assert (private(ira), ira.warnings()) == ([said(own=True)], [NOT_REACHED])


@pytest.mark.parametrize("key_name", ["Boris", "Mallory"], ids=["another run", "another key"])
def test_who_comes_back_as_somebody_else_cannot_read_what_was_meant_for_the_old_one(
    hall: RoomInMemory, three: Three, key_name: str
) -> None:
    ira, boris, _ = three
    hall.lose(ira)
    ira.say_to("Boris", "Psst")
    hall.leave(boris)
    hall.pass_time(1)
    other = hall.join("Boris", key_name)
    hall.pass_time(1)
    hall.come_back(ira)
    hall.settle()
    assert ira.warnings() == [NOT_REACHED]
    assert (private(other), other.warnings()) == ([], [])


def test_what_reached_somebody_who_then_left_is_not_called_lost(
    hall: RoomInMemory, three: Three
) -> None:
    """Not even when it is repeated in a new room."""
    ira, boris, thea = three
    ira.say_to("Boris", "Psst")
    hall.settle()
    hall.leave(boris)
    hall.pass_time(1)
    hall.settle()
    come_to_a_new_room(hall, ira, thea)
    assert contents(hall, ira)
    assert (private(ira), ira.warnings()) == ([said(own=True)], [])


def come_back_behind_a_gap(hall: RoomInMemory, member: MemberInMemory) -> None:
    """Nothing of what was said meanwhile is in the log any more."""
    hall.pass_time(1)
    hall.settle()
    hall.log.trim(hall.log.end)
    hall.come_back(member)
    hall.settle()


def test_what_was_acknowledged_by_the_roster_alone_may_not_have_reached_who_has_left(
    hall: RoomInMemory, three: Three
) -> None:
    ira, boris, _ = three
    ira.say_to("Boris", "Psst")
    ira.carry()
    hall.lose(ira)
    hall.leave(boris)
    come_back_behind_a_gap(hall, ira)
    text = "Boris is not here any more: the private message may not have reached Boris"
    assert (private(ira), ira.warnings()) == ([said(own=True)], [text])


def test_what_was_acknowledged_by_the_roster_alone_may_not_have_reached_who_has_come_anew(
    hall: RoomInMemory, three: Three
) -> None:
    """The program is the same, and its place in the room is another one."""
    ira, boris, _ = three
    hall.lose(boris)
    hall.pass_time(GRACE_SECONDS / 2)
    hall.settle()
    ira.say_to("Boris", "Psst")
    ira.carry()
    hall.lose(ira)
    hall.pass_time(GRACE_SECONDS / 2)
    hall.settle()
    hall.come_back(boris)
    come_back_behind_a_gap(hall, ira)
    text = "What you said to Boris in private may not have reached Boris"
    assert ([one.text for one in private(ira)], ira.warnings()) == (["Psst"], [text])
    assert private(boris) == []


# -- to whom nothing can be sent ---------------------------------------------------------------


def error_of(seat: MemberInMemory, person: events.Person, text: str = "Psst") -> str:
    with pytest.raises(UsageError) as error:
        seat.participant.say_direct(person, text, 0)
    assert seat.participant.unacknowledged == 0
    return str(error.value)


def test_private_message_that_cannot_be_sent_is_refused(hall: RoomInMemory, three: Three) -> None:
    ira, boris, _ = three
    us, them = ira.participant.members()[:2]
    assert error_of(ira, us) == "that is you, and a private message is for somebody else"
    assert error_of(ira, replace(them, fingerprint=bytes(32))) == "Boris is not here any more"
    assert "too long" in error_of(ira, them, "x" * (MAX_TEXT_BYTES + 1))
    assert "not UTF-8" in error_of(ira, them, "\udcff")
    hall.leave(boris)
    hall.pass_time(1)
    hall.settle()
    assert error_of(ira, them) == "Boris is not here any more"
    # None of them has used up a number.
    assert ira.participant.say("Hi", 0).number == 1


def test_nobody_is_there_before_we_are_in(hall: RoomInMemory) -> None:
    ira = hall.join("Ira")
    somebody = events.Person("Boris", 0, fingerprint("Boris"))
    assert error_of(ira, somebody) == "private messages cannot be sent from here"


def test_who_has_proved_nothing_is_sent_nothing_and_read_by_nobody() -> None:
    hall = RoomInMemory(ROOM_KEY)
    ira, boris = hall.join("Ira"), hall.join("Boris", proof=bytes(16))
    hall.enter()
    them = ira.participant.members()[1]
    why = "has not proved to have the room key, and so cannot be sent a private message"
    assert error_of(ira, them) == f"Boris {why}"
    boris.say_to("Ira", "Psst")
    hall.settle()
    assert (private(ira), ira.warnings()) == ([], [])


def test_share_of_low_order_is_no_share() -> None:
    hall = RoomInMemory()
    ira, boris = hall.join("Ira"), hall.join("Boris", share=bytes(32))
    hall.enter()
    them = ira.participant.members()[1]
    why = "shows no usable key share, and so cannot be sent a private message"
    assert error_of(ira, them) == f"Boris {why}"
    boris.say_to("Ira", "Psst")
    hall.settle()
    assert (private(ira), ira.warnings()) == ([], [])


# -- what is forged ----------------------------------------------------------------------------


def say_body(seat: MemberInMemory, make: Callable[[MessageContent], bytes]) -> None:
    """Say something whose body was made by hand."""
    seat.participant._outbox.add_direct(1_001_000, make)


def body_by_hand(
    sender: MemberInMemory,
    receiver: MemberInMemory,
    inside: bytes,
    wrapped: bytes = bytes(64),
    sealed_under: bytes = bytes(64),
) -> Callable[[MessageContent], bytes]:
    """What `sender` may make that breaks the rules, with one wrap for `receiver`."""

    def make(said: MessageContent) -> bytes:
        direct = sender.participant._speech._direct
        assert direct is not None
        share, there = direct._share, receiver.member.entry().card.share
        pair = direct_key(share, there, sender.hall.room_key, sending=True)
        prints = sender.member.fingerprint + receiver.member.fingerprint
        random_bytes = FixedBytes("by hand")
        wrap = pair.seal(said.bound() + b"\x01" + prints, wrapped, random_bytes)
        key = SealingKey.from_bytes(sealed_under)
        wraps = (wrap, *(random_bytes(DIRECT_WRAP_BYTES) for _ in range(DIRECT_WRAPS - 1)))
        sealed = key.seal(said.bound() + b"\x02", inside, random_bytes)
        return Direct(wraps, sealed).encode()

    return make


FOR_BORIS = DirectText("Boris", fingerprint("Boris"), "Psst")
CANNOT_OPEN = "Ira: a private message could not be opened, and was dropped"
BY_HAND: dict[str, tuple[dict[str, bytes], str]] = {
    "nothing wrong": ({"inside": FOR_BORIS.encode()}, ""),
    "another key for the text": (
        {"inside": FOR_BORIS.encode(), "sealed_under": b"1" * 64},
        CANNOT_OPEN,
    ),
    "a key of 63 bytes": ({"inside": FOR_BORIS.encode(), "wrapped": bytes(63)}, CANNOT_OPEN),
    "for somebody else": (
        {"inside": replace(FOR_BORIS, name="Thea").encode()},
        "Ira: a private message is for somebody else, and was dropped",
    ),
    "for somebody with another key": (
        {"inside": replace(FOR_BORIS, fingerprint=bytes(32)).encode()},
        "Ira: a private message is for somebody else, and was dropped",
    ),
    "not UTF-8": (
        {"inside": FOR_BORIS.encode() + b"\xff"},
        "Ira: a text is not UTF-8, and was dropped",
    ),
    "half a fingerprint": (
        {"inside": FOR_BORIS.encode()[:20]},
        "Ira: a frame is too short for its fields, and was dropped",
    ),
    "a text that is too long": (
        {"inside": FOR_BORIS.encode() + bytes(MAX_TEXT_BYTES)},
        "Ira: a message is too long, and was dropped",
    ),
}


@pytest.mark.parametrize("what", BY_HAND)
def test_who_breaks_the_rules_inside_is_named_to_the_reader(
    hall: RoomInMemory, three: Three, what: str
) -> None:
    ira, boris, _ = three
    parts, warning = BY_HAND[what]
    say_body(ira, body_by_hand(ira, boris, **parts))
    ira.say_to("Boris", "and then")
    hall.settle()
    assert boris.warnings() == ([warning] if warning else [])
    assert [event.text for event in private(boris)] == ([] if warning else ["Psst"]) + ["and then"]


def test_reader_is_shown_its_own_name_however_the_sender_spells_it(
    hall: RoomInMemory, three: Three
) -> None:
    ira, boris, _ = three
    inside = replace(FOR_BORIS, name="BORIS" + 1_000 * "\ufe0f").encode()
    say_body(ira, body_by_hand(ira, boris, inside=inside))
    hall.settle()
    assert [event.to for event in private(boris)] == ["Boris"]


@pytest.mark.parametrize("size", [0, DIRECT_WRAPS * DIRECT_WRAP_BYTES - 1])
def test_body_without_all_wraps_is_dropped_with_a_word_to_everybody(
    hall: RoomInMemory, size: int
) -> None:
    ira, boris, thea = hall.enter("Ira", "Boris", "Thea")
    say_body(ira, lambda _: bytes(size))
    ira.say("and then")
    hall.settle()
    for seat in (boris, thea):
        assert seat.warnings() == ["Ira: a frame is too short for its fields, and was dropped"]
        assert seat.said() == [("Ira", "and then")]


def test_nothing_sealed_behind_the_wraps_is_for_nobody(hall: RoomInMemory, three: Three) -> None:
    say_body(three[0], lambda _: bytes(DIRECT_WRAPS * DIRECT_WRAP_BYTES))
    hall.settle()
    assert (private(three[1]), three[1].warnings()) == ([], [])


def steal(hall: RoomInMemory, three: Three) -> tuple[MessageContent, Three]:
    """Ira's message for Boris, as Thea has it."""
    three[0].say_to("Boris", "Psst")
    hall.settle()
    return contents(hall, three[0])[0], three


@pytest.mark.parametrize("with_number", [False, True])
def test_who_repeats_the_bytes_of_somebody_else_says_nothing(
    hall: RoomInMemory, three: Three, with_number: bool
) -> None:
    stolen, (_, boris, thea) = steal(hall, three)
    if with_number:
        thea.participant._outbox._origin = stolen.origin
    thea.participant._outbox.add_direct(stolen.time_ms, lambda _: stolen.body)
    hall.settle()
    assert ([event.name for event in private(boris)], boris.warnings()) == (["Ira"], [])


def test_who_shows_the_share_of_somebody_else_neither_reads_nor_says_what_that_one_does(
    hall: RoomInMemory, three: Three
) -> None:
    """A share is no proof: wraps are bound to keys as well."""
    stolen, (ira, boris, _) = steal(hall, three)
    share = ira.member.entry().card.share
    digest = fingerprint("Mallory")
    proof = hall.proof("Mallory", digest, share)
    mallory = hall.join("Mallory", share=share, proof=proof)
    hall.pass_time(1)
    hall.settle()
    mallory.participant._outbox._origin = stolen.origin
    mallory.participant._outbox.add_direct(stolen.time_ms, lambda _: stolen.body)
    boris.say_to("Mallory", "for Mallory")
    hall.settle()
    assert [event.name for event in private(boris)] == ["Ira", "Boris"]
    assert [event.text for event in private(ira)] == ["Psst"]
    assert ira.warnings() == boris.warnings() == []


def test_private_message_inside_a_repeat_is_no_text(hall: RoomInMemory, three: Three) -> None:
    """What is repeated is a text for everybody."""
    ira, boris, thea = three
    stolen, _ = steal(hall, three)
    keyring, room = ira.participant._keyring, hall.room.id
    key = keyring.repeat_key(room, keyring.current)
    assert key is not None
    outbox = ira.participant._outbox
    outbox._number += 1
    said = replace(stolen, kind=Kind.REPEAT, number=outbox._number)
    sealed = key.seal(said.bound(), stolen.body, FixedBytes("repeat"))
    body = Repeat(room, keyring.current, sealed).encode()
    outbox._put(replace(said, body=body))
    hall.settle()
    warning = "Ira: a text is not UTF-8, and was dropped"
    assert (boris.warnings(), boris.said()) == ([warning], [("Ira", "Psst")])
    assert (thea.warnings(), thea.said()) == ([warning], [])
    thea.shown.clear()


# -- persons with several connections ----------------------------------------------------------


class Connection:
    """One connection of a person, its keys, and its entry as all have it."""

    def __init__(self, name: str, number: int, room_key: RoomKey | None = None) -> None:
        share = KeyShare(FixedBytes(f"{name} {number}"))
        self.direct = DirectMessages(share, room_key, FixedBytes(f"of {name} {number}"))
        card = Card(share.public)
        self.entry = Peer(name, 0, fingerprint(name), card=card, proved=True)


def roster(*connections: Connection) -> Peers:
    return roster_of(*(each.entry for each in connections))


SAID = MessageContent(Kind.DIRECT, 1, bytes(8), 1, b"")


def test_all_connections_of_both_read_it_and_no_others() -> None:
    iras, borises, theas = (
        [Connection(name, number) for number in range(DIRECT_WRAPS_OF_PERSON)]
        for name in ("Ira", "Boris", "Thea")
    )
    peers = roster(*iras, *borises, *theas)
    ira, us = iras[3].direct, iras[3].entry
    person = events.Person("Boris", 0, fingerprint("Boris"))
    meant = ira.readers(us, peers, person)
    assert meant == [each.entry for each in borises]
    said = replace(SAID, body=ira.seal(SAID, us, peers, meant, "Psst"))
    inside = DirectText("Boris", fingerprint("Boris"), "Psst")
    for each in (*iras, *borises):
        assert each.direct.open(said, each.entry, us) == inside
    for each in theas:
        assert each.direct.open(said, each.entry, us) is None
    assert [one.name for one in ira.reached(said, us, roster(iras[3], borises[7]), inside)] == [
        "Boris"
    ]
    assert ira.reached(said, us, roster(*iras, *theas), inside) == []


def test_keys_of_pairs_are_made_anew_when_they_were_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chat.client.direct.MAX_PAIR_KEYS", 2)
    ira, *others = (Connection(name, 0) for name in ("Ira", "Boris", "Thea", "Zoë"))
    peers = roster(ira, *others)
    for _ in range(2):
        for other in others:
            person = events.Person(other.entry.name, 0, other.entry.fingerprint)
            meant = ira.direct.readers(ira.entry, peers, person)
            said = replace(SAID, body=ira.direct.seal(SAID, ira.entry, peers, meant, "Psst"))
            assert other.direct.open(said, other.entry, ira.entry) is not None
            assert len(ira.direct._keys) <= 2


def test_room_key_is_part_of_the_key_of_a_pair() -> None:
    ira, boris = Connection("Ira", 0, ROOM_KEY), Connection("Boris", 0, RoomKey(b"?" * 32))
    peers = roster(ira, boris)
    said = replace(SAID, body=ira.direct.seal(SAID, ira.entry, peers, [boris.entry], "Psst"))
    assert boris.direct.open(said, boris.entry, ira.entry) is None
