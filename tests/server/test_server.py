"""The server on the loopback: sockets, slow members, the operator, the end.

What a session makes of frames is in `test_session.py`, and what the room makes of messages in
`test_room.py`. Here is what only the whole shows, and each of those once from end to end.
"""

import contextlib
import errno
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import Mock

import pytest

from chat import limits
from chat.client.events import (
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    NoticeReceived,
    Reconnected,
    RoomClosed,
    Tampered,
)
from chat.controls import Bye, Check, Control, Ping, Resend, Submit
from chat.errors import REASONS, IdentityError, Reason
from chat.frozen import replace
from chat.kex import RoomKey
from chat.server import words
from chat.server.access import Access
from chat.server.admission import Admission
from chat.server.budgets import Account
from chat.server.connection import Connection
from chat.server.doorman import Doorman
from chat.server.lists import InMemory
from chat.server.oplog import Event
from chat.session import Ended, Established, State
from chat.wire import Hello, Pubkey, Refused, block, decode_frame
from tests.support.helpers import frames_of, key
from tests.support.loopback import (
    Company,
    Hall,
    Peer,
    Wire,
    connection_of,
    flood,
    leave,
    listen,
    lose,
)


def refusal_of(wire: Wire) -> object:
    """The last frame that arrived."""
    return decode_frame(frames_of(bytes(wire.received))[-1][1])


def ended(reason: Reason, text: str = "") -> Ended:
    """The server said goodbye."""
    return Ended(reason, text or REASONS[reason], by_peer=True)


# -- good company


def test_newcomer_is_shown_at_the_console_and_told_to_the_others(hall: Hall) -> None:
    ira = hall.join("Ira")
    assert hall.screen.lines() == [
        "[+] New connection. Username: Ira",
        "[+] Client public key had been received",
        "[+] Secret key had been sent to the client",
    ]
    hall.screen.clear()
    hall.join("sahnawaz", "sahnawaz")
    hall.until(lambda: ira.news)
    assert hall.screen.lines() == [
        "[+] New connection. Username: sahnawaz",
        "[+] Broadcast message:  New person joined the room. Username: sahnawaz",
        "[+] Client public key had been received",
        "[+] Secret key had been sent to the client",
    ]
    assert ira.news == [MemberJoined("sahnawaz")]


def test_message_reaches_everybody_in_the_same_order_and_its_sender_too(hall: Hall) -> None:
    """They come at once. The console shows that something was said, and not what."""
    peers = [hall.knock(f"member {number}") for number in range(4)]
    hall.until(lambda: all(peer.participant.has_joined for peer in peers))
    for number, peer in enumerate(peers):
        peer.say(f"one of {number}", f"two of {number}")
    hall.until(lambda: all(len(peer.heard) == 8 for peer in peers))
    assert len({tuple(peer.heard) for peer in peers}) == 1
    assert hall.home.room.messages == 8
    assert [peer.participant.unacknowledged for peer in peers] == [0] * 4
    shown = "\n".join(hall.screen.lines())
    assert shown.count("Message exchanged") == 8
    assert "one of" not in shown


@pytest.mark.parametrize("reason", [Reason.LEFT, Reason.CLOSING, Reason.LOST])
def test_goodbye_for_any_reason_is_a_leave(hall: Hall, company: Company, reason: Reason) -> None:
    """It is for the server to say why somebody was put out. Nobody keeps a place by a goodbye."""
    guest = hall.join("guest", "other")
    hall.screen.clear()
    guest.send_control(Bye(reason, "put out Ira").encode())
    hall.until(lambda: guest.eof)
    assert hall.screen.lines() == ["[+] guest left the server."]
    company.noticed(MemberJoined("guest"), MemberLeft("guest", Reason.LEFT))


def break_in_a_frame(wire: Wire) -> None:
    assert isinstance(wire, Peer)
    wire.send(wire.frame()[:-1])
    wire.close()


@pytest.mark.parametrize(
    ("way", "why"),
    [
        (Wire.reset, ""),
        (Wire.shut_down, ""),
        (break_in_a_frame, ": the connection broke in the middle of a frame"),
    ],
)
def test_member_that_goes_without_a_word_has_lost_the_connection(
    hall: Hall, company: Company, way: Callable[[Wire], None], why: str
) -> None:
    way(hall.join("guest", "other"))
    hall.until(lambda: hall.shown(f"[!] guest lost the connection{why}."))
    company.noticed(MemberJoined("guest"), MemberLost("guest"))
    assert len(hall.home.members()) == 3


# -- losing the connection, and coming back


def test_lost_member_that_comes_back_has_missed_nothing(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    guest.say("before")
    hall.until(lambda: guest.heard)
    lose(hall, guest)
    company.ira.say("meanwhile")
    leave(hall, hall.join("another", "server"))
    company.sahnawaz.say("under a new key")
    hall.until(lambda: not company.sahnawaz.participant.unacknowledged)
    guest.participant.say("said offline", 0)
    back = hall.come_back(guest)
    hall.until(lambda: len(back.heard) == 4)
    assert hall.shown("[+] guest is back.")
    said = ["guest: before", "Ira: meanwhile", "sahnawaz: under a new key", "guest: said offline"]
    assert back.heard == said
    missed = [MemberJoined("another"), MemberLeft("another", Reason.LEFT)]
    assert back.news == [Reconnected(0, new_room=False, awaiting=False), *missed]
    hall.until(lambda: company.ira.heard == company.sahnawaz.heard == said)
    company.noticed(MemberJoined("guest"), MemberLost("guest"), *missed, MemberBack("guest"))


def test_lost_member_leaves_when_the_grace_is_over(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    lose(hall, guest)
    hall.wait(limits.GRACE_SECONDS - 1)
    company.noticed(MemberJoined("guest"), MemberLost("guest"))
    hall.wait(1)
    line = "[!] guest left the server: the connection was lost."
    hall.until(lambda: hall.shown(line))
    company.noticed(MemberLeft("guest", Reason.LOST))
    assert hall.screen.lines().count(line) == 1
    assert hall.come_back(guest).welcome.member != guest.welcome.member
    company.noticed(MemberJoined("guest"))


def test_server_wakes_up_when_the_room_has_something_to_do(hall: Hall, company: Company) -> None:
    lose(hall, hall.join("guest", "other"))
    company.talk()
    waited_for = [timer.deadline for timer in hall.reactor._timers if timer.callback]
    assert hall.home.room.deadline in waited_for


def test_lost_member_can_be_put_out(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    lose(hall, guest)
    hall.type("KICK guest")
    company.noticed(MemberJoined("guest"), MemberLost("guest"), MemberLeft("guest", Reason.KICKED))
    assert hall.shown("[!] guest left the server: put out by the server's operator.")


def test_member_whose_old_connection_seems_alive_replaces_it(hall: Hall, company: Company) -> None:
    """Nobody else need know, neither now nor when the old connection is closed."""
    guest = hall.join("guest", "other")
    back = hall.come_back(guest)
    assert hall.farewell_to(guest) == ended(Reason.REPLACED)
    back.say("here I am")
    hall.until(lambda: company.ira.heard == ["guest: here I am"])
    guest.close()
    hall.turns(5)
    assert not any("refused" in line for line in hall.screen.lines())
    company.noticed(MemberJoined("guest"))


def test_program_that_was_killed_and_starts_again_is_in_at_once(
    hall: Hall, company: Company
) -> None:
    """It knows no token, but has its key. Its ghost is nobody's business, noticed or not."""
    guest = hall.join("guest", "other")
    again = hall.join("guest", "other")
    assert again.welcome.member != guest.welcome.member
    guest.reset()
    hall.until(lambda: hall.home.room.anybody_lost)
    hall.wait(limits.GRACE_SECONDS)
    hall.until(lambda: not hall.home.room.anybody_lost)
    company.noticed(MemberJoined("guest"))
    again.reset()
    hall.until(lambda: hall.shown("[!] guest lost the connection."))
    hall.join("guest", "other")
    hall.wait(limits.GRACE_SECONDS)
    hall.until(lambda: len(hall.home.members()) == 3)
    company.noticed(MemberLost("guest"), MemberBack("guest"))
    shown = [line for line in hall.screen.lines() if "guest" in line]
    assert shown == [
        "[+] New connection. Username: guest",
        "[+] Broadcast message:  New person joined the room. Username: guest",
        "[!] guest lost the connection.",
        "[+] guest is back.",
    ]


def test_person_leaves_with_the_last_connection(hall: Hall, company: Company) -> None:
    laptop, phone = hall.join("guest", "other"), hall.join("guest", "other")
    laptop.say("from the laptop")
    phone.say("from the phone")
    said = ["guest: from the laptop", "guest: from the phone"]
    hall.until(lambda: sorted(company.ira.heard) == said)
    hall.until(lambda: sorted(laptop.heard) == sorted(phone.heard) == said)
    for goes in (laptop, phone):
        assert not hall.shown("[+] guest left the server.")
        leave(hall, goes)
        hall.wait(1)
    assert hall.screen.lines().count("[+] guest left the server.") == 1
    company.noticed(MemberJoined("guest"), MemberLeft("guest", Reason.LEFT))


def test_person_whose_last_connection_that_stands_leaves_is_lost(
    hall: Hall, company: Company
) -> None:
    """The laptop sleeps, and the phone leaves: the laptop may come back."""
    laptop, phone = hall.join("guest", "other"), hall.join("guest", "other")
    lose(hall, laptop)
    leave(hall, phone)
    hall.until(lambda: hall.shown("[!] guest lost the connection."))
    hall.come_back(laptop)
    hall.until(lambda: hall.shown("[+] guest is back."))
    assert [one.id for one in hall.home.room.find("guest")] == [laptop.welcome.member]
    company.noticed(MemberJoined("guest"), MemberLost("guest"), MemberBack("guest"))


def test_of_a_caller_nobody_is_told_and_what_it_says_is_heard(hall: Hall, company: Company) -> None:
    """Whatever becomes of it, and though it resumes."""
    calling = hall.join("guest", "other", caller=True)
    calling.say("one")
    hall.until(lambda: calling.heard)
    lose(hall, calling)
    back = hall.come_back(calling)
    assert hall.home.room.find("guest")[0].caller
    back.say("two")
    hall.until(lambda: company.ira.heard == ["guest: one", "guest: two"])
    leave(hall, back)
    lose(hall, hall.join("guest", "other", caller=True))
    hall.wait(limits.GRACE_SECONDS)
    hall.until(lambda: len(hall.home.members()) == 2)
    company.noticed()
    shown = [line for line in hall.screen.lines() if "exchanged" not in line]
    assert shown == []


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("pending", [0, 1])
def test_kick_puts_out_all_connections_of_a_person(
    hall: Hall, company: Company, lost: int, pending: int
) -> None:
    """Those that are lost, and those that nobody was told of yet."""
    guests = [hall.join("guest", "other") for _ in range(2)]
    calling = hall.join("guest", "other", caller=True)
    for guest in guests[:lost]:
        lose(hall, guest)
    guests += [hall.knock("guest", "other") for _ in range(pending)]
    hall.until(lambda: len(hall.home.room.find("guest")) == 3 + pending)
    hall.type("KICK guest")
    for guest in (*guests[lost:], calling):
        assert hall.farewell_to(guest) == ended(Reason.KICKED)
    assert hall.home.room.find("guest") == ()
    put_out = "left the server: put out by the server's operator."
    assert [line for line in hall.screen.lines() if "left" in line] == [f"[!] guest {put_out}"]
    was_lost = [MemberLost("guest")] * (lost == 2)
    company.noticed(MemberJoined("guest"), *was_lost, MemberLeft("guest", Reason.KICKED))
    hall.join("guest", "server")


def test_two_keys_that_want_one_name_at_the_same_moment(hall: Hall, company: Company) -> None:
    """One gets it, by as many connections as it comes."""
    knocking = [hall.knock("guest", owner) for owner in ("other", "server", "other", "server")]
    hall.until(lambda: all(one.participant.has_joined or one.ended for one in knocking))
    assert {one.key_name for one in knocking if not one.ended} in ({"other"}, {"server"})
    refused = [one.ended for one in knocking if one.ended]
    assert [end.reason for end in refused] == [Reason.NAME_TAKEN] * 2
    company.noticed(MemberJoined("guest"))


def test_person_is_in_so_often_and_no_more(hall: Hall, company: Company) -> None:
    hall.server.budgets = None
    guests = [hall.join("guest", "other") for _ in range(limits.MAX_CONNECTIONS_OF_KEY)]
    one_more = hall.knock("guest", "other")
    assert hall.farewell_to(one_more) == ended(Reason.FULL, "you are here 8 times already")
    lose(hall, guests[5])
    hall.join("guest", "other")
    assert not hall.home.room.anybody_lost
    company.noticed(MemberJoined("guest"))


def test_unusable_name_that_reads_the_same_puts_nobody_out(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    again = hall.knock("guest" + "\ufe0f" * limits.MAX_NAME_CHARS, "other")
    assert hall.farewell_to(again).reason is Reason.NAME_INVALID
    assert guest.ended is None
    company.noticed(MemberJoined("guest"))


def test_another_key_never_takes_over_the_name_of_who_is_lost(hall: Hall, company: Company) -> None:
    lose(hall, hall.join("guest", "other"))
    hall.wait(5)
    lose(hall, hall.join("guest", "other"))
    hall.wait(5)
    why = "the name guest is taken: guest lost the connection 5 s ago; the name is free in 55 s"
    eve = hall.knock("guest", "server")
    assert hall.farewell_to(eve) == ended(Reason.NAME_TAKEN, why)
    lost, back = MemberLost("guest"), MemberBack("guest")
    company.noticed(MemberJoined("guest"), lost, back, lost)
    hall.join("guest", "other")
    eve = hall.knock("guest", "server")
    assert hall.farewell_to(eve).reason is Reason.NAME_TAKEN
    assert hall.farewell_to(eve).text.startswith("the name guest is taken: it has been in use for ")
    company.noticed(back)


def test_another_name_never_resumes_even_with_key_and_token(hall: Hall, company: Company) -> None:
    """RESUME counts as READY then: whoever asks for it is a new member."""
    guest = hall.join("guest", "other")
    lose(hall, guest)
    guest.name_in_room = guest.participant._name = "eve"
    guest.me = replace(guest.me, name="eve")
    eve = hall.come_back(guest)
    assert eve.welcome.member != guest.welcome.member
    company.noticed(MemberJoined("guest"), MemberLost("guest"), MemberJoined("eve"))


def test_loss_that_sending_shows_is_told_in_the_same_turn(hall: Hall, company: Company) -> None:
    def send(_data: object, _flags: int = 0) -> int:
        raise BrokenPipeError(errno.EPIPE, "broken pipe")

    hall.join("guest", "other")
    guest = connection_of(hall, "guest")
    hall.home._front.sends[guest.cursor] = guest.transport.send = send
    unsent: list[int] = []
    hall.reactor.before_wait(lambda: unsent.append(hall.home.log.end - hall.home._front.offset))
    company.ira.say("is everybody here?")
    hall.until(lambda: company.sahnawaz.heard)
    company.news += [MemberJoined("guest"), MemberLost("guest")]
    hall.until(lambda: company.ira.news == company.news)
    assert set(unsent) == {0}


# -- signs of life, and members that are too fast


def test_silent_member_has_lost_the_connection(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    hall.wait(limits.SILENCE_SECONDS - 1)
    company.talk()
    hall.wait(1 + limits.ROUND_SECONDS)
    assert hall.farewell_to(guest) == ended(Reason.TIMEOUT)
    assert hall.shown("[!] guest lost the connection: was silent for too long.")
    company.noticed(MemberJoined("guest"), MemberLost("guest"))


def test_member_that_is_not_read_is_not_taken_for_silent(hall: Hall) -> None:
    ira = hall.join("Ira")
    connection_of(hall, "Ira")._hold(2 * limits.SILENCE_SECONDS, hall.reactor.clock())
    hall.wait(limits.SILENCE_SECONDS + 1)
    assert ira.ended is None
    hall.wait(limits.SILENCE_SECONDS)
    ira.say("here I am")
    hall.until(lambda: ira.heard)


# -- bad company before the handshake is done

NOT_SEALED = Pubkey((9).to_bytes(limits.X25519_BYTES, "little"), bytes(200)).to_wire()
"""A PUBKEY with the X25519 base point, and sealed with nothing."""

STRANGERS = {
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "a frame of 18247 bytes is too long"),
    "unknown type": (block(b"\x99\0\0\0"), "unknown frame type 0x99"),
    "sealed with nothing": (NOT_SEALED, "a sealed frame does not open"),
}


@pytest.mark.parametrize("size", [1, 1 << 16], ids=["byte by byte", "whole"])
@pytest.mark.parametrize("what", STRANGERS)
def test_stranger_with_bad_manners_is_refused_with_a_word_and_nobody_notices(
    hall: Hall, company: Company, what: str, size: int
) -> None:
    data, text = STRANGERS[what]
    stranger = hall.greeted()
    for start in range(0, len(data), size):
        stranger.send(data[start : start + size])
        hall.turns(1)
    hall.until(lambda: stranger.eof)
    hello, refused = (decode_frame(data) for _, data in frames_of(bytes(stranger.received)))
    assert isinstance(hello, Hello)
    assert refused == Refused(Reason.PROTOCOL, text)
    assert hall.screen.lines() == [f"[!] {stranger.name} was refused: {text}."]
    company.assert_undisturbed()


def say_a_little(hall: Hall) -> Wire:
    stranger = hall.connect()
    stranger.send(b"\x01\x02\x02")
    return stranger


def do_not_prove_the_key(hall: Hall) -> Wire:
    return hall.unproved("Eve", "other")


@pytest.mark.parametrize(
    ("begin", "seconds"),
    [
        (Hall.connect, limits.FIRST_FRAME_SECONDS),
        (say_a_little, limits.FIRST_FRAME_SECONDS),
        (do_not_prove_the_key, limits.HANDSHAKE_SECONDS),
    ],
)
def test_stranger_that_takes_too_long_is_refused(
    hall: Hall, company: Company, begin: Callable[[Hall], Wire], seconds: float
) -> None:
    stranger = begin(hall)
    hall.until(lambda: stranger.received)
    hall.wait(seconds - 1)
    assert not stranger.eof
    assert len(hall.home.members()) == 2
    assert hall.screen.lines() == []
    hall.wait(1 + limits.ROUND_SECONDS)
    hall.until(lambda: stranger.eof)
    line = f"[!] {stranger.name} was refused: the handshake took too long."
    assert hall.screen.lines() == [line]
    company.assert_undisturbed()


@pytest.mark.parametrize("data", [b"", NOT_SEALED[:-1]], ids=["nothing", "half a frame"])
@pytest.mark.parametrize("way", [Wire.close, Wire.shut_down])
def test_stranger_that_goes_is_worth_a_line_if_it_said_something(
    hall: Hall, company: Company, way: Callable[[Wire], None], data: bytes
) -> None:
    """Monitoring looks all day long whether somebody listens."""
    stranger = hall.connect()
    name = stranger.name
    hall.until(lambda: stranger.received)
    stranger.send(data)
    way(stranger)
    hall.until(lambda: len(hall.server.connections) == 2)
    hall.wait(2)
    why = "the connection broke in the middle of a frame"
    assert hall.screen.lines() == ([f"[!] {name} went away: {why}."] if data else [])
    company.assert_undisturbed()


@pytest.mark.parametrize(
    ("name", "reason", "text"),
    [
        ("ira", Reason.NAME_TAKEN, "the name ira is taken: it has been in use for [0-9]+ s"),
        ("\x1b[2J", Reason.NAME_INVALID, "a name has printable characters only"),
    ],
)
def test_name_that_cannot_be_had_is_refused_on_the_link(
    hall: Hall, company: Company, name: str, reason: Reason, text: str
) -> None:
    eve = hall.knock(name, "other")
    end = hall.farewell_to(eve)
    assert end.reason is reason
    assert re.fullmatch(text, end.text)
    assert hall.screen.lines() == [f"[!] {eve.name} was refused: {end.text}."]
    assert end.text.encode() not in eve.received
    company.assert_undisturbed()


# -- bad company in the room


def controlled(eve: Peer, *controls: Control) -> bytes:
    for control in controls:
        eve.session.send(control.encode())
    return eve.session.data_to_send()


def of_another(eve: Peer) -> bytes:
    return eve.frame(sender=eve.welcome.member - 1, seq=3)


OFFENCES: dict[str, tuple[Callable[[Peer], Control], str]] = {
    "behind a message out of sequence, which is answered": (
        lambda eve: Submit(eve.frame(seq=5) + of_another(eve)),
        "a message in another member's name",
    ),
    "half a frame": (
        lambda eve: Submit(eve.frame(seq=3)[:-1]),
        "a run of frames has something else in it",
    ),
    "a control message out of place": (lambda _: Resend(1), "a Resend is out of place"),
    "what only the server says": (lambda _: Check(1, bytes(32)), "a Check is out of place"),
}


@pytest.mark.parametrize("what", OFFENCES)
def test_member_that_breaks_the_protocol_is_put_out_with_a_word_and_the_others_are_told(
    hall: Hall, company: Company, what: str
) -> None:
    """What it said before reaches them and counts; neither the offence nor what follows does."""
    make, text = OFFENCES[what]
    eve = hall.join("Eve", "other")
    eve.participant.say("good", 0)
    (good,) = eve.participant.data_to_send()
    eve.participant.say("too late", 0)
    (late,) = eve.participant.data_to_send()
    eve.send(controlled(eve, Submit(good), make(eve), Ping(), Submit(late)))
    assert hall.farewell_to(eve) == ended(Reason.PROTOCOL, text)
    *_, exchanged, left = hall.screen.lines()
    assert exchanged.endswith("Message exchanged")
    assert left == f"[!] Eve left the server: {text}."
    hall.until(lambda: company.ira.heard)
    assert hall.home.room.messages == 1
    company.noticed(MemberJoined("Eve"), MemberLeft("Eve", Reason.PROTOCOL))
    assert [line for line in company.ira.heard if line.startswith("Eve: ")] == ["Eve: good"]


FORGERIES: dict[str, tuple[Callable[[Peer], bytes], str]] = {
    "junk": (lambda _: b"\xff" * 100, "a frame of 65537 bytes is too long"),
    "a message outside of SUBMIT": (
        lambda eve: eve.frame(seq=2),
        "a Message frame is out of place in RELAY",
    ),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_bytes_that_anybody_could_have_sent_cost_a_member_the_connection_and_no_more(
    hall: Hall, company: Company, what: str
) -> None:
    """It comes back to its place, and what it said behind them is not lost."""
    make, text = FORGERIES[what]
    eve = hall.join("Eve", "other")
    eve.say("before")
    hall.until(lambda: company.ira.heard)
    eve.participant.say("behind", 0)
    (behind,) = eve.participant.data_to_send()
    eve.send(make(eve) + controlled(eve, Submit(behind)))
    end = hall.farewell_to(eve)
    assert end == ended(Reason.LOST, f"{text}; it was changed on the way")
    assert hall.screen.lines()[-1] == f"[!] Eve lost the connection: {end.text}."
    back = hall.come_back(eve)
    hall.until(lambda: company.ira.heard == ["Eve: before", "Eve: behind"])
    assert back.news == [Reconnected(0, new_room=False, awaiting=False)]
    company.noticed(MemberJoined("Eve"), MemberLost("Eve"), MemberBack("Eve"))


# -- the running hash


def checks_of(peer: Peer) -> list[Check]:
    """What the server told this member of the log on this connection."""
    return [control for control in peer.controls if isinstance(control, Check)]


def test_members_are_told_the_running_hash_a_second_after_the_log_has_moved(hall: Hall) -> None:
    """The server wakes up for that, and only for that."""
    ira, eve = hall.join("Ira"), hall.join("Eve", "other")
    hall.wait(limits.CHECK_SECONDS)
    seen = len(checks_of(ira))
    hall.wait(limits.CHECK_SECONDS)
    assert len(checks_of(ira)) == seen, "the log has not moved"
    assert hall.home.room.deadline is None
    ira.say("one", "two")
    hall.until(lambda: len(eve.heard) == 2)
    end = hall.home.log.end
    hall.until(lambda: [checks_of(peer)[-1].offset for peer in (ira, eve)] == [end, end])
    assert len(checks_of(ira)) == seen + 1
    assert not any(isinstance(event, Tampered) for event in ira.events + eve.events)


def test_nobody_waits_for_the_rest_who_are_told_the_running_hash_in_the_next_turns(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [hall.join(f"member {number}", "other") for number in range(4)]
    members[0].say("all are told of this at the same time")
    hall.until(lambda: all(member.heard for member in members[1:]))
    hall.wait(2 * limits.CHECK_SECONDS)
    monkeypatch.setattr("chat.server.checks.CHECKS_PER_TURN", 1)
    told = [len(checks_of(member)) for member in members]
    members[0].say("and of this in four turns")
    hall.wait(2 * limits.CHECK_SECONDS)
    hall.turns(20)
    assert [len(checks_of(member)) for member in members] == [count + 1 for count in told]


@pytest.mark.parametrize("way", ["kick", "terminate", "offence"])
def test_last_running_hash_comes_right_before_a_goodbye(
    hall: Hall, company: Company, way: str
) -> None:
    eve = hall.join("Eve", "other")
    company.talk()
    hall.until(lambda: len(eve.heard) == 2)
    told = len(checks_of(eve))
    if way == "offence":
        eve.send(controlled(eve, Resend(1)))
    else:
        hall.type({"kick": "KICK Eve", "terminate": "TERMINATE"}[way])
    hall.farewell_to(eve)
    assert len(checks_of(eve)) > told
    assert checks_of(eve)[-1] is eve.controls[-1]
    assert eve.participant.all_checked
    assert not any(isinstance(event, Tampered) for event in eve.events)


def test_goodbye_that_comes_before_the_answer_to_resume_has_no_hash(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is thrown away, and nothing but the goodbye can be understood without it."""
    guest = hall.join("guest", "other")
    admit = hall.server.admit

    def admit_and_kick(connection: Connection, client: Established) -> None:
        admit(connection, client)
        hall.home.kick("guest")

    monkeypatch.setattr(hall.server, "admit", admit_and_kick)
    back = hall.come_back(guest)
    assert hall.farewell_to(back) == ended(Reason.KICKED)
    assert back.controls == []


# -- slow members

WINDOW = 128 * 1024
BEHIND_SHOWN = "[!] slow lost the connection: fell too far behind the conversation."


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    """A server that keeps little of its log, and does not mind how fast it is filled."""
    monkeypatch.setattr("chat.server.server.WINDOW_BYTES", WINDOW)
    monkeypatch.setattr("chat.server.hosted.WINDOW_BYTES", WINDOW)
    monkeypatch.setattr("chat.transport.SEND_BYTES", WINDOW // 32)
    with contextlib.closing(Hall(rate=0)) as hall:
        yield hall


def test_slow_member_is_cut_off_with_a_word_and_comes_back_to_an_honest_gap(narrow: Hall) -> None:
    company = Company(narrow)
    slow = narrow.join("slow", "other")
    slow.deafen()
    slow.participant.say("not lost", 0)
    said = flood(narrow, company.ira, 4 * WINDOW)
    narrow.until(lambda: narrow.shown(BEHIND_SHOWN))
    slow.listen()
    assert narrow.farewell_to(slow) == ended(Reason.TOO_SLOW)
    heard = len(slow.heard)
    assert 0 < heard < said
    assert slow.news == []
    narrow.until(lambda: len(company.sahnawaz.heard) == said)
    company.noticed(MemberJoined("slow"), MemberLost("slow"))
    back = narrow.come_back(slow)
    narrow.until(lambda: company.ira.heard[-1] == "slow: not lost")
    # The stream was cut where no hash was told, so nobody vouches for the last of what was heard.
    assert checks_of(slow)[-1:] != slow.controls[-1:]
    doubt, reconnected = back.news
    assert isinstance(doubt, Tampered)
    assert not doubt.certain
    assert reconnected == Reconnected(said + 2 - heard, new_room=False, awaiting=False)
    assert back.welcome.member == slow.welcome.member
    narrow.until(lambda: back.heard[heard:] == ["slow: not lost"])
    company.noticed(MemberBack("slow"))


def test_farewell_opens_although_a_new_key_never_arrived(narrow: Hall) -> None:
    company = Company(narrow)
    slow = narrow.join("slow", "other")
    slow.deafen()
    flood(narrow, company.ira, WINDOW // 2)
    leave(narrow, narrow.join("guest", "server"))
    narrow.type("KICK slow")
    narrow.until(lambda: len(narrow.home.members()) == 2)
    slow.listen()
    assert narrow.farewell_to(slow) == ended(Reason.KICKED)


Stubborn = tuple[Company, Peer]


@pytest.fixture
def stubborn(narrow: Hall, monkeypatch: pytest.MonkeyPatch) -> Stubborn:
    """Company, and a member that reads nothing while there is much to read."""
    monkeypatch.setattr("chat.server.connection.MAX_SPLICES", 3)
    monkeypatch.setattr("chat.server.checks.CHECK_SECONDS", 1e9)
    company = Company(narrow)
    slow = narrow.join("slow", "other")
    slow.deafen()
    flood(narrow, company.ira, WINDOW // 2)
    assert connection_of(narrow, "slow").transport.writing
    return company, slow


def test_member_that_takes_none_of_its_new_keys_is_cut_off(
    narrow: Hall, stubborn: Stubborn
) -> None:
    company, _ = stubborn
    for _ in range(4):
        assert not narrow.shown(BEHIND_SHOWN)
        leave(narrow, narrow.join("guest", "server"))
        narrow.wait(1)
    assert narrow.shown(BEHIND_SHOWN)
    company.ira.say("are we two?")
    narrow.until(lambda: company.sahnawaz.heard[-1] == "Ira: are we two?")


def has_heard(peer: Peer, line: str) -> bool:
    return line in peer.heard


def test_answer_that_cannot_leave_yet_waits_once(narrow: Hall, stubborn: Stubborn) -> None:
    company, slow = stubborn
    slow.send_control(Ping().encode())
    for number in range(10):
        slow.participant.say(f"number {number}", 0)
        slow.flush()
        narrow.until(partial(has_heard, company.ira, f"slow: number {number}"))
    assert slow.ended is None
    slow.listen()
    narrow.until(lambda: slow.heard == company.ira.heard)
    assert company.ira.news == [*company.news, MemberJoined("slow")]


# -- accepting


class FlakyListener(socket.socket):
    """A listening socket whose `accept` fails with the errors that it is given."""

    failures: list[int]
    accepts = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.accepts += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


Flaky = tuple[Hall, FlakyListener]


@pytest.fixture
def flaky() -> Iterator[Flaky]:
    listener = FlakyListener(fileno=listen("127.0.0.1", 0).detach())
    listener.failures = []
    with contextlib.closing(Hall(listener)) as hall:
        yield hall, listener


@pytest.mark.parametrize(
    ("number", "said"),
    [
        *(
            (number, words.OUT_OF_DESCRIPTORS)
            for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
        ),
        (errno.EINVAL, "    OSError (EINVAL)"),
    ],
)
def test_accept_that_fails_is_told_once_and_tried_again_after_a_pause(
    flaky: Flaky, number: int, said: str
) -> None:
    hall, listener = flaky
    hall.contains_faults = number == errno.EINVAL
    company = Company(hall)
    listener.failures = [number] * 3
    accepts = listener.accepts
    late = hall.connect()
    hall.turns(20)
    assert listener.accepts == accepts + 1, "it must not ask again and again"
    while listener.failures:
        hall.wait(limits.ACCEPT_PAUSE_SECONDS)
    assert not late.received
    assert hall.screen.lines().count(said) == 1
    hall.wait(limits.ACCEPT_PAUSE_SECONDS)
    hall.until(lambda: late.received)
    company.assert_undisturbed()
    hall.join("next", "other")


def test_silent_stranger_makes_room_where_descriptors_run_out(flaky: Flaky) -> None:
    hall, listener = flaky
    stranger = hall.greeted()
    listener.failures = [errno.EMFILE]
    hall.join("late")
    hall.until(lambda: stranger.eof)
    assert not hall.shown(words.OUT_OF_DESCRIPTORS)


def test_server_without_descriptors_goes_on_when_somebody_leaves(flaky: Flaky) -> None:
    hall, listener = flaky
    stranger = hall.join("stranger")
    listener.failures = [errno.EMFILE]
    late = hall.connect()
    hall.until(lambda: hall.screen.lines())
    stranger.close()
    hall.until(lambda: late.received)


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR])
def test_connection_that_is_gone_before_accept_is_skipped(flaky: Flaky, number: int) -> None:
    hall, listener = flaky
    listener.failures = [number, number]
    hall.join("Ira")
    assert listener.failures == []
    assert not any(line.startswith("[!]") for line in hall.screen.lines())


def test_storm_is_taken_in_parts(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    hall, listener = flaky
    monkeypatch.setattr("chat.server.doorman.ACCEPT_PER_TURN", 3)
    wires = [hall.connect() for _ in range(10)]
    counts = []
    while not all(wire.received for wire in wires):
        before = listener.accepts
        hall.turns(1)
        counts.append(listener.accepts - before)
    assert max(counts) == 3


def test_storm_that_is_too_large_is_mostly_closed(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is left in the listening queue, where others wait, too."""
    monkeypatch.setattr("chat.server.doorman.ACCEPT_PER_TURN", 4)
    monkeypatch.setattr("chat.server.doorman.MAKE_ROOM_PER_TURN", 1)
    hall.server.doorman.admission = Admission(10, 2)
    made_room: list[Connection] = []
    put_out = Doorman._put_out

    def note(doorman: Doorman, idle: Connection) -> None:
        made_room.append(idle)
        put_out(doorman, idle)

    monkeypatch.setattr(Doorman, "_put_out", note)
    wires = [hall.connect() for _ in range(40)]
    counts = []
    for _ in range(10):
        before = len(made_room)
        hall.turns(1)
        counts.append(len(made_room) - before)
    hall.until(lambda: sum(wire.eof for wire in wires) == 38)
    assert counts == [2, *[1] * 9]
    hall.greeted()


CROWDED = Refused(Reason.TIMEOUT, "too many connections wait to be let in")


def test_silent_stranger_makes_room_for_one_of_its_source(hall: Hall, company: Company) -> None:
    hall.server.doorman.admission = Admission(10, 2)
    silent = [hall.connect() for _ in range(2)]
    hall.until(lambda: all(stranger.received for stranger in silent))
    late = hall.connect()
    hall.until(lambda: silent[0].eof)
    assert refusal_of(silent[0]) == CROWDED
    hall.until(lambda: late.received)
    assert not silent[1].eof
    assert len(hall.server.connections) == 4, "its descriptor is free at once"
    company.assert_undisturbed()


@pytest.mark.parametrize(("limit", "limit_per_source"), [(10, 2), (2, 10)])
def test_guest_that_owes_ready_makes_room_for_the_next_one(
    hall: Hall, company: Company, limit: int, limit_per_source: int
) -> None:
    hall.server.doorman.admission = Admission(limit, limit_per_source)
    halves = [hall.unproved(f"Eve{number}") for number in range(2)]
    hall.join("late", "other")
    assert hall.farewell_to(halves[0]).text == CROWDED.text
    assert halves[1].ended is None


@pytest.mark.slow
def test_guest_that_waits_to_be_let_in_keeps_its_place_and_the_next_of_its_source_is_refused(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    hall.server.doorman.admission = Admission(10, 1)
    monkeypatch.setattr(Account, "arrive", lambda *_: 5.0)
    waiting = hall.knock("Eve", "other")
    hall.until(lambda: waiting.session.state is State.RELAY and not waiting.unsent)
    hall.turns(5)
    late = hall.connect()
    hall.until(lambda: late.eof)
    assert refusal_of(late) == CROWDED
    hall.wait(5)
    hall.until(lambda: waiting.participant.has_joined)
    hall.join("next", "other")
    assert hall.shown(f"[!] {late.name} was refused: {CROWDED.text}.")


def test_members_and_those_who_are_refused_take_nobodys_place(hall: Hall, company: Company) -> None:
    hall.server.doorman.admission = Admission(1, 1)
    for number in range(2):
        hall.join(f"member {number}", "other")
    stranger = hall.connect()
    stranger.send(NOT_SEALED)
    hall.until(lambda: stranger.eof)
    hall.join("member 2", "other")
    hall.until(lambda: len(hall.server.connections) == len(hall.home.members()) == 5)


def test_guest_that_waits_for_its_turn_is_not_read(hall: Hall) -> None:
    for _ in range(20):
        hall.reactor.defer(lambda: None)
    stranger = hall.greeted()
    for data in (NOT_SEALED, bytes(2)):
        stranger.send(data)
        hall.turns(3)
    hall.until(lambda: stranger.eof)
    assert refusal_of(stranger) == Refused(Reason.PROTOCOL, "a sealed frame does not open")


def test_newcomer_comes_in_beside_a_crowd_of_another_source_that_is_kept_up() -> None:
    """The crowd has ten times the places, and comes back whenever it is closed."""
    with contextlib.closing(Hall()) as hall:
        hall.server.doorman.admission = Admission(64, 16)
        company = Company(hall)
        crowd = [hall.connect() for _ in range(160)]

        def keep_up() -> None:
            for number, wire in enumerate(crowd):
                if wire.eof:
                    wire.close()
                    crowd[number] = hall.connect()

        hall.reactor.before_wait(keep_up)
        hall.turns(50)
        newcomer = hall.knock("newcomer", "other", "127.0.0.2")
        hall.until(lambda: newcomer.participant.has_joined)
        company.talk()
        assert len(hall.server.connections) <= 3 + 16
        crowd.clear()


def test_flood_of_handshakes_delays_others_by_one(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []
    take_turn, await_turn = Connection.take_turn, Doorman.await_turn

    def note(connection: Connection) -> None:
        served.append(connection.source)
        take_turn(connection)

    def note_when(doorman: Doorman, connection: Connection) -> None:
        if connection.source != "127.0.0.1":
            served.append("waits")
        await_turn(doorman, connection)

    monkeypatch.setattr(Connection, "take_turn", note)
    monkeypatch.setattr(Doorman, "await_turn", note_when)
    for _ in range(50):
        hall.connect().send(NOT_SEALED)
    hall.until(lambda: len(served) == 5)
    newcomer = hall.knock("newcomer", "other", "127.0.0.2")
    hall.until(lambda: newcomer.participant.has_joined)
    assert served.index("127.0.0.2") - served.index("waits") <= 2
    assert served[-1] == "127.0.0.1" or len(served) < 52, "the flood was over: this tests nothing"


def test_guest_that_waits_for_its_turn_is_read_once_more_at_most(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doorman, "_shake_hands", lambda _doorman: None)
    guest = hall.greeted()
    (connection,) = hall.server.connections
    guest.send(NOT_SEALED)
    hall.until(lambda: connection._unread)
    guest.send(bytes(8 * limits.MAX_HANDSHAKE_FRAME_BYTES))
    hall.turns(20)
    more = len(connection._unread) - len(NOT_SEALED)
    assert 0 < more <= limits.MAX_HANDSHAKE_FRAME_BYTES
    assert not connection.over


def test_guest_that_goes_while_it_waits_for_its_turn_costs_no_handshake(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    handshakes: list[Connection] = []
    shake_hands = Doorman._shake_hands
    monkeypatch.setattr(Connection, "take_turn", handshakes.append)
    monkeypatch.setattr(Doorman, "_shake_hands", lambda _doorman: None)
    guest = hall.greeted()
    name = guest.name
    guest.send(NOT_SEALED)
    hall.until(lambda: hall.server.doorman._turns)
    guest.close()
    hall.until(lambda: not hall.server.connections)
    shake_hands(hall.server.doorman)
    assert handshakes == []
    assert hall.screen.lines() == [f"[!] {name} went away: the connection was lost."]


@pytest.mark.parametrize("why", [words.CUT_OFF, words.TOO_MUCH_WAITS])
def test_guest_that_a_server_of_several_sends_away_is_in_its_log_alone(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """The operator knows that Redis is away, and it is nobody's fault."""
    noted = Mock()
    monkeypatch.setattr(hall.server.doorman._console.log, "note", noted)

    def send_away(connection: Connection) -> None:
        connection.drop(Reason.LOST, why)

    monkeypatch.setattr(Connection, "take_turn", send_away)
    hall.greeted().send(NOT_SEALED)
    hall.until(lambda: not hall.server.connections)
    assert hall.screen.lines() == []
    assert noted.call_args.args == (Event.CROWDED,)
    assert noted.call_args.kwargs["text"] == why


# -- the share


def test_share_is_the_same_for_a_while_and_forgotten_when_it_has_run_out(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes even if nobody asks for a new one: it opens what was recorded."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)

    def hello() -> Hello:
        wire = hall.greeted()
        hello = decode_frame(bytes(wire.received))
        assert isinstance(hello, Hello)
        wire.close()
        return hello

    first = hello()
    assert first.server_key == key("server").public.blob
    assert first.not_after == int(now) + limits.SHARE_SECONDS
    now += limits.SHARE_RENEW_SECONDS - 2
    assert hello() == first
    now += 3
    second = hello()
    assert second.share != first.share
    assert second.not_after == int(now) + limits.SHARE_SECONDS
    assert hall.server.doorman._offer is not None
    now += limits.SHARE_SECONDS
    hall.wait(limits.SHARE_SECONDS)
    assert hall.server.doorman._offer is None


# -- the operator


def test_kicked_member_is_told_and_so_are_the_others(hall: Hall, company: Company) -> None:
    eve = hall.join("Eve", "other")
    hall.type("kick eve")
    assert hall.farewell_to(eve) == ended(Reason.KICKED)
    assert hall.screen.lines()[-1] == "[!] Eve left the server: put out by the server's operator."
    company.noticed(MemberJoined("Eve"), MemberLeft("Eve", Reason.KICKED))


def test_newcomer_can_be_kicked_before_it_is_welcomed(hall: Hall, company: Company) -> None:
    eve = hall.knock("Eve", "other")
    hall.when(lambda: hall.home.has("Eve"), lambda: hall.home.kick("Eve"))
    assert hall.farewell_to(eve) == ended(Reason.KICKED)
    assert not eve.participant.has_joined
    company.assert_undisturbed()


@pytest.mark.parametrize("text", ["Dear  friends", "ä" * limits.MAX_TEXT_BYTES], ids=len)
def test_operator_speaks_to_everybody_and_not_too_long(
    hall: Hall, company: Company, text: str
) -> None:
    hall.type(f"SAY {text}")
    company.noticed(NoticeReceived(text[: limits.MAX_TEXT_BYTES // 2]))


def test_operator_sees_who_is_here_and_how_much_was_said(hall: Hall, company: Company) -> None:
    company.talk()
    hall.screen.clear()
    for command in ("kick Eve", "who", "stats"):
        hall.type(command)
    hall.until(lambda: len(hall.screen.lines()) == 6)
    nobody, count, ira, sahnawaz, stats, memory = hall.screen.lines()
    assert nobody == "[!] Nobody here is called Eve."
    assert count == "[+] In the room: 2"
    assert ira.startswith("[+] Ira, since ")
    assert ira.endswith(f"{key('ira').public.fingerprint}, from {company.ira.name}")
    assert sahnawaz.startswith("[+] sahnawaz, since ")
    assert f" 2 messages exchanged, {hall.home.log.end} bytes relayed" in stats
    assert memory == f"[+] 1 room, {hall.home.log.end} bytes of 8 MiB kept"


# -- the end


def run_to_the_end(hall: Hall) -> None:
    """Let the server run until it ends by itself."""
    hall.reactor.may_run = True
    hall.server.run()


def test_termination_of_an_empty_server_ends_it(hall: Hall) -> None:
    hall.type("terminate")
    run_to_the_end(hall)
    hall.console.close()
    assert hall.screen.lines() == [
        "[+] All connections had been terminated",
        "[+] Server is shut down",
    ]
    assert hall.listener.fileno() < 0


def test_termination_tells_everybody_and_closes(hall: Hall, company: Company) -> None:
    stranger = hall.greeted()
    for wire in (company.ira, company.sahnawaz, stranger):
        hall.when(partial(getattr, wire, "eof"), wire.close)
    hall.type("TERMINATE")
    run_to_the_end(hall)
    for peer in (company.ira, company.sahnawaz):
        assert peer.news[-1] == RoomClosed()
        assert peer.ended == ended(Reason.CLOSING)
    assert refusal_of(stranger) == Refused(Reason.CLOSING, REASONS[Reason.CLOSING])
    assert hall.screen.lines() == []


def test_terminated_server_sends_the_rest_before_the_farewell_and_takes_nobody_in(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that waits amid the log does not take the farewell with it, and the farewell is
    sealed after a new key that waits there."""
    monkeypatch.setattr("chat.transport.SEND_BYTES", WINDOW // 32)
    company.sahnawaz.deafen()
    flood(hall, company.ira, WINDOW)
    company.sahnawaz.send_control(Ping().encode())
    guest = hall.join("guest", "other")
    leave(hall, guest)
    guest.close()
    hall.until(lambda: company.ira.news[-1] == MemberLeft("guest", Reason.LEFT))
    assert connection_of(hall, "sahnawaz").cursor.splices == 2
    company.ira.say("last words")
    hall.until(lambda: company.ira.heard[-1] == "Ira: last words")
    hall.type("TERMINATE")
    hall.until(lambda: company.ira.eof)
    late = hall.connect()
    hall.turns(10)
    assert (len(hall.server.connections), bytes(late.received)) == (2, b"")
    assert len(company.sahnawaz.heard) < len(company.ira.heard)
    company.sahnawaz.listen()
    hall.until(lambda: company.sahnawaz.eof)
    assert company.sahnawaz.heard == company.ira.heard
    assert company.sahnawaz.news == company.ira.news[1:]
    assert company.sahnawaz.ended == ended(Reason.CLOSING)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_termination_waits_only_so_long_for_the_slow_and_the_second_for_nobody(
    hall: Hall, company: Company, again: bool
) -> None:
    company.sahnawaz.deafen()
    flood(hall, company.ira, WINDOW)
    begun = hall.reactor.clock()
    hall.when(lambda: company.ira.eof, company.ira.close)
    linger = partial(hall.reactor.time.advance, limits.LINGER_SECONDS)
    hall.when(lambda: True, hall.server.terminate if again else linger)
    hall.type("TERMINATE")
    run_to_the_end(hall)
    assert (hall.reactor.clock() - begun < limits.LINGER_SECONDS) is again


def test_termination_while_a_member_is_about_to_fall_behind_comes_to_its_end(narrow: Hall) -> None:
    """The log is about to be trimmed in the very turn in which the server is terminated."""
    company = Company(narrow)
    company.sahnawaz.deafen()
    log, cursor = narrow.home.log, connection_of(narrow, "sahnawaz").cursor
    narrow.when(
        lambda: log.surplus and cursor.offset < log.start_after_trim(), narrow.server.terminate
    )
    company.ira.say(*["x" * 8000] * (2 * WINDOW // 8000))
    narrow.until(lambda: company.ira.eof)
    company.sahnawaz.listen()
    end = narrow.farewell_to(company.sahnawaz)
    assert end.reason in (Reason.CLOSING, Reason.TOO_SLOW)


# -- who may come in -------------------------------------------------------------------------------


@contextlib.contextmanager
def hall_with(access: Access) -> Iterator[Hall]:
    with contextlib.closing(Hall(access=access)) as hall:
        yield hall


def test_key_that_is_not_on_the_list_is_refused_until_the_operator_allows_it() -> None:
    ira, other = key("ira").public, key("other").public
    keys = InMemory(ira.openssh)
    with hall_with(Access(keys=keys)) as hall:
        company = hall.join("Ira")
        eve = hall.knock("Eve", "other")
        text = f"the key {other.fingerprint} of Eve is not on the server's list of keys"
        assert hall.farewell_to(eve) == Ended(Reason.NOT_ALLOWED, text, by_peer=True)
        hall.until(lambda: any(line.endswith(f"refused: {text}.") for line in hall.screen.lines()))
        assert company.news == []
        hall.type("ALLOW eve")
        hall.until(lambda: hall.shown(words.allowed("eve", other.fingerprint)))
        assert keys.lines == [ira.openssh, f"{other.openssh} Eve"]
        hall.join("Eve", "other")


def test_banned_member_goes_and_stays_out_under_every_name_also_when_it_was_lost() -> None:
    access = Access()
    with hall_with(access) as hall:
        ira, eve = hall.join("Ira"), hall.join("Eve Adams", "other")
        lost = hall.join("Thea", "other")
        lose(hall, lost)
        hall.type("BAN Eve Adams says bad words")
        ended = hall.farewell_to(eve)
        text = words.banned(access.bans()[0])
        assert ended == Ended(Reason.KICKED, text, by_peer=True)
        assert text.endswith(": says bad words")
        hall.until(lambda: MemberLeft("Thea", Reason.KICKED) in ira.news)
        assert hall.come_back(lost).ended == Ended(Reason.KICKED, text, by_peer=True)
        again = hall.knock("Boris", "other")
        assert hall.farewell_to(again) == Ended(Reason.KICKED, text, by_peer=True)
        hall.type("UNBAN Eve Adams")
        hall.until(lambda: not access.bans())
        hall.join("Boris", "other")


def test_member_that_is_banned_before_anybody_was_told_of_it_does_not_come_in() -> None:
    access = Access()
    with hall_with(access) as hall:
        ira = hall.join("Ira")
        eve = hall.knock("Eve", "other")
        hall.until(lambda: hall.home.has("Eve"))
        assert not [one for one in hall.home.members() if one.name == "Eve"]
        hall.type(f"BAN {key('other').public.fingerprint}")
        assert hall.farewell_to(eve).reason is Reason.KICKED
        assert not hall.home.has("Eve")
        hall.join("Thea")
        hall.until(lambda: ira.news)
        assert ira.news == [MemberJoined("Thea")]


def test_somebody_who_was_here_lately_can_be_banned_by_name_and_a_stranger_by_key() -> None:
    access = Access()
    with hall_with(access) as hall:
        leave(hall, hall.join("Eve", "other"))
        hall.type(f"BAN {key('sahnawaz').public.fingerprint}")
        hall.type("BAN eve")
        hall.type("BAN Nobody in particular")
        hall.until(lambda: hall.shown(words.unknown_name("Nobody in particular")))
        assert [ban.name for ban in access.bans()] == ["", "Eve"]
        for owner in ("other", "sahnawaz"):
            assert hall.farewell_to(hall.knock("Thea", owner)).reason is Reason.KICKED


def test_ban_may_have_a_long_reason(hall: Hall) -> None:
    eve = hall.join("Eve", "other")
    hall.console.command("BAN Eve" + " h\u00e4" * 50_000)
    assert hall.farewell_to(eve).reason is Reason.KICKED


def test_ban_puts_out_who_has_not_been_announced_yet(hall: Hall) -> None:
    hall.join("Ira")
    eve = hall.knock("Eve", "other")
    hall.until(lambda: hall.home.has("Eve"))
    assert [member.name for member in hall.home.members()] == ["Ira"]
    hall.console.command("BAN Eve")
    assert hall.farewell_to(eve).reason is Reason.KICKED


def test_name_is_kept_for_its_key_and_saved_soon_after() -> None:
    names = InMemory()
    with hall_with(Access(names=names, keep_days=30)) as hall:
        ira = hall.join("Ira")
        taken = hall.farewell_to(hall.knock("ira", "other"))
        assert taken.text.startswith("the name ira is taken: it has been in use for ")
        leave(hall, ira)
        kept = hall.farewell_to(hall.knock("\u0406ra", "other"))
        assert kept.reason is Reason.NAME_TAKEN
        assert re.fullmatch("the name Ira is taken: another key .* keeps it until .*", kept.text)
        assert names.lines == []
        hall.wait(limits.NAMES_SAVE_SECONDS)
        assert [line.split()[-1] for line in names.lines] == ["Ira"]
        hall.join("Ira")
        hall.type("FORGET Thea")
        hall.until(lambda: hall.shown(words.not_kept("Thea")))


def test_name_in_a_sealed_room_does_not_open_the_one_that_is_kept_in_the_open_room() -> None:
    with hall_with(Access(names=InMemory(), keep_days=30)) as hall:
        leave(hall, hall.join("Ira"))
        hall.join("Ira", "other", RoomKey(bytes(32)))
        assert hall.farewell_to(hall.knock("Ira", "other")).reason is Reason.NAME_TAKEN


def test_names_that_cannot_be_saved_are_tried_again() -> None:
    class Full(InMemory):
        tries = 0

        def append(self, lines: list[str]) -> None:
            self.tries += 1
            if self.tries < 3:
                raise IdentityError("no space left")
            super().append(lines)

    names = Full()
    with hall_with(Access(names=names, keep_days=1)) as hall:
        hall.join("Ira")
        for _ in range(4):
            hall.wait(limits.NAMES_SAVE_SECONDS)
        assert (names.tries, len(names.lines)) == (3, 1)
