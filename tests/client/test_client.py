"""The client on the loopback: what it shows and sends, and how every stay comes to its end.

`Host` plays the server by hand, for what a real one would never do.
"""

import contextlib
import os
import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from unittest import mock

import pytest

from chat import limits
from chat.client.events import MemberBack, MemberJoined, MemberLeft, MemberLost
from chat.controls import Bye, Check, Control, Ping, Rekey, Resend, Resume, Resumed, Roster
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
from chat.invite import Invite
from chat.kex import PublicKey, RoomKey, SignedShare
from chat.place import Endpoint
from chat.reactor import WakeUp
from chat.server.admission import Admission
from chat.server.connection import Connection as ServerConnection
from chat.session import Ended, Established, Offer, ServerSession, SubmitReceived
from chat.stdio import LineOutput
from chat.wire import Message, Refused, block, room_headers
from tests.support import hall as by_hand
from tests.support.hall import cut, entry
from tests.support.helpers import key
from tests.support.loopback import Hall, Seat, SteppedReactor, Wire, listen, until


@pytest.fixture
def hall() -> Iterator[Hall]:
    with contextlib.closing(Hall()) as hall:
        yield hall


FINGERPRINT = key("server").public.fingerprint

LOADING_ROSTER = [
    "[+] Connected successfully.",
    "[+] Exchanging keys.",
    "[+] Getting public key from the server",
    "[+] The server 127.0.0.1 has the key",
    f"    {FINGERPRINT}",
    "    new: compare it with the one that its operator sees (/security)",
    "[+] Sending public key to server",
    "[+] Exchange completed!",
    "[+] Initial set up had been completed!",
    "[+] Now you can start to exchange messages",
]


def without_times(lines: list[str]) -> list[str]:
    return [re.sub(r"^[0-9]{4}-[0-9-]{5} [0-9:]{8} ", "<time> ", line) for line in lines]


# -- coming in


def test_invite_of_a_sealed_room_is_known_when_the_server_has_shown_its_key(hall: Hall) -> None:
    seat = hall.seat("Ira", room_key=RoomKey(bytes(range(32))))
    opened = hall.seat("Boris", "other")
    assert seat.client.invite is None
    for one in (seat, opened):
        one.begin()
    hall.until(lambda: seat.inside and opened.inside)
    invite = Invite((Endpoint(*hall.address),), key("server").public.digest, bytes(range(32)))
    assert seat.client.invite == invite.encode()
    assert opened.client.invite is None


@pytest.mark.parametrize("known", [None, "2026-11-27"])
def test_entering_is_shown_step_by_step(hall: Hall, known: str | None) -> None:
    asked: list[PublicKey] = []

    def trust(server_key: PublicKey) -> str | None:
        asked.append(server_key)
        return known

    hall.join("Ärger")
    seat = hall.seat("Ira")
    seat.trust = trust
    seat.end_input()
    seat.run()
    assert asked == [key("server").public]
    lines = [*LOADING_ROSTER, "[+] In the room: Ärger, Ira"]
    assert seat.screen.lines() == [
        f"    known since {known}" if known and line.startswith("    new: ") else line
        for line in lines
    ]
    hall.until(lambda: hall.shown("[+] Ira left the server."))


@pytest.mark.parametrize("broadcast", [False, True])
def test_address_that_cannot_be_reached_is_an_error(hall: Hall, broadcast: bool) -> None:
    """A broadcast address is refused by `connect` itself, before there is anything to wait for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = ("127.255.255.255", 9) if broadcast else listener.getsockname()
    seat = hall.seat("Ira", address=address)
    text = "network is unreachable" if broadcast else "connection refused"
    with pytest.raises(TransportError, match=text):
        seat.run()
    assert seat.screen.lines() == []
    assert len(seat.dialer.dialled) == 1


# -- talking


def test_what_was_read_is_sent_before_the_client_waits(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is under way is acknowledged at once; nothing else will wake the client up."""
    monkeypatch.setattr("chat.client.outbox.OUTBOX_MESSAGES", 2)
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


@pytest.mark.parametrize("on_terminal", [True, False], ids=["terminal", "pipe"])
def test_exit_leaves_and_what_follows_it_is_neither_sent_nor_missed(
    hall: Hall, on_terminal: bool
) -> None:
    guest = hall.join("guest", "other")
    seat = hall.seat("Ira", on_terminal=on_terminal)
    seat.type("one", "EXIT", *([] if on_terminal else ["two"]))
    seat.run()
    hall.until(lambda: hall.shown("[+] Ira left the server."))
    assert guest.heard == ["Ira: one"]


# -- being put out


def test_name_that_is_taken_is_refused(hall: Hall) -> None:
    hall.join("ira", "other")
    seat = hall.seat("Ira")
    seat.type("never sent")
    with pytest.raises(RefusedError, match=r"^the name Ira is taken: it has been in use") as caught:
        seat.run()
    assert caught.value.reason is Reason.NAME_TAKEN
    assert caught.value.exit_status == 3


def test_client_stays_when_the_same_person_comes_in_from_elsewhere(hall: Hall) -> None:
    seat = hall.seat("Ira")

    def story() -> None:
        hall.until(lambda: seat.inside)
        seat.screen.clear()
        phone = hall.join("Ira")
        phone.say("from the phone")
        hall.until(lambda: seat.screen.lines())
        phone.send_control(Bye(Reason.LEFT, "").encode())
        hall.until(lambda: phone.eof)
        seat.type("from here")
        seat.end_input()

    seat.run(story)
    assert without_times(seat.screen.lines()) == ["<time> Ira: from the phone"]


def test_caller_that_is_one_too_many_tries_again(hall: Hall) -> None:
    hall.server.budgets = None
    guest = hall.join("guest", "other")
    calling = [hall.join("Ira", caller=True) for _ in range(limits.MAX_CALLERS_OF_KEY)]
    one_more = hall.seat("Ira", caller=True, patience=limits.PATIENCE_SECONDS)
    one_more.type("done")
    one_more.end_input()
    hall.when(lambda: len(one_more.dialer.dialled) == 2, lambda: calling[0].close())
    one_more.run()
    hall.until(lambda: guest.heard)
    assert guest.heard == ["Ira: done"]
    assert guest.news == []
    why = "8 others of your key are saying something; try again in a moment; trying again"
    assert any(why in line for line in one_more.screen.lines())


def test_person_whose_server_shuts_down_leaves_in_peace(hall: Hall) -> None:
    seat = hall.seat("Ira", on_terminal=True)
    hall.when(lambda: seat.inside, hall.server.terminate)
    seat.run()
    assert seat.screen.lines()[-1] == "[!] The server has shut down."


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
    told = f'{REASONS[reason]} (it says, unproved: "come back later"); trying again.'
    assert seat.screen.lines().count(f"[!] the server ended the connection: {told}") == 1
    assert not busy
    assert hall.home.room.messages == 1


@pytest.mark.slow
def test_script_that_is_put_off_for_longer_than_its_patience_ends(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "is_full", lambda *_: True)
    seat = hall.seat("Ira", patience=5)
    began = hall.reactor.clock()
    with pytest.raises(TransportError, match=r"too many connections wait to be let in"):
        seat.run()
    assert 5 <= hall.reactor.clock() - began < 5 + limits.MAX_RETRY_SECONDS


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

    def enter(self) -> "Distant":
        """Begin, and come in."""
        self.seat.begin()
        self._come_in()
        return self

    def _come_in(self) -> None:
        self.hall.until(lambda: self.seat.inside)
        self.hall.until(lambda: self.guest.news)
        self.seat.screen.clear()

    def run(self, story: Callable[[], None]) -> None:
        """Come in, let this happen, and stay until it is over."""

        def come_in_and_go_on() -> None:
            self._come_in()
            story()

        self.seat.run(come_in_and_go_on)

    @property
    def lines(self) -> list[str]:
        return without_times(self.seat.screen.lines())

    @property
    def dialled(self) -> int:
        return len(self.seat.dialer.dialled)

    def wait_for(self, line: str, times: int = 1) -> None:
        """Let time pass until this line is shown, so many times altogether."""
        for _ in range(1000):
            if self.lines.count(line) >= times:
                return
            self.hall.wait(0.1)
        raise AssertionError(f"{line!r} is not among {self.lines}")

    def until_heard(self, *texts: str) -> None:
        """Until the guest has heard all of this, and nothing else, from the client."""
        expected = [f"Ira: {text}" for text in texts]
        self.hall.until(lambda: [line for line in self.guest.heard if "Ira" in line] == expected)

    def unplug(self) -> None:
        """The connection is lost, and there is no other for the moment."""
        self.cable.unplug()
        self.hall.until(lambda: LOST in self.lines)
        self.hall.until(lambda: MemberLost("Ira") in self.guest.news)


@pytest.fixture
def distant(hall: Hall) -> Distant:
    return Distant(hall).enter()


def test_client_that_lost_the_connection_comes_back_and_nothing_is_lost(
    hall: Hall, distant: Distant
) -> None:
    distant.seat.type("before")
    distant.until_heard("before")
    distant.unplug()
    distant.guest.say("meanwhile")
    distant.seat.type("offline", "offline, too")
    hall.turns(10)
    hall.wait(20)
    assert distant.lines == [LOST], "it must be said once"
    distant.cable.plug()
    distant.wait_for(BACK)
    distant.seat.type("after")
    distant.until_heard("before", "offline", "offline, too", "after")
    assert distant.guest.heard[1] == "guest: meanwhile"
    assert distant.guest.news == [MemberJoined("Ira"), MemberLost("Ira"), MemberBack("Ira")]
    assert distant.lines == [LOST, BACK, "<time> guest: meanwhile"]
    assert hall.shown("[+] Ira is back.")


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_client_tries_again_less_and_less_often(
    hall: Hall, distant: Distant, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Between half the time and all of it; which, is drawn."""
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return share

    def expect_a_try_after(seconds: float) -> None:
        tries = distant.dialled
        hall.wait(share * seconds - 0.1)
        assert distant.dialled == tries
        hall.wait(0.1)
        assert distant.dialled == tries + 1
        hall.turns(3)

    monkeypatch.setattr(random, "uniform", draw)
    distant.unplug()
    for seconds in (limits.RETRY_SECONDS, 1, 2, 4, 8, *[limits.MAX_RETRY_SECONDS] * 2):
        expect_a_try_after(seconds)
    distant.cable.plug()
    distant.wait_for(BACK)
    distant.cable.cut()
    hall.until(lambda: distant.lines.count(LOST) == 2)
    expect_a_try_after(limits.RETRY_SECONDS)
    assert set(drawn) == {(0.5, 1.0)}


def sleep(distant: Distant) -> None:
    distant.seat.client.wake()


def speak(distant: Distant) -> None:
    distant.seat.type("are you there?")


@pytest.mark.parametrize("act", [sleep, speak])
def test_client_that_waits_to_try_again_tries_at_once_after_a_sleep_or_for_a_line(
    hall: Hall, distant: Distant, act: Callable[[Distant], None]
) -> None:
    distant.unplug()
    for _ in range(60):
        hall.wait(1)
    distant.cable.plug()
    begun = hall.reactor.clock()
    act(distant)
    hall.until(lambda: BACK in distant.lines)
    assert hall.reactor.clock() - begun < 1


@pytest.mark.parametrize("on_terminal", [True, False], ids=["terminal", "pipe"])
def test_full_outbox_is_told_to_a_person_and_nothing_is_lost(
    hall: Hall, monkeypatch: pytest.MonkeyPatch, on_terminal: bool
) -> None:
    monkeypatch.setattr("chat.client.outbox.OUTBOX_MESSAGES", 2)
    distant = Distant(hall, on_terminal=on_terminal).enter()
    distant.unplug()
    texts = ["one", "two", "three", "four", "five"]
    distant.seat.type(*texts)
    hall.until(lambda: distant.seat.client.full)
    hall.turns(5)
    full = ["[!] 2 messages wait for the connection; no more can be taken."]
    assert distant.lines == [LOST, *(full if on_terminal else [])]
    distant.cable.plug()
    distant.wait_for(BACK)
    distant.until_heard(*texts)


@pytest.mark.parametrize("typed", [["EXIT"], ["one", "two", "EXIT", "three"], None])
def test_leaving_while_offline_waits_a_moment_and_counts_what_was_not_sent(
    hall: Hall, typed: list[str] | None
) -> None:
    """Leaving twice does not wait at all."""
    distant = Distant(hall, on_terminal=True)
    begun: list[float] = []

    def story() -> None:
        distant.unplug()
        begun.append(hall.reactor.clock())
        if typed is None:
            distant.seat.client.leave()
            distant.seat.client.leave()
        else:
            distant.seat.type(*typed)

    if typed and len(typed) > 1:
        with pytest.raises(UnacknowledgedError, match=r"^2 messages were not acknowledged$"):
            distant.run(story)
        waits = "Waiting for 2 messages to be acknowledged; Ctrl-C leaves at once."
    else:
        distant.run(story)
        waits = "Leaving; Ctrl-C leaves at once."
    assert distant.lines == [LOST, f"[+] {waits}"]
    took = hall.reactor.clock() - begun[0]
    assert (
        took < 0.2 if typed is None else limits.LINGER_SECONDS <= took < limits.LINGER_SECONDS + 0.2
    )


@pytest.mark.parametrize("on_terminal", [True, False], ids=["EXIT", "end of a pipe"])
@pytest.mark.parametrize("again", [False, True], ids=["lost once", "lost again"])
def test_leaving_while_offline_gives_up_the_place_as_soon_as_the_server_is_reached(
    hall: Hall, on_terminal: bool, again: bool
) -> None:
    distant = Distant(hall, on_terminal=on_terminal)

    def story() -> None:
        distant.unplug()
        distant.cable.plug()
        if on_terminal:
            distant.seat.type("EXIT")
        else:
            distant.seat.end_input()
        if again:
            hall.until(lambda: distant.seat.client._connection)
            distant.cable.cut()

    distant.run(story)
    hall.until(lambda: hall.shown("[+] Ira left the server."))
    hall.until(lambda: distant.guest.news[-1] == MemberLeft("Ira", Reason.LEFT))


def test_pipe_that_ends_while_offline_with_nothing_to_send_ends_well_soon(hall: Hall) -> None:
    """Even if its patience is over earlier."""
    distant = Distant(hall, patience=1)
    begun: list[float] = []

    def story() -> None:
        distant.unplug()
        begun.append(hall.reactor.clock())
        distant.seat.end_input()

    distant.run(story)
    assert 0.5 < hall.reactor.clock() - begun[0] < limits.LINGER_SECONDS + 0.2


def test_pipe_gives_up_when_its_patience_is_over(hall: Hall) -> None:
    distant = Distant(hall, patience=60)
    lost_at = 0.0

    def story() -> None:
        nonlocal lost_at
        distant.unplug()
        lost_at = hall.reactor.clock()
        distant.seat.type("one")
        hall.reactor.before_wait(lambda: hall.reactor.time.advance(0.5))

    with pytest.raises(TransportError, match=r"refused; 1 message was not acknowledged$"):
        distant.run(story)
    assert 60 <= hall.reactor.clock() - lost_at < 60 + 2 * limits.MAX_RETRY_SECONDS
    assert distant.lines == [LOST]


def test_other_key_on_the_way_back_is_a_loss_and_told_once(hall: Hall, distant: Distant) -> None:
    """Anybody on the way can show a key. They get nothing, and cannot end the stay either."""
    refused = [ServerKeyError("THE KEY HAS CHANGED")] * 3

    def trust(_key: PublicKey) -> str | None:
        if refused:
            raise refused.pop()
        return ""

    distant.unplug()
    distant.seat.trust = trust
    distant.cable.plug()
    distant.seat.type("secret")
    hall.until(lambda: len(refused) == 2)
    assert distant.cable.carried == 0
    distant.wait_for(BACK)
    distant.until_heard("secret")
    assert not refused
    assert distant.lines == [LOST, "[!] THE KEY HAS CHANGED.", BACK]


def test_dead_connection_is_noticed_and_its_place_taken_over(hall: Hall, distant: Distant) -> None:
    """The server has noticed nothing yet, and neither do the others."""
    distant.cable.freeze()
    distant.guest.say("into the void")
    distant.seat.type("into the void, too")
    hall.wait(limits.PING_SECONDS)
    distant.guest.send_control(Ping().encode())
    hall.wait(limits.PONG_SECONDS - 1)
    assert distant.lines == []
    distant.wait_for(BACK)
    distant.until_heard("into the void, too")
    assert distant.lines == [
        lost("the server has not answered for 45 s"),
        BACK,
        "<time> guest: into the void",
    ]
    assert distant.guest.news == [MemberJoined("Ira")]


def test_client_that_dials_when_it_falls_asleep_dials_anew_until_it_leaves(hall: Hall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seat = hall.seat("Ira", address=listener.getsockname())
        seat.begin()
        seat.client.wake()
        assert len(seat.dialer.dialled) == 2
        assert len(seat.dialer._attempts) == 1
        seat.client.leave()
        assert not seat.dialer._attempts


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

    @property
    def inside(self) -> bool:
        """Whether it was shown that the client is in the room."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.read, 1 << 16):
                self.got += data
        return b"In the room" in self.got

    def break_off(self) -> None:
        """Nobody will read."""
        if self.read >= 0:
            os.close(self.read)
            self.read = -1

    def show_to_nobody(self) -> None:
        self.break_off()
        self.output.write("last")

    def close(self) -> None:
        self.break_off()
        os.close(self._write)


@pytest.fixture
def piped(hall: Hall) -> Iterator[Piped]:
    with contextlib.closing(Piped(hall)) as piped:
        yield piped


def test_client_whose_output_is_not_read_stops_reading_and_loses_nothing(
    hall: Hall, piped: Piped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has stopped the terminal, and looks at it again a while later. Nothing that did not
    arrive meanwhile is held against the server."""
    queue_bytes, text_bytes, count = 32 * 1024, 8_000, 40
    monkeypatch.setattr("chat.client.client.CONSOLE_QUEUE_BYTES", queue_bytes)
    guest = hall.join("guest", "other")
    piped.seat.begin()
    hall.until(lambda: piped.inside)
    for number in range(count):
        guest.say(f"{number:{text_bytes}}")
        hall.until(lambda: not guest.participant.unacknowledged)
    hall.turns(50)
    assert queue_bytes < piped.output.queued_bytes < queue_bytes + 2 * limits.READ_BYTES
    piped.seat.type("Hi")
    hall.until(lambda: "Ira: Hi" in guest.heard)
    for _ in range(4):
        hall.wait(limits.PING_SECONDS)
        guest.send_control(Ping().encode())
        hall.turns(10)
    assert guest.news == [MemberJoined("Ira")]
    assert len(piped.seat.dialer.dialled) == 1
    hall.until(lambda: piped.inside and piped.got.count(b"guest: ") == count)
    shown = [int(line.split()[-1]) for line in bytes(piped.got).splitlines() if b"guest:" in line]
    assert shown == list(range(count))
    assert len(piped.seat.dialer.dialled) == 1


@pytest.mark.parametrize("when", ["from the start", "in the room", "at the end"])
def test_client_whose_output_is_broken_ends(hall: Hall, piped: Piped, when: str) -> None:
    if when == "from the start":
        piped.break_off()
    elif when == "in the room":
        hall.when(lambda: piped.inside, piped.break_off)
        hall.when(lambda: True, lambda: hall.type("SAY is anybody here?"))
    else:
        hall.when(lambda: piped.inside, piped.seat.end_input)
        hall.when(lambda: hall.shown("[+] Ira left the server."), piped.show_to_nobody)
    with pytest.raises(TransportError, match=r"^nobody reads what is shown$"):
        piped.seat.run()
    hall.until(lambda: not hall.home.members())


def test_client_whose_output_broke_before_it_began_dials_nobody(hall: Hall, piped: Piped) -> None:
    """What is shown while the key is made comes before the client."""
    piped.output.on_broken = lambda: None
    piped.show_to_nobody()
    piped.output.on_broken = piped.seat.client._on_broken
    with pytest.raises(TransportError, match=r"^nobody reads what is shown$"):
        piped.seat.run()
    assert piped.seat.dialer.dialled == []


# -- a server played by hand


class Host:
    """A server that answers the handshake as it should, or (`silent`) not at all, and says what it
    is told."""

    def __init__(self) -> None:
        self.reactor = SteppedReactor()
        self.listener = listen("127.0.0.1", 0)
        host, port = self.listener.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self.silent = False
        self.hand = by_hand.Server(epoch=1)
        self._offer = SignedShare.make(key("server"), time.time(), os.urandom)
        self.session = self._new_session()
        self.wire: Wire | None = None
        self.connections = 0
        self.established = False
        self.resume: Resume | None = None
        self.messages: list[bytes] = []
        self.ended: Ended | None = None
        self._handled = 0
        self.seats: list[Seat] = []
        self.reactor.watch_read(self.listener.fileno(), self._on_connection)
        self.reactor.before_wait(self._serve)

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
                case Established(_, _, resume):
                    self.established = True
                    self.resume = resume
                case SubmitReceived(run):
                    self.messages += cut(run)
                case Ended():
                    self.ended = event
        self.wire.send(self.session.data_to_send())

    @property
    def received(self) -> bytes:
        """All bytes that came."""
        return bytes(self.wire.received) if self.wire else b""

    def send(self, *script: bytes | Control) -> None:
        """Send frames, and control messages sealed."""
        assert self.wire is not None
        for step in script:
            if not isinstance(step, bytes):
                self.session.send(step.encode())
                step = self.session.data_to_send()
            self.wire.send(step)

    def close_connection(self) -> None:
        assert self.wire is not None
        self.wire.close()

    def welcome(self, *others: str) -> None:
        """Let the client in as number 1, among others from number 2 on."""
        entries = [entry(number, name) for number, name in enumerate(["Ira", *others], 1)]
        self.send(self.hand.welcome(members=len(entries)), Roster(tuple(entries)))

    def let_in(self, seat: Seat, *others: str) -> None:
        """Begin the client's stay."""
        seat.begin()
        until(self.reactor, lambda: self.established)
        self.welcome(*others)
        until(self.reactor, lambda: seat.inside)

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


# -- how a stay ends badly

Act = Callable[[Host], None]


def say(*script: bytes | Control) -> Act:
    return lambda host: host.send(*script)


def hang_up(data: bytes) -> Act:
    """Say this in the clear, and no more."""

    def act(host: Host) -> None:
        host.send(data)
        host.close_connection()

    return act


def hello_and(following: bytes) -> Act:
    """Two things in the same breath."""
    return lambda host: host.send(host.session.data_to_send() + following)


def forge_hello(host: Host) -> None:
    hello = bytearray(host.session.data_to_send())
    hello[-1] ^= 1
    host.send(bytes(hello))


def welcome_without_us(host: Host) -> None:
    host.send(host.hand.welcome(members=1), Roster((entry(2, "Eve"),)))


BY_SERVER = "the server ended the connection: "
OF_THIS_CLIENT = f"this client {REASONS[Reason.PROTOCOL]}"
BREACH = "the server does not follow the protocol: "
LINES, UNPROVED = "x\x1b[2J\ny", r' (it says, unproved: "x\x1b[2J\ny")'
FULL, TIMEOUT = (Refused(reason, LINES).to_wire() for reason in (Reason.FULL, Reason.TIMEOUT))

Ends = dict[str, tuple[Act, type[ChatError]]]
"""What is told in the end, and what the server does for it."""

NO_HANDSHAKE: Ends = {
    "the connection was lost": (hang_up(b""), TransportError),
    "the connection broke in the middle of a frame": (hang_up(b"\x01\0\x01"), TransportError),
    "a frame of 18518 bytes is too long": (hang_up(b"HTTP/1.1 400 Bad\r\n\r\n"), TransportError),
    r"the server speaks '\x1b[2J', not 'chat/1'": (
        hang_up(block(b"\x01\x00\x04\x1b[2J")),
        TransportError,
    ),
    "the server's signature is not valid": (forge_hello, TransportError),
    BY_SERVER + REASONS[Reason.TIMEOUT] + UNPROVED: (say(TIMEOUT), TransportError),
}
WITH_HELLO: Ends = {
    REASONS[Reason.FULL] + UNPROVED: (hello_and(FULL), RefusedError),
    "a SessionKey frame is out of place in AWAIT_TRUST": (
        hello_and(block(b"\x03" + bytes(96))),
        TransportError,
    ),
}
AT_THE_WELCOME: Ends = {
    f"{BREACH}we are not in the list of members": (welcome_without_us, TransportError),
    f"{BREACH}a Rekey message is out of place": (say(Rekey(2, bytes(32))), TransportError),
    BY_SERVER + REASONS[Reason.CLOSING]: (say(Bye(Reason.CLOSING, "")), TransportError),
}
INSIDE: Ends = {
    f"{BREACH}a Resumed message is out of place": (say(Resumed()), TransportError),
    "a frame is too short for its fields": (say(Rekey(2, b"")), TransportError),
    REASONS[Reason.KICKED]: (say(Bye(Reason.KICKED, "")), RefusedError),
    BY_SERVER + OF_THIS_CLIENT: (say(Bye(Reason.PROTOCOL, "")), TransportError),
}


def end_of(host: Host, seat: Seat, kind: type[ChatError]) -> str:
    with pytest.raises(kind) as caught:
        seat.run()
    assert host.connections == 1
    return str(caught.value)


@pytest.mark.parametrize("text", [*NO_HANDSHAKE, *WITH_HELLO])
def test_server_that_does_not_shake_hands_is_left_with_the_reason(host: Host, text: str) -> None:
    act, kind = {**NO_HANDSHAKE, **WITH_HELLO}[text]
    host.silent = True
    seat = host.seat()
    host.reactor.when(lambda: host.wire is not None, lambda: act(host))
    assert end_of(host, seat, kind) == text
    if text in NO_HANDSHAKE:
        assert seat.screen.lines() == LOADING_ROSTER[:3]
        assert host.received == b""


@pytest.mark.parametrize("text", [*AT_THE_WELCOME, *INSIDE])
def test_stay_that_cannot_go_on_ends_and_a_breach_is_told(host: Host, text: str) -> None:
    seat = host.seat()
    act, kind = {**AT_THE_WELCOME, **INSIDE}[text]
    if text in INSIDE:
        host.reactor.when(lambda: host.established, host.welcome)
    else:
        seat.type("never read")
    host.reactor.when(
        lambda: host.established and (text not in INSIDE or seat.inside), lambda: act(host)
    )
    assert end_of(host, seat, kind) == text
    if text.startswith(BREACH):
        until(host.reactor, lambda: host.ended is not None)
        assert host.ended == Ended(Reason.PROTOCOL, text.removeprefix(BREACH), by_peer=True)


def test_first_error_is_told_though_somebody_leaves_meanwhile(host: Host) -> None:
    seat = host.seat()

    def act() -> None:
        assert host.wire is not None
        host.wire.deafen()
        host.send(Resumed(), Resumed())

    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: seat.inside, act)
    for _ in range(5):
        host.reactor.when(lambda: True, lambda: None)
    host.reactor.when(lambda: True, seat.client.leave)
    with pytest.raises(TransportError, match=r"a Resumed message is out of place$"):
        seat.run()


@pytest.mark.parametrize(
    "error", [ServerKeyError("THE KEY HAS CHANGED"), IdentityError("the list cannot be used")]
)
def test_server_that_is_not_trusted_gets_nothing_from_us(host: Host, error: ChatError) -> None:
    def trust(_key: PublicKey) -> str | None:
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


def leave_twice(seat: Seat) -> None:
    seat.client.leave()
    seat.client.leave()


@pytest.mark.parametrize("when", ["dialling", "nothing said", "not let in"])
def test_leaving_before_one_is_in_waits_for_nobody(host: Host, when: str) -> None:
    host.silent = when == "nothing said"
    seat = host.seat()
    begun = host.reactor.clock()
    reached = {"dialling": lambda: True, "nothing said": lambda: host.wire}
    host.reactor.when(reached.get(when, lambda: host.established), lambda: leave_twice(seat))
    with pytest.raises(ChatError, match=r"^interrupted$"):
        seat.run()
    assert host.reactor.clock() - begun < limits.LINGER_SECONDS / 4
    if when == "not let in":
        until(host.reactor, lambda: host.ended is not None)
        assert host.ended == Ended(Reason.LEFT, REASONS[Reason.LEFT], by_peer=True)


@pytest.mark.parametrize("told", ["nothing", "hello", "half the names"])
def test_server_that_does_not_let_us_in_is_given_up(host: Host, told: str) -> None:
    """It even answers every PING."""
    host.silent = told == "nothing"
    seat = host.seat()
    begun = host.reactor.clock()
    half = [host.hand.welcome(), Roster((entry(1, "Ira"),))] if told == "half the names" else []
    if not host.silent:
        host.reactor.when(lambda: host.established, lambda: host.send(*half))
    host.reactor.when(
        lambda: host.silent or host.established,
        lambda: host.reactor.before_wait(lambda: host.reactor.time.advance(1)),
    )
    text = "does not answer" if host.silent else "does not let us in"
    with pytest.raises(TransportError, match=text):
        seat.run()
    assert host.reactor.clock() - begun >= limits.HANDSHAKE_SECONDS
    assert not seat.inside


# -- in the room of such a server


def test_server_that_lost_us_is_dialled_again(host: Host) -> None:
    seat = host.seat()
    host.let_in(seat)
    host.send(Bye(Reason.TOO_SLOW, ""))
    until(host.reactor, lambda: host.connections == 2)
    assert seat.screen.lines()[-1] == lost(f"this client {REASONS[Reason.TOO_SLOW]}")


@pytest.mark.parametrize(
    "data",
    [Refused(Reason.KICKED, "go away").to_wire(), b"HTTP/1.1 302 Found\r\n\r\n"],
    ids=["kicked", "garbage"],
)
def test_word_that_nobody_vouches_for_does_not_end_a_stay(host: Host, data: bytes) -> None:
    """On the way back, before the link stands, anybody on the way could have said it."""
    seat = host.seat()
    host.let_in(seat)
    host.silent = True
    host.close_connection()
    until(host.reactor, lambda: host.connections == 2)
    host.send(data)
    host.close_connection()
    until(host.reactor, lambda: host.connections == 3)
    lines = seat.screen.lines()
    assert [line for line in lines if line.endswith("trying to get it back.")] == [LOST]
    assert lines.count(LOADING_ROSTER[4]) == 1


CHANGED = "; it was changed on the way"
JUNK: dict[str, Act] = {
    "an empty frame" + CHANGED: say(b"\0\0"),
    "unknown frame type 0x7f" + CHANGED: say(block(b"\x7f")),
    "a Refused frame is out of place in RELAY" + CHANGED: say(FULL),
    "a sealed frame does not open" + CHANGED: say(block(b"\x10" + bytes(100))),
    "a message that the server cannot have passed on here": lambda host: host.send(
        host.hand.message(2)
    ),
    "what arrives is not what the server sent": lambda host: host.send(
        host.hand.message(1), Check(0, bytes(32))
    ),
}


@pytest.mark.parametrize("text", JUNK)
def test_what_nobody_vouches_for_breaks_the_connection_and_no_more(host: Host, text: str) -> None:
    seat = host.seat()
    host.let_in(seat, "Sahnawaz")
    seat.screen.clear()
    JUNK[text](host)
    until(host.reactor, lambda: host.connections == 2 and host.established and host.resume)
    assert host.resume == Resume(1, host.hand.token, 4_711, 1)
    host.send(Resumed(), Resend(1))
    until(host.reactor, lambda: BACK in seat.screen.lines())
    clocks = "[!] The times of "
    lines = (line for line in seat.screen.lines() if not line.startswith(clocks))
    shown = [line for line in lines if line.startswith("[")]
    tampered = [line for line in shown if line.startswith("[!] Somebody on the way changes")]
    assert shown == [*tampered, lost(text), BACK]
    assert len(tampered) == text.startswith("what arrives")


def test_messages_under_way_are_bounded_and_counted_when_patience_is_over(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those, too, that were read and had no room among them."""
    monkeypatch.setattr("chat.client.outbox.OUTBOX_MESSAGES", 2)
    seat = host.seat(patience=0)
    seat.type("one", "two", "three", "four", "five")
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: host.messages, lambda: None)
    host.reactor.when(lambda: len(host.messages) == 2, lambda: host.send(host.messages[0]))
    host.reactor.when(lambda: len(host.messages) == 3, host.close_connection)
    with pytest.raises(
        TransportError, match=r"^the connection was lost; 4 messages were not acknowledged$"
    ):
        seat.run()
    assert len(host.messages) == 3


@pytest.mark.parametrize("patience", [5, 150])
def test_server_that_acknowledges_nothing_is_given_up(
    host: Host, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """It answers PINGs, lets us in again as often as we come, and passes nothing on."""
    seat = host.seat(patience=patience)
    seat.type("one")
    seat.end_input()
    began = host.reactor.clock()
    call_at = mock.Mock(wraps=host.reactor.call_at)

    def let_in() -> None:
        host.established = False
        if host.connections == 1:
            host.welcome()
        else:
            host.send(Resumed(), Resend(1))
        host.reactor.when(lambda: host.established, let_in)

    host.reactor.before_wait(lambda: host.reactor.time.advance(0.4 if host.messages else 0))
    monkeypatch.setattr(host.reactor, "call_at", call_at)
    host.reactor.when(lambda: host.established, let_in)
    with pytest.raises(
        TransportError,
        match=r"^the server has confirmed nothing for too long; 1 message was not acknowledged$",
    ):
        seat.run()
    assert (host.connections > 1) == (patience > limits.ACKNOWLEDGE_SECONDS)
    waited = host.reactor.clock() - began
    assert 0 <= waited - max(patience, limits.ACKNOWLEDGE_SECONDS) < 2 * limits.ACKNOWLEDGE_SECONDS
    assert {header.seq for header in room_headers(Message.TYPE, b"".join(host.messages))} == {1}
    # Even if nothing else had happened, the loop would have been woken for it.
    calls = [call.args for call in call_at.mock_calls]
    deadlines = [
        at for at, callback in calls if isinstance(getattr(callback, "__self__", None), WakeUp)
    ]
    assert any(0 <= at - began - limits.ACKNOWLEDGE_SECONDS < 1 for at in deadlines)


def test_pipe_waits_for_its_acknowledgement_however_long_it_takes(host: Host) -> None:
    seat = host.seat()
    seat.type("one")
    seat.end_input()
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: host.messages, lambda: host.reactor.time.advance(3600))
    for _ in range(20):
        host.reactor.when(lambda: True, lambda: None)
    host.reactor.when(lambda: host.ended is None, lambda: host.send(host.messages[0]))
    seat.run()
    assert host.ended == Ended(Reason.LEFT, REASONS[Reason.LEFT], by_peer=True)


@pytest.mark.parametrize("typed", [["EXIT"], ["EXIT", "more"], None], ids=["", "and more", "twice"])
def test_person_waits_only_a_moment_for_the_acknowledgement(
    host: Host, typed: list[str] | None
) -> None:
    """What is typed after EXIT is not said; and leaving twice does not wait at all."""
    seat = host.seat(on_terminal=True)
    begun = host.reactor.clock()

    def wait_or_leave() -> None:
        if typed:
            host.reactor.time.advance(limits.LINGER_SECONDS - 0.1)
        else:
            leave_twice(seat)

    seat.type("one", *(typed or []))
    host.reactor.when(lambda: host.established, host.welcome)
    host.reactor.when(lambda: host.messages, wait_or_leave)
    with pytest.raises(UnacknowledgedError, match=r"^1 message was not acknowledged$"):
        seat.run()
    assert len(host.messages) == 1
    assert typed or host.reactor.clock() - begun < limits.LINGER_SECONDS / 4
    assert host.ended == Ended(Reason.LEFT, REASONS[Reason.LEFT], by_peer=True)


def test_whoever_leaves_types_nothing_more_and_does_not_wait_for_a_mute_server(host: Host) -> None:
    seat = host.seat(on_terminal=True)

    def story() -> None:
        until(host.reactor, lambda: host.established)
        host.welcome()
        seat.type("one")
        until(host.reactor, lambda: host.messages)
        seat.client.leave()
        seat.type("two")
        for _ in range(10):
            host.reactor.turn()
        assert host.wire is not None
        host.wire.deafen()
        seat.client.leave()
        begun.append(host.reactor.clock())

    begun: list[float] = []
    with pytest.raises(UnacknowledgedError, match=r"^1 message was not acknowledged$"):
        seat.run(story)
    assert len(host.messages) == 1
    assert host.reactor.clock() - begun[0] < 2 * limits.HURRIED_LINGER_SECONDS


def start_anew(host: Host, seat: Seat) -> None:
    """The server dies, and is there again with an empty room."""
    host.established = False
    host.close_connection()
    until(host.reactor, lambda: host.established)
    host.hand.restart()
    host.welcome()
    until(host.reactor, lambda: any("in a new room" in line for line in seat.screen.lines()))


def test_leaving_waits_for_nobody_of_the_old_room(host: Host) -> None:
    """The message is sent and acknowledged, though not everybody is back."""
    seat = host.seat()

    def story() -> None:
        until(host.reactor, lambda: host.established)
        host.welcome("Sahnawaz")
        until(host.reactor, lambda: seat.inside)
        start_anew(host, seat)
        seat.type("one")
        for _ in range(5):
            host.reactor.turn()
        assert host.messages == []
        seat.client.leave()
        until(host.reactor, lambda: host.messages)
        host.send(*host.messages)

    seat.run(story)
    assert host.ended == Ended(Reason.LEFT, REASONS[Reason.LEFT], by_peer=True)


def test_what_was_acknowledged_long_ago_is_not_sent_to_a_new_room(host: Host) -> None:
    """A connection on which only PONGs arrive makes it old."""
    seat = host.seat()
    host.let_in(seat)
    seat.type("long ago")
    until(host.reactor, lambda: host.messages)
    host.send(*map(host.hand.write, host.messages), host.hand.check())
    for _ in range(20):
        host.reactor.time.advance(limits.PING_SECONDS / 4)
        for _ in range(3):
            host.reactor.turn()
    host.messages.clear()
    start_anew(host, seat)
    for _ in range(5):
        host.reactor.turn()
    assert host.messages == []
