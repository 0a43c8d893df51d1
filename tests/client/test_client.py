"""The client on the loopback: what it shows and sends, and how every stay comes to its end.

`Host` plays the server by hand, for what a real one would never do.
"""

import contextlib
import os
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from chat.cipher import sealed_bytes
from chat.client.events import MemberBack, MemberJoined, MemberLeft, MemberLost
from chat.errors import (
    REASONS,
    ChatError,
    IdentityError,
    Reason,
    RefusedError,
    ServerKeyError,
    TransportError,
    UnacknowledgedError,
)
from chat.kex import PublicKey, RoomSecret, SignedShare
from chat.limits import (
    ACKNOWLEDGE_SECONDS,
    AWAKE_PONG_SECONDS,
    CONSOLE_QUEUE_BYTES,
    GRACE_SECONDS,
    HANDSHAKE_SECONDS,
    LINGER_SECONDS,
    MAX_RETRY_SECONDS,
    MAX_TEXT_BYTES,
    OUTBOX_MESSAGES,
    PING_SECONDS,
    PONG_SECONDS,
    READ_BYTES,
    RETRY_SECONDS,
)
from chat.messages import (
    Bye,
    Joined,
    Left,
    MessageContent,
    Notice,
    Ping,
    Rekey,
    Resend,
    Resumed,
    RoomEvent,
    Roster,
    RosterEntry,
    Welcome,
)
from chat.server.admission import Admission
from chat.server.connection import Connection as ServerConnection
from chat.session import Ended, Established, Offer, RoomFramesReceived, ServerSession
from chat.stdio import LineOutput
from chat.wire import Event, Message, Refused, block, room_header
from tests.support.helpers import key
from tests.support.loopback import Hall, Seat, SteppedReactor, Wire, listen, until


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


@pytest.fixture(autouse=True)
def signal_as_before() -> Iterator[None]:
    """A client at a terminal has to do with this one."""
    handler = signal.getsignal(signal.SIGTTIN)
    yield
    signal.signal(signal.SIGTTIN, handler)


FINGERPRINT = key("server").public.fingerprint

LOADING_ROSTER = [
    "[+] Connected successfully.",
    "[+] Exchanging keys.",
    "[+] Getting public key from the server",
    f"[+] Fingerprint of the server: {FINGERPRINT} (new)",
    "[+] Sending public key to server",
    "[+] Exchange completed!",
    "[+] Initial set up had been completed!",
    "[+] Now you can start to exchange messages",
]


def without_times(lines: list[str]) -> list[str]:
    return [re.sub(r"^[0-9]{4}-[0-9-]{5} [0-9:]{8} ", "<time> ", line) for line in lines]


def entered(hall: Hall, name: str = "Ira", key_name: str = "ira") -> Seat:
    """Somebody who is in, with a clean screen."""
    seat = hall.seat(name, key_name)
    seat.begin()
    hall.until(lambda: seat.inside)
    seat.screen.clear()
    return seat


# -- coming in


def test_entering_is_shown_step_by_step(hall: Hall) -> None:
    seat = hall.seat("Ira")
    seat.begin()
    hall.until(lambda: seat.inside)
    assert seat.screen.lines() == [*LOADING_ROSTER, "[+] In the room: Ira"]


def test_members_who_are_there_already_are_listed(hall: Hall) -> None:
    hall.join("Ärger")
    hall.join("sahnawaz")
    seat = hall.seat("Ira")
    seat.begin()
    hall.until(lambda: seat.inside)
    assert seat.screen.lines()[-1] == "[+] In the room: Ärger, sahnawaz, Ira"


def test_server_that_was_met_before_is_called_known(hall: Hall) -> None:
    asked: list[PublicKey] = []

    def trust(server_key: PublicKey) -> bool:
        asked.append(server_key)
        return True

    seat = hall.seat("Ira")
    seat.trust = trust
    seat.begin()
    hall.until(lambda: seat.inside)
    assert asked == [key("server").public]
    assert f"[+] Fingerprint of the server: {FINGERPRINT} (known)" in seat.screen.lines()


def test_nobody_listening_is_an_error(hall: Hall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    seat = hall.seat("Ira", address=address)
    with pytest.raises(TransportError, match="connection refused"):
        seat.run()
    assert seat.screen.lines() == []
    assert len(seat.dialer.dialled) == 1


def test_address_that_cannot_be_dialled_at_all_is_an_error(hall: Hall) -> None:
    """A broadcast address is refused by `connect` itself, before there is anything to wait for."""
    seat = hall.seat("Ira", address=("127.255.255.255", 9))
    with pytest.raises(TransportError, match="network is unreachable"):
        seat.run()


# -- talking


def test_what_others_say_and_do_is_shown_and_ones_own_words_are_not(hall: Hall) -> None:
    seat = entered(hall)
    guest = hall.join("guest", "other")
    guest.say("Hello Ira", "größer 漢字 👍")
    seat.type("Hi")
    hall.until(lambda: len(guest.heard) == 3)
    hall.type("SAY dinner is ready")
    hall.until(lambda: len(guest.news) == 1)
    guest.session.close(Reason.LEFT)
    guest.flush()
    hall.until(lambda: len(seat.screen.lines()) == 5)
    assert without_times(seat.screen.lines()) == [
        "[+] New person joined the room. Username: guest",
        "<time> guest: Hello Ira",
        "<time> guest: größer 漢字 👍",
        "[+] The server says: dinner is ready",
        "[+] guest left the server.",
    ]


def test_what_becomes_of_others_is_shown_with_its_reason(hall: Hall) -> None:
    seat = entered(hall)
    guest = hall.join("guest", "other")
    guest.close()
    hall.until(lambda: len(seat.screen.lines()) == 2)
    hall.come_back(guest)
    hall.until(lambda: len(seat.screen.lines()) == 3)
    hall.type("KICK guest")
    hall.until(lambda: len(seat.screen.lines()) == 4)
    assert seat.screen.lines() == [
        "[+] New person joined the room. Username: guest",
        "[!] guest lost the connection.",
        "[+] guest is back.",
        "[!] guest left the server: put out by the server's operator.",
    ]


def test_text_that_would_act_on_the_terminal_is_shown_harmless(hall: Hall) -> None:
    seat = entered(hall)
    eve = hall.join("Eve", "other")
    eve.say("\x1b[2Jone\n[+] two\r\n2023-06-25 09:35:24 Ira: three\u202e\x9b")
    hall.until(lambda: len(seat.screen.lines()) == 4)
    assert without_times(seat.screen.lines())[1:] == [
        "<time> Eve: \\x1b[2Jone",
        "    [+] two\\r",
        "    2023-06-25 09:35:24 Ira: three\\u202e\\x9b",
    ]


def test_blank_lines_are_not_sent_and_spaces_are_kept(hall: Hall) -> None:
    guest = hall.join("guest", "other")
    seat = entered(hall)
    seat.type("", " two  words ", "", "exit", "EXIT ")
    hall.until(lambda: len(guest.heard) == 3)
    assert guest.heard == ["Ira:  two  words ", "Ira: exit", "Ira: EXIT "]


def test_line_that_is_too_long_is_refused_and_the_next_is_sent(hall: Hall) -> None:
    guest = hall.join("guest", "other")
    seat = entered(hall)
    longest = "ä" * (MAX_TEXT_BYTES // 2)
    seat.type(longest + "x")
    seat.type(longest)
    hall.until(lambda: guest.heard)
    assert guest.heard == [f"Ira: {longest}"]
    assert seat.screen.lines() == [
        f"[!] A message of {MAX_TEXT_BYTES + 1} bytes is too long: a message has at most "
        f"{MAX_TEXT_BYTES} bytes; send it in parts."
    ]


def test_flood_of_input_is_sent_in_order_and_never_too_much_at_a_time(hall: Hall) -> None:
    guest = hall.join("guest", "other")
    seat = hall.seat("Ira")
    peak = 0

    def watch() -> None:
        nonlocal peak
        peak = max(peak, seat.client._participant.unacknowledged)

    hall.reactor.before_wait(watch)
    texts = [f"{number}" for number in range(2 * OUTBOX_MESSAGES)]
    seat.type(*texts)
    seat.end_input()
    seat.run()
    hall.until(lambda: len(guest.heard) == len(texts))
    assert guest.heard == [f"Ira: {text}" for text in texts]
    assert peak == OUTBOX_MESSAGES


def test_what_was_read_is_sent_before_the_client_waits(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is under way is acknowledged at once; nothing else will wake the client up."""
    monkeypatch.setattr("chat.client.participant.OUTBOX_MESSAGES", 2)
    guest = hall.join("guest", "other")
    seat = hall.seat("Ira")
    unsent: list[bool] = []
    participant = seat.client._participant
    hall.reactor.before_wait(lambda: unsent.append(participant.has_data_to_send))
    seat.type("one", "two", "three", "four", "five")
    seat.end_input()
    seat.run()
    hall.until(lambda: len(guest.heard) == 5)
    assert set(unsent) == {False}


# -- leaving


def test_client_with_input_from_a_pipe_leaves_when_everything_is_acknowledged(hall: Hall) -> None:
    guest = hall.join("guest", "other")
    seat = hall.seat("Ira")
    seat.type("one", "two")
    seat.end_input()
    seat.run()
    assert guest.heard == ["Ira: one", "Ira: two"]
    hall.until(lambda: hall.shown("[+] Ira left the server."))


def test_client_without_input_enters_and_leaves(hall: Hall) -> None:
    seat = hall.seat("Ira")
    seat.end_input()
    seat.run()
    assert seat.screen.lines() == [*LOADING_ROSTER, "[+] In the room: Ira"]
    hall.until(lambda: hall.shown("[+] Ira left the server."))


def test_exit_leaves_and_what_follows_it_is_neither_sent_nor_missed(hall: Hall) -> None:
    guest = hall.join("guest", "other")
    seat = hall.seat("Ira")
    seat.type("one", "EXIT", "two")
    seat.run()
    hall.until(lambda: hall.shown("[+] Ira left the server."))
    assert guest.heard == ["Ira: one"]


def test_exit_at_a_terminal_leaves(hall: Hall) -> None:
    guest = hall.join("guest", "other")
    seat = hall.seat("Ira", on_terminal=True)
    seat.type("one", "EXIT")
    seat.run()
    hall.until(lambda: hall.shown("[+] Ira left the server."))
    assert guest.heard == ["Ira: one"]


def test_line_that_was_too_long_is_missing_at_the_end(hall: Hall) -> None:
    seat = hall.seat("Ira")
    seat.type("x" * (MAX_TEXT_BYTES + 1), "short")
    seat.end_input()
    with pytest.raises(UnacknowledgedError, match=r"^1 message was not acknowledged$"):
        seat.run()


def test_leaving_twice_does_not_wait(hall: Hall) -> None:
    seat = hall.seat("Ira")
    begun: list[float] = []

    def leave() -> None:
        begun.append(hall.reactor.clock())
        seat.client.leave()
        seat.client.leave()

    hall.when(lambda: seat.inside, leave)
    seat.run()
    assert hall.reactor.clock() - begun[0] < LINGER_SECONDS


def test_leaving_before_one_is_in_ends_at_once(hall: Hall) -> None:
    seat = hall.seat("Ira")
    hall.when(lambda: LOADING_ROSTER[0] in seat.screen.lines(), seat.client.leave)
    with pytest.raises(ChatError, match=r"^interrupted$"):
        seat.run()
    assert not seat.inside
    hall.turns(10)
    assert not hall.server.members()


def test_leaving_before_the_connection_stands_ends_at_once(hall: Hall) -> None:
    seat = hall.seat("Ira")
    hall.reactor.when(lambda: True, seat.client.leave)
    with pytest.raises(ChatError, match=r"^interrupted$"):
        seat.run()
    assert not seat.inside


# -- being put out


def test_name_that_is_taken_is_refused(hall: Hall) -> None:
    hall.join("ira", "other")
    seat = hall.seat("Ira")
    seat.type("never sent")
    with pytest.raises(RefusedError, match=r"^the name Ira is taken: it has been in use") as caught:
        seat.run()
    assert caught.value.reason is Reason.NAME_TAKEN
    assert caught.value.exit_status == 3


def test_kicked_client_says_so(hall: Hall) -> None:
    seat = hall.seat("Ira")
    hall.when(lambda: seat.inside, lambda: hall.type("KICK ira"))
    with pytest.raises(RefusedError) as caught:
        seat.run()
    assert str(caught.value) == "put out by the server's operator"
    assert caught.value.reason is Reason.KICKED


def test_server_that_shuts_down_is_no_error_to_a_person(hall: Hall) -> None:
    seat = hall.seat("Ira", on_terminal=True)
    hall.when(lambda: seat.inside, lambda: hall.type("TERMINATE"))
    seat.run()
    assert seat.screen.lines()[-1] == "[!] The server has shut down."


def shut_down_before_the_end(then: str = "") -> str:
    """`then`: what else the error says."""
    return f"^the server has shut down before the end of the input{then}$"


def test_server_that_shuts_down_before_the_end_of_a_pipe_is_an_error(hall: Hall) -> None:
    seat = hall.seat("Ira")
    seat.type("one")
    hall.when(lambda: hall.server.relayed, lambda: hall.type("TERMINATE"))
    with pytest.raises(UnacknowledgedError, match=shut_down_before_the_end()):
        seat.run()


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        (["two", "", "three"], "2 lines were read and not sent; 2 messages were not acknowledged"),
        (["two", "EXIT", "three"], "1 line was read and not sent; 1 message was not acknowledged"),
        (["EXIT", "two"], ""),
        ([], ""),
    ],
)
def test_what_a_pipe_had_to_say_when_the_server_shut_down_is_counted(
    hall: Hall, rest: list[str], error: str
) -> None:
    """The pipe is at its end, and the client has not come to read so far."""
    seat = hall.seat("Ira")

    def shut_down() -> None:
        seat.view.input.stop()
        seat.type(*rest)
        seat.end_input()
        hall.type("TERMINATE")

    hall.when(lambda: seat.inside, shut_down)
    if not error:
        seat.run()
        return
    with pytest.raises(UnacknowledgedError, match=shut_down_before_the_end(f": {error}")):
        seat.run()


def test_client_whose_place_another_run_takes_says_so(hall: Hall) -> None:
    """With the same key; it must not take the place back, or the two would fight over it."""
    seat = hall.seat("Ira")

    def story() -> None:
        hall.until(lambda: seat.inside)
        hall.join("Ira")

    text = "another client has joined with this name and key"
    with pytest.raises(RefusedError, match=f"^{text}$") as caught:
        seat.run(story)
    assert caught.value.hint == "to be in twice, take another name or other --keys"
    assert len(seat.dialer.dialled) == 1


# -- losing the connection, and coming back


LOST = "[!] The connection was lost; trying to get it back."


def lost(why: str) -> str:
    return f"[!] The connection was lost: {why}; trying to get it back."


BACK = "[+] The connection is back."


class Distant:
    """A client that comes by a cable, and a guest who does not."""

    def __init__(
        self, hall: Hall, *, on_terminal: bool = False, patience: float | None = None
    ) -> None:
        self.hall = hall
        self.cable = hall.cable()
        self.guest = hall.join("guest", "other")
        self.seat = hall.seat(
            "Ira", address=self.cable.address, on_terminal=on_terminal, patience=patience
        )

    def enter(self) -> None:
        self.hall.until(lambda: self.seat.inside)
        self.hall.until(lambda: self.guest.news)
        self.seat.screen.clear()

    @property
    def lines(self) -> list[str]:
        return without_times(self.seat.screen.lines())

    def wait_for(self, line: str, times: int = 1) -> None:
        """Let time pass until this line is shown, so many times altogether."""
        for _ in range(1000):
            if self.lines.count(line) >= times:
                return
            self.hall.wait(0.1)
        raise AssertionError(f"{line!r} is not among {self.lines}")

    def has_arrived(self, text: str) -> Callable[[], bool]:
        """Whether the guest has heard the client say this."""
        return lambda: f"Ira: {text}" in self.guest.heard

    def unplug(self) -> None:
        """The connection is lost, and there is no other for the moment."""
        self.cable.unplug()
        self.hall.until(lambda: LOST in self.lines)
        self.hall.until(lambda: MemberLost("Ira") in self.guest.news)


@pytest.fixture
def distant(hall: Hall) -> Distant:
    distant = Distant(hall)
    distant.seat.begin()
    distant.enter()
    return distant


def test_client_that_lost_the_connection_comes_back_and_nothing_is_lost(
    hall: Hall, distant: Distant
) -> None:
    distant.seat.type("before")
    hall.until(lambda: distant.guest.heard)
    distant.unplug()
    distant.guest.say("meanwhile")
    distant.seat.type("offline", "offline, too")
    hall.until(lambda: distant.seat.client._participant.unacknowledged >= 2)
    hall.wait(20)
    assert distant.lines == [LOST], "it must be said once"
    distant.cable.plug()
    distant.wait_for(BACK)
    distant.seat.type("after")
    hall.until(lambda: len(distant.guest.heard) == 5)
    assert distant.guest.heard == [
        "Ira: before",
        "guest: meanwhile",
        "Ira: offline",
        "Ira: offline, too",
        "Ira: after",
    ]
    assert distant.guest.news == [MemberJoined("Ira"), MemberLost("Ira"), MemberBack("Ira")]
    assert distant.lines == [LOST, BACK, "<time> guest: meanwhile"]
    assert hall.shown("[+] Ira is back.")


def test_cut_after_cut_every_message_arrives_once(hall: Hall, distant: Distant) -> None:
    for number in range(8):
        distant.seat.type(f"{number}a", f"{number}b")
        if number % 2:
            hall.until(distant.has_arrived(f"{number}a"))
        distant.cable.cut()
        distant.guest.say(f"{number}")
        distant.wait_for(BACK, times=number + 1)
    hall.until(lambda: len(distant.guest.heard) == 24)
    mine = [line for line in distant.guest.heard if line.startswith("Ira: ")]
    assert mine == [f"Ira: {number}{half}" for number in range(8) for half in "ab"]
    said = [line for line in distant.lines if line.startswith("<time>")]
    assert said == [f"<time> guest: {number}" for number in range(8)]
    assert distant.lines.count(LOST) == 8


def time_to_retry(seat: Seat) -> float:
    """For how long the client is going to wait."""
    retry = seat.client._retry
    assert retry is not None
    return retry.deadline - seat.client._reactor.clock()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_client_tries_again_less_and_less_often(
    hall: Hall, distant: Distant, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Between half the time and all of it; which, is drawn."""
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return share

    monkeypatch.setattr(random, "uniform", draw)
    delays: list[float] = []
    distant.unplug()
    dialled = distant.seat.dialer.dialled
    while len(delays) < 7:
        hall.until(lambda: distant.seat.client._retry)
        delays.append(time_to_retry(distant.seat))
        tries = len(dialled)
        hall.wait(delays[-1] - 0.05)
        assert len(dialled) == tries
        hall.wait(0.05)
        assert len(dialled) == tries + 1
    expected = [share * seconds for seconds in (0.5, 1, 2, 4, 8, MAX_RETRY_SECONDS)]
    assert delays == pytest.approx([*expected, expected[-1]], abs=0.1)
    assert set(drawn) == {(0.5, 1.0)}
    distant.cable.plug()
    distant.wait_for(BACK)
    distant.cable.cut()
    hall.until(lambda: distant.seat.client._retry)
    assert time_to_retry(distant.seat) == pytest.approx(share * RETRY_SECONDS, abs=0.1)


def test_line_that_is_typed_makes_the_client_try_again_at_once(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.client.client.RETRY_SECONDS", MAX_RETRY_SECONDS)
    distant = Distant(hall)
    distant.seat.begin()
    distant.enter()
    distant.unplug()
    distant.cable.plug()
    begun = hall.reactor.clock()
    distant.seat.type("are you there?")
    hall.until(lambda: distant.guest.heard)
    assert hall.reactor.clock() - begun < 1
    assert distant.guest.heard == ["Ira: are you there?"]


@pytest.mark.parametrize("on_terminal", [True, False], ids=["terminal", "pipe"])
def test_full_outbox_is_told_to_a_person_and_nothing_is_lost(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, on_terminal: bool
) -> None:
    monkeypatch.setattr("chat.client.participant.OUTBOX_MESSAGES", 2)
    distant = Distant(hall, on_terminal=on_terminal)
    distant.seat.begin()
    distant.enter()
    distant.unplug()
    texts = ["one", "two", "three", "four", "five"]
    distant.seat.type(*texts)
    hall.until(lambda: distant.seat.client._participant.full)
    hall.turns(5)
    full = ["[!] 2 messages wait for the connection; no more can be taken."]
    assert distant.lines == [LOST, *(full if on_terminal else [])]
    distant.cable.plug()
    distant.wait_for(BACK)
    hall.until(lambda: len(distant.guest.heard) == 5)
    assert distant.guest.heard == [f"Ira: {text}" for text in texts]


def test_exit_while_offline_ends_at_once(hall: Hall) -> None:
    distant = Distant(hall, on_terminal=True)

    def story() -> None:
        distant.enter()
        distant.unplug()
        distant.seat.type("EXIT")

    distant.seat.run(story)
    assert distant.lines == [LOST]


def test_exit_while_offline_counts_what_was_not_sent(hall: Hall) -> None:
    distant = Distant(hall, on_terminal=True)

    def story() -> None:
        distant.enter()
        distant.unplug()
        distant.seat.type("one", "two", "EXIT", "three")

    with pytest.raises(UnacknowledgedError, match=r"^2 messages were not acknowledged$"):
        distant.seat.run(story)


def test_signal_while_offline_ends_at_once(hall: Hall, distant: Distant) -> None:
    distant.unplug()
    distant.seat.client.leave()
    hall.turns(1)
    assert distant.seat.client._over


def test_pipe_ends_well_when_everything_arrived_through_a_cut(hall: Hall) -> None:
    distant = Distant(hall, patience=60)

    def story() -> None:
        distant.enter()
        distant.unplug()
        distant.seat.type("one", "two")
        distant.seat.end_input()
        hall.turns(10)
        distant.cable.plug()

    distant.seat.run(story)
    assert distant.guest.heard == ["Ira: one", "Ira: two"]
    hall.until(lambda: hall.shown("[+] Ira left the server."))


def test_pipe_that_ends_while_offline_with_nothing_to_send_ends_well_at_once(hall: Hall) -> None:
    distant = Distant(hall, patience=60)

    def story() -> None:
        distant.enter()
        distant.seat.type("one")
        hall.until(distant.has_arrived("one"))
        hall.until(lambda: not distant.seat.client._participant.unacknowledged)
        distant.unplug()
        distant.seat.end_input()
        hall.turns(20)
        assert distant.seat.client._over

    distant.seat.run(story)


def test_pipe_whose_acknowledgement_was_lost_ends_well_and_says_nothing_twice(hall: Hall) -> None:
    distant = Distant(hall, patience=60)

    def story() -> None:
        distant.enter()
        distant.seat.type("one")
        distant.seat.end_input()
        hall.until(lambda: distant.guest.heard or distant.seat.client._over)

    hall.when(lambda: hall.server.relayed, distant.cable.cut)
    distant.seat.run(story)
    assert LOST in distant.lines, "the acknowledgement was not lost: this tests nothing"
    hall.until(lambda: hall.shown("[+] Ira left the server."))
    assert distant.guest.heard == ["Ira: one"]


def test_pipe_gives_up_when_its_patience_is_over(hall: Hall) -> None:
    distant = Distant(hall, patience=60)
    lost_at = 0.0

    def story() -> None:
        nonlocal lost_at
        distant.enter()
        distant.unplug()
        lost_at = hall.reactor.clock()
        distant.seat.type("one")
        while not distant.seat.client._over:
            hall.wait(0.5)

    with pytest.raises(TransportError, match=r"refused; 1 message was not acknowledged$"):
        distant.seat.run(story)
    assert 60 <= hall.reactor.clock() - lost_at < 60 + 2 * MAX_RETRY_SECONDS
    assert distant.lines == [LOST]


def test_person_is_never_given_up(hall: Hall, distant: Distant) -> None:
    distant.unplug()
    for _ in range(100):
        hall.wait(60)
    assert not distant.seat.client._over
    distant.cable.plug()
    distant.wait_for(BACK)


def test_name_that_somebody_took_meanwhile_is_the_end(hall: Hall) -> None:
    distant = Distant(hall)

    def story() -> None:
        distant.enter()
        distant.unplug()
        hall.wait(GRACE_SECONDS)
        hall.until(lambda: MemberLeft("Ira", Reason.LOST) in distant.guest.news)
        hall.join("ira", "server")
        distant.cable.plug()
        distant.seat.type("am I still Ira?")

    with pytest.raises(
        RefusedError, match=r"^the name Ira is taken: .*; 1 message was not"
    ) as caught:
        distant.seat.run(story)
    assert caught.value.reason is Reason.NAME_TAKEN


def test_server_that_shows_another_key_on_the_way_back_gets_nothing(hall: Hall) -> None:
    distant = Distant(hall)
    changed = ServerKeyError("THE KEY HAS CHANGED")

    def trust(_key: PublicKey) -> bool:
        raise changed

    def story() -> None:
        distant.enter()
        distant.unplug()
        distant.seat.trust = trust
        distant.cable.plug()
        distant.seat.type("secret")

    with pytest.raises(ServerKeyError) as caught:
        distant.seat.run(story)
    assert caught.value is changed
    assert str(caught.value) == "THE KEY HAS CHANGED; 1 message was not acknowledged"
    assert distant.cable.carried == 0
    assert BACK not in distant.lines


def test_dead_connection_is_noticed_and_its_place_taken_over(hall: Hall, distant: Distant) -> None:
    """The server has noticed nothing yet, and neither do the others."""
    distant.cable.freeze()
    distant.guest.say("into the void")
    distant.seat.type("into the void, too")
    hall.wait(PING_SECONDS)
    distant.guest.send_control(Ping().encode())
    hall.wait(PONG_SECONDS - 1)
    assert distant.lines == []
    distant.wait_for(BACK)
    hall.until(lambda: len(distant.guest.heard) == 2)
    assert distant.guest.heard == ["guest: into the void", "Ira: into the void, too"]
    assert distant.lines == [
        lost("the server has not answered for 45 s"),
        BACK,
        "<time> guest: into the void",
    ]
    assert distant.guest.news == [MemberJoined("Ira")]


def test_connection_that_has_outlived_a_sleep_goes_on(hall: Hall, distant: Distant) -> None:
    carried = distant.cable.carried
    distant.seat.client.wake()
    hall.turns(10)
    assert distant.cable.carried > carried
    hall.wait(AWAKE_PONG_SECONDS)
    assert distant.lines == []


def test_connection_that_has_not_outlived_a_sleep_is_noticed_soon(
    hall: Hall, distant: Distant
) -> None:
    distant.cable.freeze()
    distant.seat.client.wake()
    hall.wait(AWAKE_PONG_SECONDS - 1)
    assert distant.lines == []
    hall.wait(1)
    assert distant.lines == [lost(f"the server has not answered for {AWAKE_PONG_SECONDS} s")]
    distant.wait_for(BACK)


def test_client_that_waits_to_try_again_tries_after_a_sleep(hall: Hall, distant: Distant) -> None:
    distant.unplug()
    for _ in range(60):
        hall.wait(1)
    distant.cable.plug()
    dialled = len(distant.seat.dialer.dialled)
    distant.seat.client.wake()
    assert len(distant.seat.dialer.dialled) == dialled + 1
    hall.until(lambda: BACK in distant.lines)


def test_client_that_dials_when_it_falls_asleep_dials_anew_until_it_leaves(hall: Hall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seat = hall.seat("Ira", address=listener.getsockname())
        seat.begin()
        seat.client.wake()
        assert len(seat.dialer.dialled) == 2
        assert len(seat.dialer._attempts) == 1
        seat.client.leave()
        assert not seat.dialer._attempts


def test_client_that_has_left_does_nothing_after_a_sleep(hall: Hall, distant: Distant) -> None:
    distant.seat.client.leave()
    hall.until(lambda: distant.seat.client._over)
    distant.seat.client.wake()
    hall.turns(10)
    assert len(distant.seat.dialer.dialled) == 1


def test_server_that_does_not_answer_on_the_way_back_is_tried_again(
    hall: Hall, distant: Distant
) -> None:
    distant.cable.target, target = distant.cable.address, distant.cable.target
    with socket.create_server(("127.0.0.1", 0)) as silent:
        distant.cable.target = silent.getsockname()
        distant.cable.cut()
        hall.until(lambda: len(distant.seat.dialer.dialled) == 2)
        hall.turns(5)
        distant.cable.target = target
        hall.wait(HANDSHAKE_SECONDS)
        distant.wait_for(BACK)
    assert distant.lines == [LOST, BACK]


def test_idle_connection_is_kept_alive(hall: Hall, distant: Distant) -> None:
    for _ in range(20):
        hall.wait(PING_SECONDS / 2)
        distant.guest.send_control(Ping().encode())
        hall.turns(5)
    assert distant.lines == []
    assert distant.guest.news == [MemberJoined("Ira")]


def test_gap_that_cannot_be_filled_is_told_honestly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.server.server.WINDOW_BYTES", 64 * 1024)
    with contextlib.closing(Hall(rate=0)) as hall:
        distant = Distant(hall)
        distant.seat.begin()
        distant.enter()
        distant.unplug()
        distant.seat.type("mine")
        for number in range(30):
            distant.guest.say(f"{number:8000}")
            hall.until(lambda: not distant.guest.participant.unacknowledged)
        distant.cable.plug()
        distant.wait_for(BACK)
        distant.guest.say("and on it goes")
        distant.wait_for("<time> guest: and on it goes")
        hall.until(lambda: "Ira: mine" in distant.guest.heard)
        assert distant.lines == [
            LOST,
            BACK,
            "[!] 30 messages missed.",
            "<time> guest: and on it goes",
        ]


def test_server_that_was_started_anew_is_joined_anew_and_nothing_is_lost_or_doubled(
    hall: Hall,
) -> None:
    ira, sahnawaz = entered(hall, "Ira"), entered(hall, "sahnawaz", "sahnawaz")
    ira.type("before")
    hall.until(lambda: said_by("Ira", sahnawaz) == ["before"])
    hall.crash()
    hall.until(lambda: LOST in ira.screen.lines() and LOST in sahnawaz.screen.lines())
    ira.type("offline")
    hall.restart()
    hall.until(lambda: len(said_by("Ira", sahnawaz)) == 2)
    hall.until(lambda: not ira.client._participant.unacknowledged)
    hall.turns(10)
    assert said_by("Ira", sahnawaz) == ["before", "offline"]
    for seat in (ira, sahnawaz):
        (back,) = (line for line in seat.screen.lines() if "is back" in line)
        assert back.startswith("[+] The connection is back; the server was started anew")


def said_by(name: str, seat: Seat) -> list[str]:
    """What somebody said, as this client shows it."""
    lines = without_times(seat.screen.lines())
    start = f"<time> {name}: "
    return [line.removeprefix(start) for line in lines if line.startswith(start)]


# -- a screen that nobody reads


class Piped:
    """A client whose output goes into a pipe."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.read, self._write = os.pipe()
        self.seat = hall.seat("Ira")
        self.output = LineOutput(hall.reactor, self._write, "utf-8")
        self.seat.view.output = self.output
        self.output.on_drained = self.seat.client._on_drained
        self.output.on_broken = self.seat.client._on_broken
        self.got = bytearray()
        os.set_blocking(self.read, False)

    def take(self) -> bytes:
        """What has been shown so far."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.read, 1 << 16):
                self.got += data
        return bytes(self.got)

    def break_off(self) -> None:
        """Nobody will read."""
        if self.read >= 0:
            os.close(self.read)
            self.read = -1

    def close(self) -> None:
        self.break_off()
        os.close(self._write)


@pytest.fixture
def piped(hall: Hall) -> Iterator[Piped]:
    with contextlib.closing(Piped(hall)) as piped:
        yield piped


@pytest.mark.slow
def test_client_whose_output_is_not_read_stops_reading_and_loses_nothing(
    hall: Hall, piped: Piped
) -> None:
    guest = hall.join("guest", "other")
    piped.seat.begin()
    hall.until(lambda: b"In the room" in piped.take())
    count = 3 * CONSOLE_QUEUE_BYTES // 8000
    for number in range(count):
        guest.say(f"{number:8000}")
        hall.until(lambda: not guest.participant.unacknowledged)
    hall.turns(50)
    assert CONSOLE_QUEUE_BYTES < piped.output.queued_bytes < CONSOLE_QUEUE_BYTES + 2 * READ_BYTES
    hall.until(lambda: piped.take().count(b"guest: ") == count)
    shown = [int(line.split()[-1]) for line in bytes(piped.got).splitlines() if b"guest:" in line]
    assert shown == list(range(count))


def test_client_that_is_not_read_takes_no_pause_of_its_own_for_a_dead_connection(
    hall: Hall, piped: Piped
) -> None:
    """Somebody has stopped the terminal, and looks at it again a while later."""
    guest = hall.join("guest", "other")
    piped.seat.begin()
    hall.until(lambda: b"In the room" in piped.take())
    for number in range(2 * CONSOLE_QUEUE_BYTES // 8000):
        guest.say(f"{number:8000}")
        hall.until(lambda: not guest.participant.unacknowledged)
    hall.turns(50)
    assert piped.output.queued_bytes > CONSOLE_QUEUE_BYTES
    for _ in range(4):
        hall.wait(PING_SECONDS)
        guest.send_control(Ping().encode())
        hall.turns(10)
    assert guest.news == [MemberJoined("Ira")]
    assert len(piped.seat.dialer.dialled) == 1


def test_client_whose_output_is_broken_ends(hall: Hall, piped: Piped) -> None:
    hall.when(lambda: b"In the room" in piped.take(), piped.break_off)
    hall.when(lambda: True, lambda: hall.type("SAY is anybody here?"))
    with pytest.raises(TransportError, match=r"^nobody reads what is shown$"):
        piped.seat.run()
    hall.until(lambda: not hall.server.members())


def test_client_whose_output_is_broken_from_the_start_ends(hall: Hall, piped: Piped) -> None:
    piped.break_off()
    with pytest.raises(TransportError, match=r"^nobody reads what is shown$"):
        piped.seat.run()


def test_last_line_that_cannot_be_shown_is_an_error(hall: Hall, piped: Piped) -> None:
    def show_to_nobody() -> None:
        piped.break_off()
        piped.output.write("last")

    hall.when(lambda: b"In the room" in piped.take(), piped.seat.end_input)
    hall.when(lambda: piped.seat.client._over, show_to_nobody)
    with pytest.raises(TransportError, match=r"^nobody reads what is shown$"):
        piped.seat.run()


# -- a server played by hand


class Host:
    """A server that answers the handshake as it should, or not at all, and says what it is told."""

    def __init__(self, *, silent: bool = False) -> None:
        self.reactor = SteppedReactor()
        self.listener = listen("127.0.0.1", 0)
        host, port = self.listener.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self.silent = silent
        self._offer = SignedShare.make(key("server"), time.time(), os.urandom)
        self.session = self._new_session()
        self.wire: Wire | None = None
        self.connections = 0
        self.established = False
        self.messages: list[Message] = []
        self.ended: Ended | None = None
        self._handled = 0
        self._secret = RoomSecret(bytes(range(32)))
        self._event_seq = 0
        self.seats: list[Seat] = []
        self.reactor.watch_read(self.listener.fileno(), self._on_connection)
        self.reactor.before_wait(self._serve)

    def let_time_pass(self, seat: Seat) -> None:
        """Skip what a connected client would wait for a server that says too little."""
        self.reactor.when(
            lambda: LOADING_ROSTER[0] in seat.screen.lines(),
            lambda: self.reactor.time.advance(HANDSHAKE_SECONDS - 0.5),
        )

    def seat(self, *, on_terminal: bool = False, patience: float | None = None) -> Seat:
        """A client that will come here."""
        seat = Seat(self.reactor, self.address, "Ira", on_terminal=on_terminal, patience=patience)
        self.seats.append(seat)
        return seat

    def _new_session(self) -> ServerSession:
        return ServerSession(Offer.of(self._offer), os.urandom, self.reactor.clock())

    def _on_connection(self) -> None:
        connected, _ = self.listener.accept()
        self.connections += 1
        if self.connections > 1:
            self.close_connection()
            self.session = self._new_session()
            self._handled = 0
        self.wire = Wire(self.reactor, connected)
        if not self.silent:
            self.wire.send(self.session.data_to_send())

    def _serve(self) -> None:
        if self.wire is None or self.wire.closed:
            return
        if self.wire.eof:
            self.wire.close()
            return
        if self.silent:
            return
        data = bytes(self.wire.received[self._handled :])
        self._handled += len(data)
        for event in self.session.receive(data, self.reactor.clock()) if data else []:
            match event:
                case Established():
                    self.established = True
                case RoomFramesReceived(_, run):
                    while run:
                        end = 2 + int.from_bytes(run[:2], "big")
                        self.messages.append(Message.from_wire(run[:end]))
                        run = run[end:]
                case Ended():
                    self.ended = event
        self.wire.send(self.session.data_to_send())

    @property
    def received(self) -> bytes:
        """All bytes that came."""
        return bytes(self.wire.received) if self.wire else b""

    def send(self, data: bytes) -> None:
        assert self.wire is not None
        self.wire.send(data)

    def close_connection(self) -> None:
        assert self.wire is not None
        self.wire.close()

    def control(self, encoded: bytes) -> None:
        """Seal a control message and send it."""
        self.session.send(encoded)
        self.send(self.session.data_to_send())

    def welcome(self, *others: str, members: int | None = None, ourselves: bool = True) -> None:
        """Let the client in as number 1, among others from number 2 on."""
        names = ["Ira"] if ourselves else []
        entries = [
            RosterEntry(number, 0, name, bytes(32))
            for number, name in enumerate([*names, *others], 1 if ourselves else 2)
        ]
        count = len(entries) if members is None else members
        welcome = Welcome(bytes(8), 1, bytes(16), 1, self._secret.secret, 0, 0, 0, count)
        self.control(welcome.encode())
        self.control(Roster(tuple(entries)).encode())

    def event(self, event: RoomEvent, *, epoch: int = 1) -> None:
        """Tell the room."""
        self._event_seq += 1
        content = event.encode()
        header = room_header(Event.TYPE, epoch, 0, self._event_seq, sealed_bytes(len(content)))
        sealed = self._secret.event_key().seal(header, content, os.urandom)
        self.send(header + sealed)

    def message(self, sender: int, seq: int, text: str) -> None:
        """A member says something."""
        content = MessageContent(0, bytes(8), seq, text).encode()
        header = room_header(Message.TYPE, 1, sender, seq, sealed_bytes(len(content)))
        self.send(header + self._secret.message_key().seal(header, content, os.urandom))

    def echo(self, count: int) -> None:
        """Acknowledge the first messages that came."""
        for message in self.messages[:count]:
            self.send(message.to_wire())

    def close(self) -> None:
        if self.wire is not None:
            self.wire.close()
        for seat in self.seats:
            seat.close()
        self.reactor.unwatch(self.listener.fileno())
        self.reactor.close()
        self.listener.close()


@pytest.fixture
def host() -> Iterator[Host]:
    with contextlib.closing(Host()) as host:
        yield host


@pytest.mark.parametrize("silent", [True, False], ids=["nothing said", "not let in"])
def test_leaving_before_one_is_in_waits_for_nobody(host: Host, silent: bool) -> None:
    host.silent = silent
    seat = host.seat()
    begun: list[float] = []

    def leave() -> None:
        begun.append(host.reactor.clock())
        seat.client.leave()
        seat.client.leave()

    host.reactor.when(lambda: host.wire if silent else host.established, leave)
    with pytest.raises(ChatError, match=r"^interrupted$"):
        seat.run()
    assert host.reactor.clock() - begun[0] < LINGER_SECONDS / 4


@pytest.fixture
def silent_host() -> Iterator[Host]:
    with contextlib.closing(Host(silent=True)) as host:
        yield host


@pytest.mark.parametrize(
    "error",
    [ServerKeyError("THE KEY HAS CHANGED"), IdentityError("the list cannot be used")],
    ids=["changed", "unusable"],
)
def test_server_that_is_not_trusted_gets_nothing_from_us(
    host: Host, error: ServerKeyError | IdentityError
) -> None:
    def trust(_key: PublicKey) -> bool:
        raise error

    seat = host.seat()
    seat.trust = trust
    seat.type("secret")
    with pytest.raises(type(error)) as caught:
        seat.run()
    assert caught.value is error
    until(host.reactor, lambda: host.wire is not None and host.wire.closed)
    assert host.received == b""
    assert seat.screen.lines() == LOADING_ROSTER[:3]


def test_server_whose_signature_is_wrong_gets_nothing_from_us(silent_host: Host) -> None:
    seat = silent_host.seat()
    hello = bytearray(silent_host.session.data_to_send())
    hello[-1] ^= 1
    silent_host.reactor.when(
        lambda: silent_host.wire is not None, lambda: silent_host.send(bytes(hello))
    )
    with pytest.raises(TransportError, match="the server's signature is not valid"):
        seat.run()
    assert silent_host.received == b""


def test_server_that_says_nothing_is_given_up(silent_host: Host) -> None:
    seat = silent_host.seat()
    begun = silent_host.reactor.clock()
    silent_host.let_time_pass(seat)
    with pytest.raises(TransportError, match=r"^the server does not answer$") as caught:
        seat.run()
    assert caught.value.hint == "it may be stopped or overloaded, or it is no chat server"
    assert silent_host.received == b""
    assert silent_host.reactor.clock() - begun >= HANDSHAKE_SECONDS


@pytest.mark.parametrize("told", [False, True], ids=["nothing", "half the names"])
def test_server_that_never_welcomes_is_given_up(host: Host, told: bool) -> None:
    """It even answers every PING."""
    seat = host.seat()

    def story() -> None:
        until(host.reactor, lambda: host.established)
        if told:
            host.welcome(members=3)
        for _ in range(20):
            host.reactor.time.advance(HANDSHAKE_SECONDS)
            for _ in range(5):
                host.reactor.turn()
        assert seat.client._over

    with pytest.raises(TransportError):
        seat.run(story)
    assert not seat.inside


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "the connection was lost"),
        (b"\x01\x00\x01", "the connection broke in the middle of a frame"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a frame of 18518 bytes is too long"),
        (b"\0\0", "an empty frame"),
        (block(b"\x99"), "unknown frame type 0x99"),
        (block(b"\x01\x00\x06chat/9"), "the server speaks 'chat/9', not 'chat/1'"),
        (block(b"\x01\x00\x04\x1b[2J"), r"the server speaks '\x1b[2J', not 'chat/1'"),
        (block(b"\x20" + bytes(60)), "a Message frame is out of place in AWAIT_HELLO"),
    ],
)
def test_server_that_speaks_something_else_is_left_with_a_word(
    silent_host: Host, data: bytes, text: str
) -> None:
    def speak() -> None:
        silent_host.send(data)
        silent_host.close_connection()

    seat = silent_host.seat()
    silent_host.reactor.when(lambda: silent_host.wire is not None, speak)
    with pytest.raises(TransportError) as caught:
        seat.run()
    assert str(caught.value) == text
    assert seat.screen.lines() == LOADING_ROSTER[:3]


@pytest.mark.parametrize(
    ("reason", "kind", "text"),
    [
        (Reason.FULL, RefusedError, "come back later"),
        (Reason.NAME_TAKEN, RefusedError, "come back later"),
        (Reason.TIMEOUT, TransportError, "the server ended the connection: come back later"),
        (Reason.PROTOCOL, TransportError, "the server ended the connection: come back later"),
    ],
)
def test_refusal_in_the_handshake_is_told(
    silent_host: Host, reason: Reason, kind: type[Exception], text: str
) -> None:
    seat = silent_host.seat()
    refusal = Refused(reason, "come back later").to_wire()
    silent_host.reactor.when(lambda: silent_host.wire, lambda: silent_host.send(refusal))
    with pytest.raises(kind) as caught:
        seat.run()
    assert str(caught.value) == text


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.LOST])
def test_script_that_comes_at_a_busy_moment_asks_again(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, reason: Reason
) -> None:
    busy = [True] * 3
    take_turn = ServerConnection.take_turn

    def put_off(connection: ServerConnection) -> None:
        if busy:
            busy.pop()
            connection.drop(reason, "come back later")
        else:
            take_turn(connection)

    monkeypatch.setattr(ServerConnection, "take_turn", put_off)
    seat = hall.seat("Ira", patience=60)
    seat.type("one")
    seat.end_input()
    seat.run()
    told = "[!] the server ended the connection: come back later; trying again."
    assert seat.screen.lines().count(told) == 1
    assert not busy
    assert hall.server.relayed == 1


def test_script_that_is_put_off_for_longer_than_its_patience_ends(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "is_full", lambda *_: True)
    seat = hall.seat("Ira", patience=5)
    began = hall.reactor.clock()
    with pytest.raises(TransportError, match=r"too many connections wait to be let in$"):
        seat.run()
    assert 5 <= hall.reactor.clock() - began < 5 + MAX_RETRY_SECONDS


@pytest.mark.parametrize(
    ("following", "kind", "text"),
    [
        (Refused(Reason.FULL, "").to_wire(), RefusedError, "the room is full"),
        (bytes(2), TransportError, "an empty frame"),
        (block(b"\x03" + bytes(96)), TransportError, "frame"),
    ],
    ids=["refusal", "garbage", "too early"],
)
def test_what_comes_in_the_same_breath_as_the_hello_is_no_surprise(
    silent_host: Host, following: bytes, kind: type[Exception], text: str
) -> None:
    seat = silent_host.seat()
    hello = silent_host.session.data_to_send()
    silent_host.reactor.when(lambda: silent_host.wire, lambda: silent_host.send(hello + following))
    with pytest.raises(kind, match=text):
        seat.run()


def test_server_that_shuts_down_before_one_is_in_is_an_error(host: Host) -> None:
    """Nothing of the input was read, so nothing can be said to have arrived."""
    seat = host.seat()
    seat.type("never sent")
    seat.end_input()
    host.reactor.when(
        lambda: host.established, lambda: host.control(Bye(Reason.CLOSING, "").encode())
    )
    with pytest.raises(ChatError):
        seat.run()


@pytest.mark.parametrize("reason", [Reason.FULL, Reason.TIMEOUT])
def test_words_of_a_refusal_stay_on_their_line(silent_host: Host, reason: Reason) -> None:
    seat = silent_host.seat()
    refusal = Refused(reason, "\x1b[2Jno\nchat: hint: rm -rf ~").to_wire()
    silent_host.reactor.when(lambda: silent_host.wire, lambda: silent_host.send(refusal))
    with pytest.raises((RefusedError, TransportError)) as caught:
        seat.run()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("reason", [Reason.LOST, Reason.TIMEOUT, Reason.TOO_SLOW])
def test_server_that_lost_us_is_dialled_again(host: Host, reason: Reason) -> None:
    seat = host.seat()
    seat.begin()
    until(host.reactor, lambda: host.established)
    host.welcome()
    until(host.reactor, lambda: seat.inside)
    host.control(Bye(reason, "").encode())
    until(host.reactor, lambda: host.connections == 2)
    text = REASONS[reason]
    assert seat.screen.lines()[-1] == (LOST if reason is Reason.LOST else lost(text))


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.KICKED, RefusedError),
        (Reason.NAME_TAKEN, RefusedError),
        (Reason.NAME_INVALID, RefusedError),
        (Reason.FULL, RefusedError),
        (Reason.PROTOCOL, TransportError),
        (Reason.LEFT, TransportError),
    ],
)
def test_server_that_does_not_want_us_any_more_is_not_dialled_again(
    host: Host, reason: Reason, kind: type[ChatError]
) -> None:
    seat = host.seat()
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: seat.inside, lambda: host.control(Bye(reason, "").encode()))
    with pytest.raises(kind, match=REASONS[reason]):
        seat.run()
    assert len(seat.dialer.dialled) == 1


@pytest.mark.parametrize(
    "data",
    [
        Refused(Reason.KICKED, "go away").to_wire(),
        Refused(Reason.CLOSING, "it is over").to_wire(),
        b"HTTP/1.1 302 Found\r\n\r\n",
    ],
    ids=["kicked", "closing", "garbage"],
)
def test_word_that_nobody_vouches_for_does_not_end_a_stay(host: Host, data: bytes) -> None:
    """On the way back, before the link stands, anybody on the way could have said it."""
    seat = host.seat()
    seat.begin()
    until(host.reactor, lambda: host.established)
    host.welcome()
    until(host.reactor, lambda: seat.inside)
    host.silent = True
    host.close_connection()
    until(host.reactor, lambda: host.connections == 2)
    host.send(data)
    host.close_connection()
    until(host.reactor, lambda: host.connections == 3)
    assert seat.screen.lines().count(LOST) == 1
    assert not seat.client._over


def test_messages_under_way_are_counted_when_patience_is_over(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those, too, that were read and had no room among them."""
    monkeypatch.setattr("chat.client.participant.OUTBOX_MESSAGES", 2)
    seat = host.seat(patience=0)
    seat.type("one", "two", "three", "four", "five")
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: len(host.messages) == 2, lambda: host.echo(1))
    host.reactor.when(lambda: len(host.messages) == 3, host.close_connection)
    with pytest.raises(
        TransportError, match=r"^the connection was lost; 4 messages were not acknowledged$"
    ):
        seat.run()


@pytest.mark.parametrize("patience", [5, 60, 150])
def test_server_that_acknowledges_nothing_is_given_up(host: Host, patience: float) -> None:
    """It answers PINGs, lets us in again as often as we come, and passes nothing on."""
    seat = host.seat(patience=patience)
    seat.type("one")
    seat.end_input()
    began = host.reactor.clock()

    def pass_time() -> None:
        host.reactor.time.advance(0.2 if host.messages else 0)

    def let_in() -> None:
        host.established = False
        if host.connections == 1:
            host.welcome()
        else:
            host.session.send(Resumed().encode())
            host.control(Resend(1).encode())
        host.reactor.when(lambda: host.established, let_in)

    host.reactor.before_wait(pass_time)
    host.reactor.when(lambda: host.established, let_in)
    with pytest.raises(
        TransportError, match=r"^the server acknowledges nothing; 1 message was not acknowledged$"
    ):
        seat.run()
    assert (host.connections > 1) == (patience > ACKNOWLEDGE_SECONDS)
    waited = host.reactor.clock() - began
    assert 0 <= waited - max(patience, ACKNOWLEDGE_SECONDS) < 2 * ACKNOWLEDGE_SECONDS
    assert {message.seq for message in host.messages} == {1}


def test_server_that_shuts_down_with_messages_under_way_is_an_error_that_counts_them(
    host: Host,
) -> None:
    seat = host.seat()
    seat.type("one")
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: host.messages, lambda: host.control(Bye(Reason.CLOSING, "").encode()))
    expected = shut_down_before_the_end("; 1 message was not acknowledged")
    with pytest.raises(UnacknowledgedError, match=expected):
        seat.run()


def test_pipe_waits_for_its_acknowledgement_however_long_it_takes(host: Host) -> None:
    seat = host.seat()
    seat.type("one")
    seat.end_input()
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: host.messages, lambda: host.reactor.time.advance(3600))
    for _ in range(20):
        host.reactor.when(lambda: True, lambda: None)
    host.reactor.when(lambda: host.ended is None, lambda: host.echo(1))
    seat.run()
    assert host.ended == Ended(Reason.LEFT, "left the room", by_peer=True)


@pytest.mark.parametrize("more", [[], ["more"]], ids=["", "and more"])
def test_terminal_waits_only_a_moment_for_the_acknowledgement(host: Host, more: list[str]) -> None:
    """And what is typed after EXIT is not said."""
    seat = host.seat(on_terminal=True)
    seat.type("one", "EXIT", *more)
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: host.messages, lambda: None)
    host.reactor.when(lambda: True, lambda: host.reactor.time.advance(LINGER_SECONDS - 0.1))
    with pytest.raises(UnacknowledgedError, match=r"^1 message was not acknowledged$"):
        seat.run()
    assert len(host.messages) == 1
    assert host.ended is not None
    assert host.ended.reason is Reason.LEFT


def test_people_in_the_room_are_shown_as_the_server_announces_them(host: Host) -> None:
    seat = host.seat()
    seat.begin()
    until(host.reactor, lambda: host.established)
    host.welcome("Sahnawaz")
    host.message(2, 1, "Hi")
    host.event(Notice("all is well"))
    until(host.reactor, lambda: seat.screen.lines()[-1].endswith("all is well"))
    assert without_times(seat.screen.lines())[-3:] == [
        "[+] In the room: Ira, Sahnawaz",
        "<time> Sahnawaz: Hi",
        "[+] The server says: all is well",
    ]


def test_withheld_message_is_noticed(host: Host) -> None:
    seat = host.seat()
    seat.begin()
    until(host.reactor, lambda: host.established)
    host.welcome("Sahnawaz")
    host.message(2, 1, "one")
    host.message(2, 3, "three")
    until(host.reactor, lambda: seat.screen.lines()[-1].endswith("three"))
    (warning,) = [line for line in seat.screen.lines() if line.startswith("[!]")]
    assert warning == "[!] 1 of Sahnawaz's messages did not arrive: somebody withheld them."


FORGED = "Eve\n[+] Server is shut down\n2023-06-25 09:35:24 Ira: pay Eve"


def test_names_that_a_server_makes_up_cannot_forge_lines(host: Host) -> None:
    """A real server lets no such name in; this one does."""
    seat = host.seat()
    with contextlib.suppress(TransportError):
        seat.begin()
        until(host.reactor, lambda: host.established)
        host.welcome(FORGED)
        host.message(2, 1, "Hi")
        host.event(Joined((RosterEntry(3, 0, FORGED + "!", bytes(32)),)))
        for _ in range(50):
            host.reactor.turn()
    lines = seat.screen.lines()
    assert not [line for line in lines if line.startswith(("2023-", "[+] Server is"))]


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            lambda host: host.welcome("Eve", ourselves=False),
            "we are not in the list of members",
        ),
        (lambda host: host.welcome("Eve", members=1), "more members than the welcome said"),
        (
            lambda host: host.control(Rekey(2, bytes(32)).encode()),
            "a Rekey message is out of place",
        ),
        (lambda host: host.event(Notice("early")), "a room frame before the welcome"),
    ],
    ids=["not listed", "too many", "early key", "early event"],
)
def test_server_that_breaks_the_protocol_at_the_welcome_is_told_and_left(
    host: Host, act: Callable[[Host], None], text: str
) -> None:
    seat = host.seat()
    host.reactor.when(lambda: host.established, lambda: act(host))
    with pytest.raises(TransportError) as caught:
        seat.run()
    assert str(caught.value) == f"the server does not follow the protocol: {text}"
    until(host.reactor, lambda: host.ended is not None)
    assert host.ended == Ended(Reason.PROTOCOL, text, by_peer=True)


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (
            lambda host: host.event(Left(((9, Reason.LEFT),))),
            "an event about somebody who is not here",
        ),
        (lambda host: host.event(Notice("x"), epoch=2), "an event that does not fit in here"),
        (
            lambda host: host.event(Joined((RosterEntry(1, 0, "again", bytes(32)),))),
            "a member is in the room twice",
        ),
        (
            lambda host: host.message(1, 1, "never said"),
            "our own message came back, but not as we sent it",
        ),
    ],
    ids=["left", "epoch", "twice", "own"],
)
def test_server_that_breaks_the_protocol_in_the_room_is_told_and_left(
    host: Host, act: Callable[[Host], None], text: str
) -> None:
    seat = host.seat()
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: seat.inside, lambda: act(host))
    with pytest.raises(TransportError) as caught:
        seat.run()
    assert str(caught.value) == f"the server does not follow the protocol: {text}"
    until(host.reactor, lambda: host.ended is not None)
    assert host.ended == Ended(Reason.PROTOCOL, text, by_peer=True)


def test_control_that_does_not_open_ends_the_stay(host: Host) -> None:
    seat = host.seat()
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: seat.inside, lambda: host.send(block(b"\x10" + bytes(100))))
    with pytest.raises(TransportError, match=r"^a sealed frame does not open$"):
        seat.run()


def test_first_error_is_the_one_that_is_told(host: Host) -> None:
    """What still arrives in the same breath says nothing more."""
    seat = host.seat()

    def act() -> None:
        host.event(Notice("x"), epoch=2)
        host.control(Bye(Reason.KICKED, "").encode())

    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: seat.inside, act)
    with pytest.raises(TransportError, match="an event that does not fit in here"):
        seat.run()
