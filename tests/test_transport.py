"""One socket: partial sends, a full kernel, the ways to end."""

import contextlib
import errno
import selectors
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from chat.limits import SEND_BYTES
from chat.reactor import Reactor
from chat.server.log import Cursor, OrderedLog
from chat.transport import Transport
from tests.support.helpers import FakeClock, plain
from tests.support.loopback import MOMENT, until


class Recorder:
    """An owner that notes what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = b""

    def received(self, data: bytes) -> None:
        self.calls.append("received")
        self.data += data

    def receive_eof(self) -> None:
        self.calls.append("eof")

    def closed(self) -> None:
        self.calls.append("closed")


class Line:
    """A transport and the plain socket at its other end, joined by TCP over the loopback."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.log = OrderedLog(1 << 30)
        self.owner = Recorder()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.peer = socket.socket()
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            self.peer.connect(listener.getsockname())
            ours, _ = listener.accept()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.socket = ours
        self.peer.setblocking(False)
        self.cursor = Cursor()
        self.transport = Transport(reactor, ours, self.cursor, self.owner)

    def put(self, data: bytes) -> None:
        """Give the transport something to send."""
        self.cursor.splice(plain(data), 0)

    def take(self) -> bytes:
        """What the peer can read just now; b"" at the end of the stream, too."""
        with contextlib.suppress(BlockingIOError):
            return self.peer.recv(1 << 20)
        return b""

    def take_all(self, size: int) -> bytes:
        """What the peer reads, until it is this much."""
        taken = bytearray()

        def enough() -> bool:
            taken.extend(self.take())
            return len(taken) >= size

        until(self.reactor, enough)
        return bytes(taken)

    def at_end(self) -> bool:
        """Whether the peer has read everything, and the end."""
        with contextlib.suppress(BlockingIOError):
            return self.peer.recv(1 << 20) == b""
        return False

    def reset(self) -> None:
        """The peer goes away with a RST."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    def close(self) -> None:
        self.transport.close()
        self.peer.close()


@pytest.fixture
def line(reactor: Reactor) -> Iterator[Line]:
    with contextlib.closing(Line(reactor)) as line:
        yield line


BIG = bytes(range(256)) * 4096
"""More than the kernel holds at both ends, and more than is handed to it at once."""


# -- receiving


def test_one_callback_reads_no_more_than_its_share(reactor: Reactor, line: Line) -> None:
    line.transport.read_bytes = 4
    line.peer.send(b"0123456789")
    until(reactor, lambda: len(line.owner.data) == 10)
    assert line.owner.calls == ["received"] * 3


def test_what_came_before_the_end_is_received_first(reactor: Reactor, line: Line) -> None:
    line.peer.send(b"last words")
    until(reactor, lambda: line.owner.data)
    assert not line.transport.finishing
    line.peer.close()
    until(reactor, lambda: "closed" in line.owner.calls)
    reactor.turn(0)
    assert line.owner.calls == ["received", "eof", "closed"]
    assert line.owner.data == b"last words"
    assert line.transport.finishing


def test_paused_transport_reads_nothing_until_it_is_resumed(reactor: Reactor, line: Line) -> None:
    line.transport.pause_reading()
    line.peer.send(b"wait")
    reactor.turn(MOMENT)
    assert line.owner.calls == []
    line.transport.resume_reading()
    until(reactor, lambda: line.owner.data)
    assert line.owner.data == b"wait"


def test_wakeup_without_data_is_not_an_end(line: Line) -> None:
    """Readiness may be wrong (select(2), BUGS); what there is to read decides."""
    line.transport._on_readable()
    line.transport.flush()
    assert line.take() == b""
    assert line.owner.calls == []


def test_socket_sends_small_pieces_at_once_and_looks_after_a_silent_peer(line: Line) -> None:
    assert line.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


# -- sending


def test_splices_and_log_leave_in_order(reactor: Reactor, line: Line) -> None:
    line.put(b"first ")
    line.cursor.follow(line.log, 0)
    line.log.append(b"log ")
    line.cursor.splice(plain(b"splice "), line.log.end)
    line.log.append(b"more")
    line.transport.flush()
    assert line.take_all(21) == b"first log splice more"


def test_more_than_the_kernel_takes_arrives_whole(reactor: Reactor, line: Line) -> None:
    line.put(BIG)
    line.cursor.follow(line.log, 0)
    line.log.append(BIG)
    line.transport.flush()
    assert line.cursor.unsent, "the kernel took everything: this tests nothing"
    line.cursor.splice(plain(b"end"), line.log.end)
    assert len(BIG) > SEND_BYTES
    assert line.take_all(2 * len(BIG) + 3) == BIG + BIG + b"end"
    assert line.cursor.idle


def test_full_kernel_is_waited_for_and_not_asked_again_and_again(
    reactor: Reactor, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    sends: list[int] = []
    taken: list[int] = []
    real = line.socket.send

    def send(data: Any, _flags: int = 0) -> int:
        sends.append(len(data))
        taken.append(real(data))
        return taken[-1]

    line.transport.send = send
    line.put(BIG)
    line.transport.flush()
    assert len(sends) == len(taken), "after a part was taken, the rest was tried at once"
    for _ in range(3):
        reactor.turn(0)
    before = len(sends)
    for _ in range(50):
        reactor.turn(0)
    assert len(sends) == before
    assert line.take_all(len(BIG)) == BIG
    watched = reactor._selector.get_map()[line.socket.fileno()].events
    assert watched == selectors.EVENT_READ


@pytest.mark.parametrize("sizes", [[1], [3, 0, 2], [0, 0, 7]])
def test_partial_sends_are_continued(reactor: Reactor, line: Line, sizes: list[int]) -> None:
    """The kernel takes these many bytes in turn; 0 stands for "would block"."""
    turn = 0

    def send(data: Any, _flags: int = 0) -> int:
        nonlocal turn
        size = sizes[turn % len(sizes)]
        turn += 1
        if not size:
            raise BlockingIOError(errno.EAGAIN, "would block")
        return line.socket.send(data[:size])

    line.transport.send = send
    line.put(b"0123456789")
    line.cursor.follow(line.log, 0)
    line.log.append(b"abcdefghij")
    line.transport.flush()
    assert line.take_all(20) == b"0123456789abcdefghij"


def test_sending_to_a_peer_that_is_gone_ends_it_once(reactor: Reactor, line: Line) -> None:
    def send(_data: Any, _flags: int = 0) -> int:
        raise BrokenPipeError(errno.EPIPE, "broken pipe")

    line.transport.send = send
    line.put(b"x")
    line.transport.flush()
    reactor.turn(0)
    assert line.owner.calls == ["eof", "closed"]
    assert line.transport.try_send(b"x") is None
    assert line.owner.calls == ["eof", "closed"]


def test_peer_that_resets_while_we_wait_to_send_ends_it(reactor: Reactor, line: Line) -> None:
    line.put(BIG)
    line.transport.flush()
    line.reset()
    until(reactor, lambda: "closed" in line.owner.calls)
    assert line.owner.calls == ["eof", "closed"]


# -- the end


def test_finish_sends_the_rest_and_then_the_end(reactor: Reactor, line: Line) -> None:
    line.put(BIG)
    line.transport.finish(5)
    assert line.transport.finishing
    assert line.take_all(len(BIG)) == BIG
    until(reactor, line.at_end)
    assert line.owner.calls == [], "closed before the peer had closed its side"
    line.peer.close()
    until(reactor, lambda: line.owner.calls)
    assert line.owner.calls == ["closed"]


def test_finish_discards_what_still_arrives(reactor: Reactor, line: Line) -> None:
    """Unread bytes at a close would make the kernel send a RST, which takes the farewell away."""
    line.transport.pause_reading()
    line.peer.send(b"unread" * 1000)
    line.put(b"farewell")
    line.transport.finish(5)
    line.peer.send(b"more" * 1000)
    for _ in range(5):
        reactor.turn(MOMENT)
    assert line.take_all(8) == b"farewell"
    until(reactor, line.at_end)
    line.peer.close()
    until(reactor, lambda: line.owner.calls)
    assert line.owner.calls == ["closed"]
    assert line.owner.data == b""


@pytest.mark.parametrize("data", [BIG, b"farewell"], ids=["does not read", "reads all"])
def test_peer_that_does_not_close_is_closed_at_the_deadline(
    reactor: Reactor, clock: FakeClock, line: Line, data: bytes
) -> None:
    """To finish a second time does not put that off."""
    line.put(data)
    line.transport.finish(2)
    if data is not BIG:
        until(reactor, lambda: line.take() == data)
    clock.advance(1)
    line.transport.finish(2)
    clock.advance(0.999)
    reactor.turn(0)
    assert line.owner.calls == []
    clock.advance(0.001)
    reactor.turn(0)
    assert line.owner.calls == ["closed"]


def test_finish_towards_a_lost_peer_closes_without_eof(reactor: Reactor, line: Line) -> None:
    line.reset()
    line.put(b"farewell")
    line.transport.finish(5)
    until(reactor, lambda: line.owner.calls)
    assert line.owner.calls == ["closed"]


def test_peer_that_resets_before_the_shutdown_is_closed(reactor: Reactor, line: Line) -> None:
    """The socket is no longer connected when there is nothing to send but the end."""
    line.transport.pause_reading()
    line.reset()
    until(reactor, lambda: line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    line.transport.finish(5)
    assert line.owner.calls == ["closed"]


def test_closing_twice_is_told_once(reactor: Reactor, clock: FakeClock, line: Line) -> None:
    line.transport.finish(2)
    line.transport.close()
    line.transport.close()
    line.transport.finish(1)
    line.transport.pause_reading()
    line.transport.resume_reading()
    clock.advance(2)
    reactor.turn(0)
    assert line.owner.calls == ["closed"]
