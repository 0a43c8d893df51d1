"""The server on the loopback: good and bad company, slow members, the operator, the end."""

import contextlib
import errno
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from chat.client.events import (
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    NoticeReceived,
    Reconnected,
    RoomClosed,
)
from chat.errors import REASONS, Reason
from chat.limits import (
    ACCEPT_PAUSE_SECONDS,
    EPOCH_GRACE_SECONDS,
    FIRST_FRAME_SECONDS,
    GRACE_SECONDS,
    HANDSHAKE_SECONDS,
    LINGER_SECONDS,
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_FRAME_BYTES,
    MAX_NAME_CHARS,
    MAX_TEXT_BYTES,
    MESSAGE_LINES_PER_SECOND,
    PING_SECONDS,
    RATE_BURST_SECONDS,
    REFUSAL_LINES_PER_SECOND,
    SHARE_RENEW_SECONDS,
    SHARE_SECONDS,
    SILENCE_SECONDS,
    X25519_BYTES,
)
from chat.messages import Bye, Ping, Ready, Rekey, Resend
from chat.server import words
from chat.server.admission import Admission
from chat.server.budgets import Account
from chat.server.connection import Connection
from chat.server.doorman import Doorman
from chat.session import Ended, State
from chat.wire import (
    PROTOCOL,
    Event,
    Hello,
    Link,
    Message,
    Pubkey,
    Refused,
    SessionKey,
    block,
    decode_frame,
)
from tests.support.helpers import key
from tests.support.loopback import Hall, Peer, Wire, listen

TAKEN = "it has been in use for [0-9]+ s"
"""Why a name is taken that somebody has who is here."""


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


def frames_of(data: bytes) -> list[bytes]:
    """The frames of a stream that consists of nothing else."""
    frames = []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        assert end <= len(data), "the stream ends inside a frame"
        frames.append(data[:end])
        data = data[end:]
    return frames


class Company:
    """Two members of good conduct, who must not notice what goes on around them."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.ira = hall.join("Ira")
        self.sahnawaz = hall.join("sahnawaz", "sahnawaz")
        hall.until(lambda: self.ira.news)
        hall.screen.clear()
        self.news: list[object] = list(self.ira.news)
        self._said = 0

    def talk(self) -> None:
        """Both say something; both hear both, once and in the same order."""
        self._said += 1
        expected = len(self.ira.heard) + 2
        self.ira.say(f"hello {self._said}")
        self.sahnawaz.say(f"good day {self._said}")
        self.hall.until(lambda: len(self.ira.heard) == len(self.sahnawaz.heard) == expected)
        assert self.ira.heard == self.sahnawaz.heard
        assert sorted(self.ira.heard[-2:]) == [
            f"Ira: hello {self._said}",
            f"sahnawaz: good day {self._said}",
        ]
        assert self.ira.participant.unacknowledged == 0
        assert self.sahnawaz.participant.unacknowledged == 0

    def assert_undisturbed(self) -> None:
        """They still talk, and have noticed nothing at all."""
        self.talk()
        assert self.ira.news == self.news
        assert self.sahnawaz.news == []
        assert self.ira.ended is None
        assert self.sahnawaz.ended is None

    def noticed(self, *news: object) -> None:
        """They still talk, and have noticed this."""
        self.news += news
        self.hall.until(lambda: self.ira.news == self.news)
        self.talk()
        assert self.ira.news == self.news
        assert self.sahnawaz.news == self.news[1:]


@pytest.fixture
def company(hall: Hall) -> Company:
    return Company(hall)


def connection_of(hall: Hall, name: str) -> Connection:
    """The server's end of a member's connection."""
    (connection,) = (
        connection
        for connection in hall.server.connections
        if connection.member is not None and connection.member.name == name
    )
    return connection


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
    peers = [hall.join(f"member {number}") for number in range(4)]
    for number, peer in enumerate(peers):
        peer.say(f"one of {number}", f"two of {number}")
    hall.until(lambda: all(len(peer.heard) == 8 for peer in peers))
    assert len({tuple(peer.heard) for peer in peers}) == 1
    assert hall.server.relayed == 8
    assert [peer.participant.unacknowledged for peer in peers] == [0] * 4


def test_server_never_shows_what_is_said(hall: Hall, company: Company) -> None:
    company.talk()
    shown = "\n".join(hall.screen.lines())
    assert "hello" not in shown
    assert shown.count("Message exchanged") == 2


@pytest.mark.slow
def test_many_who_come_at_once_are_all_in(hall: Hall) -> None:
    peers = [hall.knock(f"member {number}") for number in range(20)]
    hall.until(lambda: all(peer.participant.has_joined for peer in peers))
    peers[7].say("is everybody here?")
    hall.until(lambda: all(peer.heard for peer in peers))
    assert {member.name for member in hall.server.members()} == {
        peer.name_in_room for peer in peers
    }


def test_flood_is_summed_up_at_the_console(hall: Hall, company: Company) -> None:
    company.ira.say(*(f"number {number}" for number in range(500)))
    hall.until(lambda: len(company.sahnawaz.heard) == 500)
    hall.wait(1)
    found = [
        int(
            re.sub(".* Message exchanged", "1", re.sub(r".* (\d+) messages exchanged", r"\1", line))
        )
        for line in hall.screen.lines()
    ]
    assert sum(found) == 500
    assert len(found) <= 3 * (MESSAGE_LINES_PER_SECOND + 1)


def test_member_that_says_goodbye_has_left(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    guest.session.close(Reason.LEFT)
    guest.flush()
    hall.until(lambda: guest.eof)
    assert hall.screen.lines()[-1] == "[+] guest left the server."
    company.noticed(MemberJoined("guest"), MemberLeft("guest", Reason.LEFT))


@pytest.mark.parametrize("way", [Wire.close, Wire.reset, Wire.shut_down])
def test_member_that_goes_without_a_word_has_lost_the_connection(
    hall: Hall, company: Company, way: Callable[[Wire], None]
) -> None:
    guest = hall.join("guest", "other")
    way(guest)
    hall.until(lambda: hall.shown("[!] guest lost the connection: the connection was lost."))
    company.noticed(MemberJoined("guest"), MemberLost("guest"))
    assert len(hall.server.members()) == 3


def test_member_that_goes_in_the_middle_of_a_frame_has_lost_the_connection(
    hall: Hall, company: Company
) -> None:
    guest = hall.join("guest", "other")
    guest.send(guest.frame()[:-1])
    guest.close()
    line = "[!] guest lost the connection: the connection broke in the middle of a frame."
    hall.until(lambda: hall.shown(line))
    company.noticed(MemberJoined("guest"), MemberLost("guest"))


# -- losing the connection, and coming back


def lose(hall: Hall, peer: Peer) -> None:
    """This member's connection breaks."""
    peer.close()
    name = peer.name_in_room
    hall.until(lambda: hall.shown(f"[!] {name} lost the connection: the connection was lost."))


def test_lost_member_that_comes_back_has_missed_nothing(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    guest.say("before")
    hall.until(lambda: guest.heard)
    lose(hall, guest)
    company.ira.say("meanwhile")
    hall.join("another", "server").send_control(Bye(Reason.LEFT, "").encode())
    hall.until(lambda: company.ira.news[-1] == MemberLeft("another", Reason.LEFT))
    company.sahnawaz.say("under a new key")
    hall.until(lambda: not company.sahnawaz.participant.unacknowledged)
    guest.participant.say("said offline", 0)
    back = hall.come_back(guest)
    hall.until(lambda: len(back.heard) == 4)
    assert hall.shown("[+] guest is back.")
    assert back.heard == [
        "guest: before",
        "Ira: meanwhile",
        "sahnawaz: under a new key",
        "guest: said offline",
    ]
    assert back.news == [
        Reconnected(0, new_room=False, awaiting=False),
        MemberJoined("another"),
        MemberLeft("another", Reason.LEFT),
    ]
    hall.until(lambda: company.ira.heard == company.sahnawaz.heard == back.heard)
    assert company.sahnawaz.news == [
        MemberJoined("guest"),
        MemberLost("guest"),
        MemberJoined("another"),
        MemberLeft("another", Reason.LEFT),
        MemberBack("guest"),
    ]


def test_message_that_was_accepted_without_a_word_is_not_said_twice(
    hall: Hall, company: Company
) -> None:
    guest = hall.join("guest", "other")
    guest.deafen()
    guest.say("one", "two")
    hall.until(lambda: len(company.ira.heard) == 2)
    lose(hall, guest)
    back = hall.come_back(guest)
    back.say("three")
    hall.until(lambda: len(company.ira.heard) == 3)
    assert company.ira.heard == back.heard == ["guest: one", "guest: two", "guest: three"]
    assert back.participant.unacknowledged == 0


def test_lost_member_leaves_when_the_grace_is_over(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    lose(hall, guest)
    hall.wait(GRACE_SECONDS - 1)
    company.noticed(MemberJoined("guest"), MemberLost("guest"))
    hall.wait(1)
    line = "[!] guest left the server: the connection was lost."
    hall.until(lambda: hall.shown(line))
    company.noticed(MemberLeft("guest", Reason.LOST))
    assert hall.screen.lines().count(line) == 1
    back = hall.come_back(guest)
    missed = len(company.ira.heard)
    assert back.news[-1] == Reconnected(missed, new_room=False, awaiting=False)
    assert back.welcome.member != guest.welcome.member
    company.noticed(MemberJoined("guest"))


def test_without_a_grace_a_lost_member_leaves_at_once() -> None:
    with contextlib.closing(Hall(grace=0)) as hall:
        company = Company(hall)
        hall.join("guest", "other").close()
        company.noticed(MemberJoined("guest"), MemberLeft("guest", Reason.LOST))
        assert hall.shown("[!] guest left the server: the connection was lost.")


def test_lost_member_can_be_put_out(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    lose(hall, guest)
    hall.type("KICK guest")
    company.noticed(MemberJoined("guest"), MemberLost("guest"), MemberLeft("guest", Reason.KICKED))
    assert hall.shown("[!] guest left the server: put out by the server's operator.")


def test_member_whose_old_connection_seems_alive_takes_it_over(
    hall: Hall, company: Company
) -> None:
    guest = hall.join("guest", "other")
    back = hall.come_back(guest)
    hall.until(lambda: guest.eof)
    assert guest.ended == Ended(Reason.REPLACED, REASONS[Reason.REPLACED], by_peer=True)
    back.say("here I am")
    hall.until(lambda: company.ira.heard == ["guest: here I am"])
    assert company.ira.news == [*company.news, MemberJoined("guest")], "nobody else need know"
    guest.close()
    hall.turns(5)
    assert company.ira.news == [*company.news, MemberJoined("guest")]


def test_member_takes_its_name_over_by_its_key_alone(hall: Hall, company: Company) -> None:
    """Its program was started anew, and knows no token."""
    guest = hall.join("guest", "other")
    again = hall.join("GUEST", "other")
    hall.until(lambda: guest.eof)
    assert guest.ended == Ended(Reason.REPLACED, REASONS[Reason.REPLACED], by_peer=True)
    assert again.welcome.member != guest.welcome.member
    company.noticed(
        MemberJoined("guest"), MemberLeft("guest", Reason.REPLACED), MemberJoined("GUEST")
    )
    assert len(hall.server.members()) == 3


def test_name_that_reads_the_same_and_cannot_be_used_puts_nobody_out(
    hall: Hall, company: Company
) -> None:
    guest = hall.join("guest", "other")
    again = hall.knock("guest" + "\ufe0f" * MAX_NAME_CHARS, "other")
    hall.until(lambda: again.eof)
    assert again.ended is not None
    assert again.ended.reason is Reason.NAME_INVALID
    assert guest.ended is None
    company.noticed(MemberJoined("guest"))


@pytest.mark.parametrize("lost", [False, True], ids=["present", "lost"])
def test_another_key_never_takes_a_name_over(hall: Hall, company: Company, lost: bool) -> None:
    guest = hall.join("guest", "other")
    if lost:
        lose(hall, guest)
        hall.wait(5)
    eve = hall.knock("guest", "server")
    hall.until(lambda: eve.eof)
    assert eve.ended is not None
    assert eve.ended.reason is Reason.NAME_TAKEN
    why = "guest lost the connection 5 s ago; the name is free in 55 s" if lost else TAKEN
    assert re.fullmatch(f"the name guest is taken: {why}", eve.ended.text)
    assert guest.ended is None
    company.noticed(MemberJoined("guest"), *([MemberLost("guest")] if lost else []))


def test_another_name_never_resumes_even_with_key_and_token(hall: Hall, company: Company) -> None:
    """It counts as READY: who asks for it is a new member."""
    guest = hall.join("guest", "other")
    lose(hall, guest)
    guest.name_in_room = guest.participant._name = "eve"
    eve = hall.come_back(guest)
    assert eve.welcome.member != guest.welcome.member
    company.noticed(MemberJoined("guest"), MemberLost("guest"), MemberJoined("eve"))


def test_another_key_never_resumes_even_with_the_token(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    lose(hall, guest)
    eve = hall.come_back(guest, key_name="server")
    assert eve.ended is not None
    assert eve.ended.reason is Reason.NAME_TAKEN
    assert eve.controls == []
    company.noticed(MemberJoined("guest"), MemberLost("guest"))


def test_loss_that_sending_shows_is_told_to_the_others_in_the_same_turn(
    hall: Hall, company: Company
) -> None:
    def send(_data: object, _flags: int = 0) -> int:
        raise BrokenPipeError(errno.EPIPE, "broken pipe")

    hall.join("guest", "other")
    connection_of(hall, "guest").transport.send = send
    unsent: list[int] = []
    hall.reactor.before_wait(lambda: unsent.append(hall.server.log.end - hall.server._sent_end))
    company.ira.say("is everybody here?")
    hall.until(lambda: company.sahnawaz.heard)
    company.news += [MemberJoined("guest"), MemberLost("guest")]
    hall.until(lambda: company.ira.news == company.news)
    assert set(unsent) == {0}


# -- signs of life


def test_ping_is_answered(hall: Hall, company: Company) -> None:
    before = len(company.ira.received)
    company.ira.send_control(Ping().encode())
    hall.until(lambda: len(company.ira.received) > before)
    company.assert_undisturbed()


def test_silent_member_has_lost_the_connection(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    hall.wait(SILENCE_SECONDS - 1)
    company.talk()
    hall.wait(1)
    hall.until(lambda: guest.eof)
    assert guest.ended == Ended(Reason.TIMEOUT, REASONS[Reason.TIMEOUT], by_peer=True)
    assert hall.shown("[!] guest lost the connection: was silent for too long.")
    company.noticed(MemberJoined("guest"), MemberLost("guest"))


def test_member_that_says_nothing_but_ping_stays(hall: Hall, company: Company) -> None:
    guest = hall.join("guest", "other")
    for _ in range(5):
        hall.wait(PING_SECONDS)
        guest.send_control(Ping().encode())
        company.talk()
    company.noticed(MemberJoined("guest"))


# -- members that are too fast


def test_member_that_is_too_fast_is_read_more_slowly_and_loses_nothing() -> None:
    with contextlib.closing(Hall(rate=10)) as hall:
        company = Company(hall)
        texts = [str(number) for number in range(200)]
        begun = hall.reactor.clock()
        for text in texts:
            company.ira.say(text)
            hall.turns(1)
        company.sahnawaz.say("and I?")
        hall.until(lambda: "sahnawaz: and I?" in company.sahnawaz.heard)
        assert company.ira.participant.unacknowledged > 0, "it was not held up: this tests nothing"
        while company.ira.participant.unacknowledged:
            hall.wait(0.1)
        heard = [line for line in company.sahnawaz.heard if line.startswith("Ira: ")]
        assert heard == [f"Ira: {text}" for text in texts]
        assert company.ira.resends == []
        # What is read at the end is let through before it is paid for.
        assert hall.reactor.clock() - begun > (200 - 10 * RATE_BURST_SECONDS) / 10 / 2
        company.assert_undisturbed()


@pytest.mark.slow
def test_member_that_is_held_up_for_long_is_not_taken_for_dead() -> None:
    with contextlib.closing(Hall(rate=0.1)) as hall:
        ira = hall.join("Ira")
        begun = hall.reactor.clock()
        ira.say(*["x" * 8000] * 60)
        while ira.participant.unacknowledged:
            hall.wait(1)
        assert hall.reactor.clock() - begun > SILENCE_SECONDS, "too short: this tests nothing"
        assert ira.ended is None
        assert ira.news == []


def test_without_a_rate_nobody_is_held_up() -> None:
    with contextlib.closing(Hall(rate=0)) as hall:
        ira = hall.join("Ira")
        for number in range(1000):
            ira.say(str(number))
        begun = hall.reactor.clock()
        hall.until(lambda: not ira.participant.unacknowledged)
        assert hall.reactor.clock() - begun < 1


# -- bad company before the handshake is done


def a_share() -> bytes:
    """The public share of the X25519 base point."""
    return (9).to_bytes(X25519_BYTES, "little")


def some(frame_type: int, size: int) -> bytes:
    return block(bytes((frame_type,)) + bytes(size))


STRANGERS = {
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "a frame of 18247 bytes is too long"),
    "TLS": (
        bytes.fromhex("16030102000100 01fc0303".replace(" ", "")) + bytes(500),
        "a frame of 5637 bytes is too long",
    ),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", "a frame of 21333 bytes is too long"),
    "zeros": (bytes(100), "an empty frame"),
    "ones": (b"\xff" * 100, "a frame of 65537 bytes is too long"),
    "just too long": (
        some(Pubkey.TYPE, MAX_HANDSHAKE_FRAME_BYTES - 2),
        f"a frame of {MAX_HANDSHAKE_FRAME_BYTES + 1} bytes is too long",
    ),
    "too long, announced only": (
        (MAX_HANDSHAKE_FRAME_BYTES - 1).to_bytes(2, "big"),
        f"a frame of {MAX_HANDSHAKE_FRAME_BYTES + 1} bytes is too long",
    ),
    "unknown type": (some(0x99, 3), "unknown frame type 0x99"),
    "type zero": (some(0x00, 3), "unknown frame type 0x00"),
    "HELLO": (
        Hello(PROTOCOL, a_share(), 0, b"", b"").to_wire(),
        "a Hello frame is out of place in AWAIT_PUBKEY",
    ),
    "SESSION_KEY": (
        SessionKey(bytes(96)).to_wire(),
        "a SessionKey frame is out of place in AWAIT_PUBKEY",
    ),
    "REFUSED": (
        Refused(Reason.FULL, "").to_wire(),
        "a Refused frame is out of place in AWAIT_PUBKEY",
    ),
    "LINK": (Link(bytes(96)).to_wire(), "a Link frame is out of place in AWAIT_PUBKEY"),
    "MESSAGE": (
        Message(1, 1, 1, bytes(96)).to_wire(),
        "a Message frame is out of place in AWAIT_PUBKEY",
    ),
    "EVENT": (Event(1, 0, 1, bytes(96)).to_wire(), "a Event frame is out of place in AWAIT_PUBKEY"),
    "PUBKEY without a body": (some(Pubkey.TYPE, 0), "a frame is too short for its fields"),
    "PUBKEY with half a share": (some(Pubkey.TYPE, 16), "a frame is too short for its fields"),
    "share of low order": (
        Pubkey(bytes(X25519_BYTES), bytes(200)).to_wire(),
        "the X25519 share cannot be used",
    ),
    "sealed with nothing": (
        Pubkey(a_share(), bytes(200)).to_wire(),
        "a sealed frame does not open",
    ),
    "nothing sealed": (Pubkey(a_share(), b"").to_wire(), "a sealed frame does not open"),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_stranger_with_bad_manners_is_refused_with_a_word_and_nobody_notices(
    hall: Hall, company: Company, what: str
) -> None:
    data, text = STRANGERS[what]
    stranger = hall.connect()
    hall.until(lambda: stranger.received)
    stranger.send(data)
    hall.until(lambda: stranger.eof)
    hello, refused = map(decode_frame, frames_of(bytes(stranger.received)))
    assert isinstance(hello, Hello)
    assert refused == Refused(Reason.PROTOCOL, text)
    assert hall.screen.lines() == [f"[!] {stranger.name} was refused: {text}."]
    company.assert_undisturbed()


@pytest.mark.parametrize("what", ["HTTP", "unknown type", "sealed with nothing"])
def test_bad_manners_byte_by_byte_are_the_same(hall: Hall, company: Company, what: str) -> None:
    data, text = STRANGERS[what]
    stranger = hall.connect()
    for byte in data:
        stranger.send(bytes((byte,)))
        hall.turns(1)
        if stranger.eof:
            break
    hall.until(lambda: stranger.eof)
    assert decode_frame(frames_of(bytes(stranger.received))[-1]) == Refused(Reason.PROTOCOL, text)
    company.assert_undisturbed()


def refusals(hall: Hall) -> int:
    """For how many connections that came to nothing the lines at the console stand."""
    found = [
        re.search(r"^\[!\] (?:(\d+) more|\S+ (?:was refused|went away):)", line)
        for line in hall.screen.lines()
    ]
    return sum(int(match[1] or 1) for match in found if match)


def test_random_bytes_harm_nobody(hall: Hall, company: Company) -> None:
    source = random.Random(1)
    strangers = []
    for _ in range(40):
        stranger = hall.connect()
        stranger.send(source.randbytes(source.randrange(1, 600)))
        stranger.shut_down()
        strangers.append(stranger)
    hall.until(lambda: all(stranger.eof for stranger in strangers))
    company.assert_undisturbed()
    hall.wait(1)
    assert refusals(hall) == 40
    refused = [line for line in hall.screen.lines() if line.startswith("[!]")]
    assert len(refused) <= REFUSAL_LINES_PER_SECOND + 2


def test_flood_of_garbage_is_not_buffered(hall: Hall, company: Company) -> None:
    stranger = hall.connect()
    stranger.send(bytes(1 << 20))
    hall.until(lambda: stranger.eof or not stranger.unsent)
    hall.until(lambda: any("an empty frame" in line for line in hall.screen.lines()))
    company.assert_undisturbed()


@pytest.mark.parametrize("before", [b"", b"\x01\x02\x02", b"\x00"])
def test_silent_stranger_is_refused_in_time(hall: Hall, company: Company, before: bytes) -> None:
    stranger = hall.connect()
    stranger.send(before)
    hall.until(lambda: stranger.received)
    hall.wait(FIRST_FRAME_SECONDS - 1)
    assert not stranger.eof
    assert hall.screen.lines() == []
    hall.wait(1)
    hall.until(lambda: stranger.eof)
    refused = decode_frame(frames_of(bytes(stranger.received))[-1])
    assert refused == Refused(Reason.TIMEOUT, "the handshake took too long")
    assert hall.screen.lines() == [f"[!] {stranger.name} was refused: the handshake took too long."]
    company.assert_undisturbed()


def test_stranger_that_dribbles_is_refused_in_time(hall: Hall, company: Company) -> None:
    stranger = hall.connect()
    stranger.send(b"\x01\x00\x02")
    for _ in range(int(HANDSHAKE_SECONDS) + 1):
        stranger.send(b"x")
        hall.wait(1)
    hall.until(lambda: stranger.eof)
    refused = decode_frame(frames_of(bytes(stranger.received))[-1])
    assert refused == Refused(Reason.TIMEOUT, "the handshake took too long")
    company.assert_undisturbed()


def test_stranger_that_does_not_prove_its_key_is_refused_in_time(
    hall: Hall, company: Company
) -> None:
    eve = hall.knock("Eve", "other")
    eve.ready = False
    hall.until(lambda: eve.session.state is State.RELAY)
    hall.turns(5)
    assert len(hall.server.members()) == 2
    hall.wait(HANDSHAKE_SECONDS)
    hall.until(lambda: eve.eof)
    assert hall.screen.lines() == [f"[!] {eve.name} was refused: the handshake took too long."]
    company.assert_undisturbed()


def is_reset(wire: Wire) -> bool:
    """Whether the other end of the connection is closed for good."""
    try:
        wire.socket.send(b"still here?")
    except ConnectionError:
        return True
    return False


def test_stranger_that_refuses_the_farewell_is_closed_all_the_same(
    hall: Hall, company: Company
) -> None:
    stranger = hall.connect()
    hall.until(lambda: stranger.received)
    stranger.send(bytes(2))
    hall.until(lambda: hall.screen.lines())
    assert stranger.name in hall.screen.lines()[0]
    hall.until(lambda: stranger.eof)
    hall.wait(LINGER_SECONDS)
    hall.until(lambda: is_reset(stranger))
    company.assert_undisturbed()


@pytest.mark.parametrize("way", [Wire.close, Wire.reset, Wire.shut_down])
def test_stranger_that_says_nothing_and_goes_is_not_worth_a_line(
    hall: Hall, company: Company, way: Callable[[Wire], None]
) -> None:
    """Monitoring looks all day long whether somebody listens."""
    way(hall.connect())
    hall.until(lambda: len(hall.server.connections) == 3)
    hall.until(lambda: len(hall.server.connections) == 2)
    hall.wait(2)
    assert hall.screen.lines() == []
    company.assert_undisturbed()


def test_stranger_that_goes_in_the_middle_of_its_pubkey_is_forgotten(
    hall: Hall, company: Company
) -> None:
    stranger = hall.connect()
    name = stranger.name
    stranger.send(STRANGERS["sealed with nothing"][0][:-1])
    stranger.close()
    hall.until(lambda: hall.screen.lines())
    assert hall.screen.lines() == [
        f"[!] {name} went away: the connection broke in the middle of a frame."
    ]
    company.assert_undisturbed()


@pytest.mark.parametrize(
    ("control", "text"),
    [
        (Bye(Reason.LEFT, "").encode(), "the first control message is neither READY nor RESUME"),
        (Resend(1).encode(), "the first control message is neither READY nor RESUME"),
        (b"\x77", "unknown control message 0x77"),
        (b"", "a frame is too short for its fields"),
        (Ready().encode() + b"\0\0", "left-over bytes after Ready"),
    ],
)
def test_first_word_that_is_not_ready_is_refused(
    hall: Hall, company: Company, control: bytes, text: str
) -> None:
    eve = hall.knock("Eve", "other")
    eve.ready = False
    # The counter of its first frame, which READY would have had.
    hall.until(lambda: eve.session.state is State.RELAY)
    assert eve.session._link is not None
    eve.session._link._sent = 0
    eve.send_control(control)
    hall.until(lambda: eve.eof)
    assert hall.screen.lines() == [f"[!] {eve.name} was refused: {text}."]
    company.assert_undisturbed()


def test_second_pubkey_is_refused(hall: Hall, company: Company) -> None:
    eve = hall.knock("Eve", "other")
    eve.ready = False
    hall.until(lambda: eve.session.state is State.RELAY)
    eve.send(STRANGERS["sealed with nothing"][0])
    hall.until(lambda: eve.eof)
    assert hall.screen.lines() == [
        f"[!] {eve.name} was refused: a Pubkey frame is out of place in SEND_SESSION_KEY."
    ]
    company.assert_undisturbed()


@pytest.mark.parametrize(
    ("name", "reason", "text"),
    [
        ("ira", Reason.NAME_TAKEN, f"the name ira is taken: {TAKEN}"),
        ("\uff29\uff32\uff21", Reason.NAME_TAKEN, f"the name \uff29\uff32\uff21 is taken: {TAKEN}"),
        ("", Reason.NAME_INVALID, "a name has at least one character"),
        ("\x1b[2J", Reason.NAME_INVALID, "a name has printable characters only"),
        ("a\nb", Reason.NAME_INVALID, "a name has printable characters only"),
        (
            "x" * (MAX_NAME_CHARS + 1),
            Reason.NAME_INVALID,
            f"a name has at most {MAX_NAME_CHARS} characters",
        ),
        (
            "x" * 3000,
            Reason.NAME_INVALID,
            f"a name has at most {MAX_NAME_CHARS} characters",
        ),
    ],
)
def test_name_that_cannot_be_had_is_refused_on_the_link(
    hall: Hall, company: Company, name: str, reason: Reason, text: str
) -> None:
    eve = hall.knock(name, "other")
    hall.until(lambda: eve.eof)
    assert eve.ended is not None
    assert eve.ended.reason is reason
    assert re.fullmatch(text, eve.ended.text)
    assert hall.screen.lines() == [f"[!] {eve.name} was refused: {eve.ended.text}."]
    assert eve.ended.text.encode() not in eve.received
    company.assert_undisturbed()


def test_full_room_refuses(hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.server.room.MAX_MEMBERS", 2)
    late = hall.knock("late", "other")
    hall.until(lambda: late.eof)
    assert late.ended == Ended(Reason.FULL, REASONS[Reason.FULL], by_peer=True)
    company.assert_undisturbed()
    company.sahnawaz.send_control(Bye(Reason.LEFT, "").encode())
    hall.until(lambda: len(hall.server.members()) == 1)
    hall.join("next", "other")


# -- bad company in the room


def sealed_with_a_flipped_bit(eve: Peer) -> bytes:
    eve.session.send(Ready().encode())
    frame = bytearray(eve.session.data_to_send())
    frame[40] ^= 1
    return bytes(frame)


def replayed(eve: Peer) -> bytes:
    """The server has opened READY before; the same bytes again."""
    assert eve.session._link is not None
    eve.session._link._sent = 0
    eve.session.send(Ready().encode())
    return eve.session.data_to_send()


def reordered(eve: Peer) -> bytes:
    eve.session.send(Bye(Reason.LEFT, "").encode())
    first = eve.session.data_to_send()
    eve.session.send(Bye(Reason.LEFT, "").encode())
    return eve.session.data_to_send() + first


def controlled(encoded: bytes) -> Callable[[Peer], bytes]:
    def make(eve: Peer) -> bytes:
        eve.session.send(encoded)
        return eve.session.data_to_send()

    return make


def raw(data: bytes) -> Callable[[Peer], bytes]:
    return lambda _eve: data


OFFENCES: dict[str, tuple[Callable[[Peer], bytes], str]] = {
    "in another's name": (
        lambda eve: eve.frame(sender=eve.welcome.member - 1),
        "a message in another member's name",
    ),
    "in the server's name": (
        lambda eve: Message(eve.welcome.epoch, 0, 1, bytes(96)).to_wire(),
        "a message in another member's name",
    ),
    "in nobody's name": (
        lambda eve: eve.frame(sender=1 << 31),
        "a message in another member's name",
    ),
    "second in another's name": (
        lambda eve: eve.frame() + eve.frame(sender=eve.welcome.member - 1, seq=2),
        "a message in another member's name",
    ),
    "under a key to come": (
        lambda eve: eve.frame(epoch=eve.welcome.epoch + 1),
        "a message under a key that the member does not have",
    ),
    "under a key from before": (
        lambda eve: eve.frame(epoch=eve.welcome.epoch - 1),
        "a message under a key that the member does not have",
    ),
    "message without content": (
        lambda eve: eve.frame(sealed=b""),
        "a frame is too short for its fields",
    ),
    "message without a header": (raw(some(Message.TYPE, 0)), "a frame is too short for its fields"),
    "message with half a header": (
        raw(some(Message.TYPE, 9) + some(Message.TYPE, 50)),
        "a frame is too short for its fields",
    ),
    "event": (
        lambda eve: Event(eve.welcome.epoch, 0, 99, bytes(96)).to_wire(),
        "a Event frame is out of place in RELAY",
    ),
    "HELLO": (raw(some(Hello.TYPE, 40)), "a Hello frame is out of place in RELAY"),
    "PUBKEY": (raw(some(Pubkey.TYPE, 40)), "a Pubkey frame is out of place in RELAY"),
    "unknown type": (raw(some(0x7F, 40)), "unknown frame type 0x7f"),
    "empty frame": (raw(bytes(2)), "an empty frame"),
    "longest length": (raw(b"\xff\xff"), f"a frame of {MAX_FRAME_BYTES + 2} bytes is too long"),
    "forged control": (raw(Link(bytes(96)).to_wire()), "a sealed frame does not open"),
    "short control": (raw(Link(b"").to_wire()), "a sealed frame does not open"),
    "altered control": (sealed_with_a_flipped_bit, "a sealed frame does not open"),
    "replayed control": (replayed, "a sealed frame does not open"),
    "reordered controls": (reordered, "a sealed frame does not open"),
    "control of the server's": (
        controlled(Rekey(2, bytes(32)).encode()),
        "a Rekey is out of place",
    ),
    "answer to no question": (controlled(Resend(1).encode()), "a Resend is out of place"),
    "second READY": (controlled(Ready().encode()), "a Ready is out of place"),
    "unknown control": (controlled(b"\x77"), "unknown control message 0x77"),
    "empty control": (controlled(b""), "a frame is too short for its fields"),
    "control with left-over bytes": (
        controlled(Ready().encode() + b"\0"),
        "left-over bytes after Ready",
    ),
    "goodbye without a reason": (controlled(b"\x06\x63\x00\x00"), "unknown reason 99"),
    "goodbye that is not text": (
        controlled(b"\x06\x01\x00\x01\xff"),
        "a text is not UTF-8",
    ),
}


@pytest.mark.parametrize("what", OFFENCES)
def test_member_that_breaks_the_protocol_is_put_out_with_a_word_and_the_others_are_told(
    hall: Hall, company: Company, what: str
) -> None:
    make, text = OFFENCES[what]
    eve = hall.join("Eve", "other")
    eve.send(make(eve))
    hall.until(lambda: eve.eof)
    assert eve.ended == Ended(Reason.PROTOCOL, text, by_peer=True)
    assert hall.screen.lines()[-1] == f"[!] Eve left the server: {text}."
    company.news += [MemberJoined("Eve")]
    hall.until(lambda: company.ira.news[-1] == MemberLeft("Eve", Reason.PROTOCOL))
    company.talk()
    # Sealed with nothing, what Eve said before may at most be something that does not open.
    assert company.ira.ended is None
    assert MemberLeft("Eve", Reason.PROTOCOL) in company.sahnawaz.news


@pytest.mark.parametrize("what", ["in another's name", "forged control", "event", "empty frame"])
def test_others_see_nothing_of_the_offence_itself(hall: Hall, company: Company, what: str) -> None:
    make, _ = OFFENCES[what]
    eve = hall.join("Eve", "other")
    eve.send(make(eve))
    company.noticed(MemberJoined("Eve"), MemberLeft("Eve", Reason.PROTOCOL))


@pytest.mark.parametrize("what", ["unknown type", "in another's name"])
def test_what_follows_an_offence_is_not_relayed(hall: Hall, company: Company, what: str) -> None:
    make, _ = OFFENCES[what]
    eve = hall.join("Eve", "other")
    eve.participant.say("good", 0)
    good = eve.participant.data_to_send()
    eve.participant.say("too late", 0)
    late = eve.participant.data_to_send()
    ping = controlled(Ping().encode())
    eve.send(good + make(eve) + ping(eve) + late)
    hall.until(lambda: "Eve: good" in company.ira.heard)
    hall.until(lambda: MemberLeft("Eve", Reason.PROTOCOL) in company.ira.news)
    hall.turns(5)
    assert company.ira.heard == company.sahnawaz.heard == ["Eve: good"]


def test_offender_that_asked_for_something_is_told_why_it_is_put_out(
    hall: Hall, company: Company
) -> None:
    """A message out of sequence, which is answered, and an offence in the same breath."""
    eve = hall.join("Eve", "other")
    eve.send(eve.frame(seq=5) + some(0x7F, 1))
    hall.until(lambda: eve.eof)
    assert eve.ended == Ended(Reason.PROTOCOL, "unknown frame type 0x7f", by_peer=True)


def test_word_before_the_welcome_is_an_offence_and_nobody_hears_of_it(
    hall: Hall, company: Company
) -> None:
    """It has come and gone before anybody was told."""
    eve = hall.knock("Eve", "other")
    eve.ready = False
    hall.until(lambda: eve.session.state is State.RELAY)
    assert eve.session._link is not None
    eve.session._link._sent = 0
    eve.session.send(Ready().encode())
    eve.send(eve.session.data_to_send() + Message(1, 3, 1, bytes(96)).to_wire())
    hall.until(lambda: eve.eof)
    assert eve.ended == Ended(Reason.PROTOCOL, "a message before the welcome", by_peer=True)
    company.assert_undisturbed()


def test_message_out_of_sequence_is_asked_for_once_and_then_said(
    hall: Hall, company: Company
) -> None:
    eve = hall.join("Eve", "other")
    for text in ("one", "two", "three"):
        eve.participant.say(text, 0)
    first, second, third = frames_of(eve.participant.data_to_send())
    eve.send(second + third + second)
    hall.until(lambda: eve.resends)
    hall.until(lambda: len(eve.heard) == 3)
    assert eve.resends == [1]
    assert eve.heard == ["Eve: one", "Eve: two", "Eve: three"]
    eve.send(first + second)
    eve.say("four")
    hall.until(lambda: len(company.ira.heard) == 4)
    assert company.ira.heard[-1] == "Eve: four"
    assert eve.resends == [1]
    assert company.ira.news == [*company.news, MemberJoined("Eve")]


def test_message_under_a_key_of_long_ago_is_said_again_under_the_new_one(
    hall: Hall, company: Company
) -> None:
    eve = hall.join("Eve", "other")
    eve.participant.say("late", 0)
    late = eve.participant.data_to_send()
    hall.join("guest", "server")
    hall.wait(EPOCH_GRACE_SECONDS + 1)
    eve.send(late)
    hall.until(lambda: "Eve: late" in company.sahnawaz.heard)
    assert eve.resends == [1]
    assert company.ira.news == [*company.news, MemberJoined("Eve"), MemberJoined("guest")]


def goodbye(hall: Hall, eve: Peer, reason: Reason, text: str) -> str:
    """What the console shows of a member that says goodbye like this."""
    hall.screen.clear()
    eve.send_control(Bye(reason, text).encode())
    hall.until(lambda: eve.eof)
    (line,) = hall.screen.lines()
    return line


@pytest.mark.parametrize("reason", set(Reason) - {Reason.LEFT})
def test_member_that_says_goodbye_for_any_reason_has_left(
    hall: Hall, company: Company, reason: Reason
) -> None:
    """Why somebody was put out is the server's to say; nor is a place kept for who goes."""
    eve = hall.join("Eve", "other")
    assert goodbye(hall, eve, reason, "put out Ira") == "[+] Eve left the server."
    company.noticed(MemberJoined("Eve"), MemberLeft("Eve", Reason.LEFT))


def flood(hall: Hall, peer: Peer, size: int) -> int:
    """Let a member say so many bytes in long messages, and hear them all; how many they were."""
    count = size // 8000 + 1
    for _ in range(count):
        peer.say("x" * 8000)
        hall.until(lambda: not peer.participant.unacknowledged)
    return count


WINDOW = 128 * 1024


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    """A server that keeps little of its log, and does not mind how fast it is filled."""
    monkeypatch.setattr("chat.server.server.WINDOW_BYTES", WINDOW)
    monkeypatch.setattr("chat.transport.SEND_BYTES", WINDOW // 32)
    with contextlib.closing(Hall(rate=0)) as hall:
        yield hall


def test_member_that_pretends_to_be_the_closing_server_harms_nobody(narrow: Hall) -> None:
    """It lags behind, says goodbye like that, and reads on when the log has gone further."""
    company = Company(narrow)
    eve = narrow.join("Eve", "other")
    eve.deafen()
    flood(narrow, company.ira, WINDOW)
    eve.send_control(Bye(Reason.CLOSING, "").encode())
    narrow.until(lambda: len(narrow.server.members()) == 2)
    flood(narrow, company.ira, 2 * WINDOW)
    eve.listen()
    narrow.until(lambda: eve.eof)
    company.ira.say("still here?")
    narrow.until(lambda: company.sahnawaz.heard[-1] == "Ira: still here?")


# -- slow members


def leave(hall: Hall, peer: Peer) -> None:
    """This member leaves, so that the others get a new key."""
    peer.send_control(Bye(Reason.LEFT, "").encode())
    hall.until(lambda: peer.eof)


def test_slow_member_is_cut_off_with_a_word_and_comes_back_with_an_honest_gap(
    narrow: Hall,
) -> None:
    company = Company(narrow)
    slow = narrow.join("slow", "other")
    slow.deafen()
    slow.participant.say("not lost", 0)
    said = flood(narrow, company.ira, 4 * WINDOW)
    narrow.until(
        lambda: narrow.shown("[!] slow lost the connection: fell too far behind the conversation.")
    )
    slow.listen()
    narrow.until(lambda: slow.eof)
    assert slow.ended == Ended(Reason.TOO_SLOW, REASONS[Reason.TOO_SLOW], by_peer=True)
    heard = len(slow.heard)
    assert 0 < heard < said
    assert slow.news == []
    narrow.until(lambda: len(company.sahnawaz.heard) == said)
    assert company.ira.news == [*company.news, MemberJoined("slow"), MemberLost("slow")]
    assert company.sahnawaz.news == company.ira.news[1:]
    back = narrow.come_back(slow)
    narrow.until(lambda: company.ira.heard[-1] == "slow: not lost")
    assert back.news == [Reconnected(said - heard, new_room=False, awaiting=False)]
    assert back.welcome.member == slow.welcome.member
    company.ira.say("welcome back")
    narrow.until(lambda: back.heard[heard:] == ["slow: not lost", "Ira: welcome back"])
    assert company.sahnawaz.news == [MemberJoined("slow"), MemberLost("slow"), MemberBack("slow")]


def test_member_that_falls_behind_within_the_window_misses_nothing(narrow: Hall) -> None:
    company = Company(narrow)
    slow = narrow.join("slow", "other")
    slow.deafen()
    said = flood(narrow, company.ira, WINDOW // 2)
    leave(narrow, narrow.join("guest", "server"))
    company.ira.say("under a new key")
    narrow.until(lambda: company.ira.heard[-1] == "Ira: under a new key")
    slow.listen()
    narrow.until(lambda: len(slow.heard) == said + 1)
    assert slow.heard == company.ira.heard
    assert slow.news == [MemberJoined("guest"), MemberLeft("guest", Reason.LEFT)]
    slow.say("here I am")
    narrow.until(lambda: company.ira.heard[-1] == "slow: here I am")


@pytest.mark.parametrize("reason", [Reason.TOO_SLOW, Reason.KICKED])
def test_farewell_opens_for_a_slow_member_although_a_new_key_never_reached_it(
    narrow: Hall, reason: Reason
) -> None:
    company = Company(narrow)
    slow = narrow.join("slow", "other")
    slow.deafen()
    flood(narrow, company.ira, WINDOW // 2)
    leave(narrow, narrow.join("guest", "server"))
    shown = narrow.screen.lines
    if reason is Reason.KICKED:
        narrow.type("KICK slow")
    else:
        flood(narrow, company.ira, 4 * WINDOW)
    narrow.until(lambda: any(line.endswith(f"{REASONS[reason]}.") for line in shown()))
    slow.listen()
    narrow.until(lambda: slow.eof)
    assert slow.ended == Ended(reason, REASONS[reason], by_peer=True)


def test_member_that_takes_none_of_its_new_keys_is_cut_off(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.server.connection.MAX_SPLICES", 3)
    monkeypatch.setattr("chat.transport.SEND_BYTES", WINDOW // 32)
    slow = hall.join("slow", "other")
    slow.deafen()
    flood(hall, company.ira, WINDOW)
    for _ in range(4):
        assert not any("slow lost" in line for line in hall.screen.lines())
        leave(hall, hall.join("guest", "server"))
        hall.wait(1)
    assert hall.shown("[!] slow lost the connection: fell too far behind the conversation.")
    company.ira.say("are we two?")
    hall.until(lambda: company.sahnawaz.heard[-1] == "Ira: are we two?")


def test_answer_that_cannot_leave_yet_waits_once_however_much_the_member_says(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.server.connection.MAX_SPLICES", 3)
    monkeypatch.setattr("chat.transport.SEND_BYTES", WINDOW // 32)
    slow = hall.join("slow", "other")
    slow.deafen()
    flood(hall, company.ira, WINDOW)
    assert connection_of(hall, "slow").transport.writing
    slow.send_control(Ping().encode())
    for number in range(10):
        slow.participant.say(f"number {number}", 0)
        slow.flush()
        hall.until(lambda number=number: f"slow: number {number}" in company.ira.heard)  # type: ignore[misc]
    assert slow.ended is None
    slow.listen()
    hall.until(lambda: slow.heard == company.ira.heard)
    assert company.ira.news == [*company.news, MemberJoined("slow")]


def test_member_that_is_behind_keeps_nobody_waiting(hall: Hall, company: Company) -> None:
    slow = hall.join("slow", "other")
    slow.deafen()
    flood(hall, company.ira, 1 << 20)
    hall.until(lambda: company.sahnawaz.heard == company.ira.heard)
    slow.listen()
    hall.until(lambda: slow.heard == company.ira.heard)
    assert slow.ended is None


# -- accepting


class FlakyListener(socket.socket):
    """A listening socket whose `accept` fails with the errors that it is given."""

    failures: list[int]
    resend_pending = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.resend_pending += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.fixture
def flaky() -> Iterator[tuple[Hall, FlakyListener]]:
    listener = FlakyListener(fileno=listen("127.0.0.1", 0).detach())
    listener.failures = []
    with contextlib.closing(Hall(listener)) as hall:
        yield hall, listener


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_server_without_descriptors_says_so_once_pauses_and_goes_on(
    flaky: tuple[Hall, FlakyListener], number: int
) -> None:
    hall, listener = flaky
    company = Company(hall)
    listener.failures = [number] * 2
    resend_pending = listener.resend_pending
    late = hall.connect()
    hall.until(lambda: hall.screen.lines())
    hall.turns(5)
    assert listener.resend_pending == resend_pending + 1, "it must not ask again and again"
    hall.wait(ACCEPT_PAUSE_SECONDS)
    hall.until(lambda: not listener.failures)
    assert not late.received
    assert hall.screen.lines() == ["[!] No descriptors are left: new connections have to wait."]
    company.assert_undisturbed()
    hall.wait(ACCEPT_PAUSE_SECONDS)
    hall.until(lambda: late.received)
    hall.join("next", "other")


def test_silent_stranger_makes_room_where_descriptors_run_out(
    flaky: tuple[Hall, FlakyListener],
) -> None:
    hall, listener = flaky
    stranger = hall.connect()
    hall.until(lambda: stranger.received)
    listener.failures = [errno.EMFILE]
    hall.join("late")
    hall.until(lambda: stranger.eof)
    assert not hall.shown(words.OUT_OF_DESCRIPTORS)


def test_error_of_accept_that_lasts_does_not_spin(flaky: tuple[Hall, FlakyListener]) -> None:
    hall, listener = flaky
    hall.contains_faults = True
    company = Company(hall)
    listener.failures = [errno.EINVAL] * 3
    resend_pending = listener.resend_pending
    late = hall.connect()
    hall.turns(20)
    assert listener.resend_pending == resend_pending + 1
    while listener.failures:
        hall.wait(ACCEPT_PAUSE_SECONDS)
    hall.wait(ACCEPT_PAUSE_SECONDS)
    hall.until(lambda: late.received)
    assert sum("OSError (EINVAL)" in line for line in hall.screen.lines()) == 1
    company.assert_undisturbed()


def test_server_without_descriptors_goes_on_when_somebody_leaves(
    flaky: tuple[Hall, FlakyListener],
) -> None:
    hall, listener = flaky
    stranger = hall.join("stranger")
    listener.failures = [errno.EMFILE]
    late = hall.connect()
    hall.until(lambda: hall.screen.lines())
    stranger.close()
    hall.until(lambda: late.received)


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR])
def test_connection_that_is_gone_before_it_is_accepted_is_skipped(
    flaky: tuple[Hall, FlakyListener], number: int
) -> None:
    hall, listener = flaky
    listener.failures = [number, number]
    hall.join("Ira")
    assert listener.failures == []
    assert not any(line.startswith("[!]") for line in hall.screen.lines())


def test_storm_of_connections_is_taken_in_parts(
    flaky: tuple[Hall, FlakyListener], monkeypatch: pytest.MonkeyPatch
) -> None:
    hall, listener = flaky
    monkeypatch.setattr("chat.server.doorman.ACCEPT_PER_TURN", 3)
    wires = [hall.connect() for _ in range(10)]
    counts = []
    while not all(wire.received for wire in wires):
        before = listener.resend_pending
        hall.turns(1)
        counts.append(listener.resend_pending - before)
    assert max(counts) == 3


def test_storm_that_is_more_than_can_be_taken_in_is_closed_for_the_most_part(
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
    late = hall.connect()
    hall.until(lambda: late.received)


def test_silent_stranger_makes_room_for_the_next_one_of_its_source_and_members_notice_nothing(
    hall: Hall, company: Company
) -> None:
    hall.server.doorman.admission = Admission(10, 2)
    silent = [hall.connect() for _ in range(2)]
    hall.until(lambda: all(stranger.received for stranger in silent))
    late = hall.connect()
    hall.until(lambda: silent[0].eof)
    refused = decode_frame(frames_of(bytes(silent[0].received))[-1])
    assert refused == Refused(Reason.TIMEOUT, "too many connections wait to be let in")
    hall.until(lambda: late.received)
    assert not silent[1].eof
    company.assert_undisturbed()


def half_shaken(hall: Hall, name: str, source: str = "") -> Peer:
    """Somebody who sends a good PUBKEY, and never READY."""
    peer = hall.knock(name, "other", source)
    peer.ready = False
    hall.until(lambda: peer.session.state is State.RELAY)
    return peer


@pytest.mark.parametrize(("limit", "limit_per_source"), [(10, 2), (2, 10)])
def test_guest_that_owes_ready_makes_room_for_the_next_one(
    hall: Hall, company: Company, limit: int, limit_per_source: int
) -> None:
    hall.server.doorman.admission = Admission(limit, limit_per_source)
    halves = [half_shaken(hall, f"Eve{number}") for number in range(2)]
    hall.join("late", "other")
    hall.until(lambda: halves[0].eof)
    end = halves[0].ended
    assert end is not None
    assert end.text == "too many connections wait to be let in"
    assert halves[1].ended is None


def test_source_with_fewer_guests_comes_in_though_others_hold_all_places_by_half_a_handshake() -> (
    None
):
    with contextlib.closing(Hall()) as hall:
        hall.server.doorman.admission = Admission(6, 2)
        for number in range(6):
            half_shaken(hall, f"Eve{number}", f"127.0.0.{2 + number // 2}")
        newcomer = hall.knock("newcomer", "other")
        hall.until(lambda: newcomer.participant.has_joined)


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
    refused = decode_frame(bytes(late.received))
    assert refused == Refused(Reason.TIMEOUT, "too many connections wait to be let in")
    hall.wait(5)
    hall.until(lambda: waiting.participant.has_joined)
    hall.join("next", "other")
    assert refusals(hall) == 1


def test_members_and_those_who_are_refused_take_nobodys_place(hall: Hall, company: Company) -> None:
    hall.server.doorman.admission = Admission(1, 1)
    stranger = hall.connect()
    stranger.send(bytes(2))
    hall.until(lambda: stranger.eof)
    for number in range(3):
        hall.join(f"member {number}", "other")
    hall.until(lambda: is_reset(stranger))
    assert len(hall.server.members()) == 5


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


def test_flood_of_handshakes_delays_a_newcomer_of_another_source_by_one(
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
        hall.connect().send(STRANGERS["sealed with nothing"][0])
    hall.until(lambda: len(served) == 5)
    newcomer = hall.knock("newcomer", "other", "127.0.0.2")
    hall.until(lambda: newcomer.participant.has_joined)
    assert served.index("127.0.0.2") - served.index("waits") <= 2
    assert served[-1] == "127.0.0.1" or len(served) < 52, "the flood was over: this tests nothing"


# -- the share


def test_share_is_the_same_for_a_while_and_then_another(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)

    def hello() -> Hello:
        wire = hall.connect()
        hall.until(lambda: wire.received)
        hello = decode_frame(bytes(wire.received))
        assert isinstance(hello, Hello)
        wire.close()
        return hello

    first = hello()
    assert first.server_key == key("server").public.blob
    assert first.not_after == int(now) + SHARE_SECONDS
    now += SHARE_RENEW_SECONDS - 2
    assert hello() == first
    now += 3
    second = hello()
    assert second.share != first.share
    assert second.not_after == int(now) + SHARE_SECONDS


def test_share_is_forgotten_when_it_has_run_out(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody asks for a new one, and yet the old one must go: it opens what was recorded."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    wire = hall.connect()
    hall.until(lambda: wire.received)
    wire.close()
    hall.turns(2)
    assert hall.server.doorman._offer is not None
    now += SHARE_SECONDS
    hall.wait(SHARE_SECONDS)
    assert hall.server.doorman._offer is None


# -- the operator


def test_kicked_member_is_told_and_so_are_the_others(hall: Hall, company: Company) -> None:
    eve = hall.join("Eve", "other")
    hall.type("kick eve")
    hall.until(lambda: eve.eof)
    assert eve.ended == Ended(Reason.KICKED, REASONS[Reason.KICKED], by_peer=True)
    assert hall.screen.lines()[-1] == "[!] Eve left the server: put out by the server's operator."
    company.noticed(MemberJoined("Eve"), MemberLeft("Eve", Reason.KICKED))


def test_kick_of_nobody_kicks_nobody(hall: Hall, company: Company) -> None:
    hall.type("KICK Eve")
    hall.until(lambda: hall.shown("[!] Nobody here is called Eve."))
    company.assert_undisturbed()


def test_newcomer_can_be_kicked_before_it_is_welcomed(hall: Hall, company: Company) -> None:
    eve = hall.knock("Eve", "other")
    hall.when(lambda: hall.server.kick("Eve"), lambda: None)
    hall.until(lambda: eve.eof)
    assert eve.ended == Ended(Reason.KICKED, REASONS[Reason.KICKED], by_peer=True)
    assert not eve.participant.has_joined
    company.assert_undisturbed()


def test_operator_speaks_to_everybody(hall: Hall, company: Company) -> None:
    hall.type("SAY Dear  friends")
    company.noticed(NoticeReceived("Dear  friends"))


def test_operator_cannot_say_too_much(hall: Hall, company: Company) -> None:
    hall.type("say " + "ä" * MAX_TEXT_BYTES)
    company.noticed(NoticeReceived("ä" * (MAX_TEXT_BYTES // 2)))


def test_operator_that_speaks_to_nobody_harms_nobody(hall: Hall) -> None:
    hall.type("say is anybody here?")
    hall.type("stats")
    hall.until(lambda: any(line.startswith("[+] 0 members") for line in hall.screen.lines()))
    ira = hall.join("Ira")
    assert ira.news == []


def test_operator_sees_who_is_here_and_how_much_was_said(hall: Hall, company: Company) -> None:
    company.talk()
    hall.screen.clear()
    hall.type("who")
    hall.type("stats")
    hall.until(lambda: len(hall.screen.lines()) == 4)
    count, ira, sahnawaz, stats = hall.screen.lines()
    assert count == "[+] In the room: 2"
    assert ira.startswith("[+] Ira, since ")
    assert ira.endswith(key("ira").public.fingerprint)
    assert sahnawaz.startswith("[+] sahnawaz, since ")
    assert f" 2 messages exchanged, {hall.server.log.end} bytes relayed" in stats


def test_messages_before_an_offence_count_as_exchanged(hall: Hall, company: Company) -> None:
    eve = hall.join("Eve", "other")
    eve.participant.say("good", 0)
    eve.send(eve.participant.data_to_send() + eve.frame(sender=eve.welcome.member - 1, seq=2))
    hall.until(lambda: eve.eof)
    hall.until(lambda: company.ira.heard == ["Eve: good"])
    assert hall.server.relayed == 1


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
    stranger = hall.connect()
    hall.until(lambda: stranger.received)
    hall.when(lambda: company.ira.eof, company.ira.close)
    hall.when(lambda: company.sahnawaz.eof, company.sahnawaz.close)
    hall.when(lambda: stranger.eof, stranger.close)
    hall.type("TERMINATE")
    run_to_the_end(hall)
    for peer in (company.ira, company.sahnawaz):
        assert peer.news[-1] == RoomClosed()
        assert peer.ended == Ended(Reason.CLOSING, REASONS[Reason.CLOSING], by_peer=True)
    refused = decode_frame(frames_of(bytes(stranger.received))[-1])
    assert refused == Refused(Reason.CLOSING, REASONS[Reason.CLOSING])
    assert hall.screen.lines() == []


def test_termination_sends_the_rest_to_everybody(hall: Hall, company: Company) -> None:
    company.sahnawaz.deafen()
    said = flood(hall, company.ira, WINDOW)
    hall.type("TERMINATE")
    hall.until(lambda: company.ira.eof)
    assert len(company.sahnawaz.heard) < said
    company.sahnawaz.listen()
    hall.until(lambda: company.sahnawaz.eof)
    assert len(company.sahnawaz.heard) == said
    assert company.sahnawaz.news == [RoomClosed()]
    assert company.sahnawaz.ended is not None
    assert company.sahnawaz.ended.reason is Reason.CLOSING


def test_farewell_of_a_terminated_server_comes_after_all_that_was_said(
    hall: Hall, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that waits amid the log does not take the farewell with it."""
    monkeypatch.setattr("chat.transport.SEND_BYTES", WINDOW // 32)
    company.sahnawaz.deafen()
    flood(hall, company.ira, WINDOW)
    company.sahnawaz.send_control(Ping().encode())
    hall.turns(5)
    assert connection_of(hall, "sahnawaz").cursor.splices == 1
    company.ira.say("last words")
    hall.until(lambda: company.ira.heard[-1] == "Ira: last words")
    hall.type("TERMINATE")
    hall.until(lambda: company.ira.eof)
    company.sahnawaz.listen()
    hall.until(lambda: company.sahnawaz.eof)
    assert company.sahnawaz.heard == company.ira.heard
    assert company.sahnawaz.news == [RoomClosed()]


def test_termination_waits_only_so_long_for_the_slow(hall: Hall, company: Company) -> None:
    company.sahnawaz.deafen()
    flood(hall, company.ira, WINDOW)
    begun = hall.reactor.clock()
    hall.when(lambda: company.ira.eof, company.ira.close)
    hall.when(lambda: True, lambda: hall.reactor.time.advance(LINGER_SECONDS - 0.2))
    hall.type("TERMINATE")
    run_to_the_end(hall)
    assert LINGER_SECONDS <= hall.reactor.clock() - begun < LINGER_SECONDS + 1


def test_second_termination_ends_it_at_once(hall: Hall, company: Company) -> None:
    company.sahnawaz.deafen()
    flood(hall, company.ira, WINDOW)
    begun = hall.reactor.clock()
    hall.type("TERMINATE")
    hall.when(lambda: company.ira.eof, lambda: hall.type("TERMINATE"))
    run_to_the_end(hall)
    assert hall.reactor.clock() - begun < LINGER_SECONDS


def test_terminating_server_takes_nobody_in(hall: Hall, company: Company) -> None:
    company.sahnawaz.deafen()
    flood(hall, company.ira, WINDOW)
    hall.type("TERMINATE")
    hall.until(lambda: company.ira.eof)
    company.ira.close()
    late = hall.connect()
    hall.turns(10)
    assert not late.received


def test_termination_while_a_member_is_about_to_fall_behind_comes_to_its_end(
    narrow: Hall,
) -> None:
    """The log is about to be trimmed in the very turn in which the server is terminated."""
    company = Company(narrow)
    company.sahnawaz.deafen()
    log, cursor = narrow.server.log, connection_of(narrow, "sahnawaz").cursor
    narrow.when(
        lambda: log.surplus and cursor.offset < log.start_after_trim(), narrow.server.terminate
    )
    company.ira.say(*["x" * 8000] * (2 * WINDOW // 8000))
    narrow.until(lambda: company.ira.eof)
    company.sahnawaz.listen()
    narrow.until(lambda: company.sahnawaz.eof)
    assert company.sahnawaz.ended is not None
    assert company.sahnawaz.ended.reason in (Reason.CLOSING, Reason.TOO_SLOW)
