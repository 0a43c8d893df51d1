"""Standard input and output as lines, without ever blocking the loop.

The standard streams are shared with the shell that started us, so they are never switched to
non-blocking mode: a terminal is opened anew, and to a pipe no more is written than is sure to fit.
What the lines say is not known here.
"""

import contextlib
import errno
import os
import select
import signal
import stat
import time
from collections import deque
from collections.abc import Callable

from chat.limits import (
    CONSOLE_LINE_BYTES,
    CONSOLE_READ_BYTES,
    FOREGROUND_SECONDS,
    LINGER_SECONDS,
    NEXT_WRITER_SECONDS,
    OUTPUT_RETRY_SECONDS,
    UNREAD_BYTES,
)
from chat.reactor import Reactor, Timer

_USUAL_COLUMNS = 80

_BYTE_ORDER_MARK = "\ufeff"

_READER_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Errors of a write after which no other can succeed. The rest may pass: a disk that is full."""


class LineInput:
    """Lines from a descriptor. `on_line` gets each without its end, `on_end` is called once."""

    def __init__(
        self,
        reactor: Reactor,
        descriptor: int | None,
        on_line: Callable[[str], None],
        on_end: Callable[[], None],
        *,
        endless: bool = False,
    ) -> None:
        """`endless`: the end of what one writer has to say is not the end, where another can come:
        at a FIFO that has a name, and at a terminal."""
        self.line_number = 0
        """Of the line that is delivered, from 1."""
        self.line_bytes = 0
        """How long it was; of more than CONSOLE_LINE_BYTES only the beginning is delivered."""
        self._reactor = reactor
        self._descriptor = descriptor
        self._on_line = on_line
        self._on_end = on_end
        self._lines: deque[tuple[int, bytes]] = deque()
        self._rest = b""
        self._cut_bytes = 0
        self.paused = True
        self.ended = descriptor is None
        """Whether there is nothing more to be read."""
        self._endless = endless
        self._stopped = False
        self.started = False
        self.is_terminal = descriptor is not None and os.isatty(descriptor)
        if self.is_terminal:
            # In the background, reading is then an error instead of a stop.
            signal.signal(signal.SIGTTIN, signal.SIG_IGN)

    def start(self) -> None:
        """Begin reading, or go on after `pause`."""
        self.started = True
        if not self._stopped:
            self.paused = False
            self._deliver()
            self._watch()

    def pause(self) -> None:
        """Deliver nothing for the moment; what was read already waits."""
        self.paused = True
        self._watch()

    def stop(self) -> None:
        """Read and deliver nothing more, not even the end."""
        self._stopped = self.paused = True
        self._watch()

    @property
    def waiting(self) -> int:
        """How many lines were read and not delivered."""
        return len(self._lines)

    def undelivered(self) -> list[str]:
        """The lines that were not delivered, as far as they are there to be read; for when it is
        over."""
        unread = self._rest
        with contextlib.suppress(OSError):
            while self._may_have_more() and len(unread) < UNREAD_BYTES:
                assert self._descriptor is not None
                data = os.read(self._descriptor, CONSOLE_READ_BYTES)
                unread += data
                self.ended = not data
        last = unread.removesuffix(b"\n").split(b"\n") if unread else []
        lines = [_text_of(line) for line in (*(line for _, line in self._lines), *last)]
        if lines and not self.line_number:
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        return lines

    def _may_have_more(self) -> bool:
        if self._descriptor is None or self.ended or self.is_terminal:
            return False
        return can_be_read(self._descriptor)

    def _watch(self) -> None:
        if self._descriptor is not None:
            wanted = not (self.paused or self.ended)
            self._reactor.watch_read(self._descriptor, self._on_readable if wanted else None)

    def _on_readable(self) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, CONSOLE_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            if is_in_background(self._descriptor):
                self._watch_again_in(FOREGROUND_SECONDS)
                return
            data = b""
        if data:
            self._split(data)
        elif not self._on_no_more():
            return
        self._deliver()
        self._watch()

    def _split(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._lines.append((len(line) + self._cut_bytes, line))
            self._cut_bytes = 0
        # Of a line that is too long, only the beginning and the length are kept.
        self._rest = rest[:CONSOLE_LINE_BYTES]
        self._cut_bytes += len(rest) - len(self._rest)

    def _on_no_more(self) -> bool:
        """Nobody writes any more. Returns whether that is the end."""
        if self._rest:
            self._lines.append((len(self._rest) + self._cut_bytes, self._rest))
            self._rest, self._cut_bytes = b"", 0
        assert self._descriptor is not None
        if self._endless and _can_be_opened_again(self._descriptor):
            self._deliver()
            self._watch_again_in(NEXT_WRITER_SECONDS)
            return False
        self.ended = True
        return True

    def _watch_again_in(self, seconds: float) -> None:
        assert self._descriptor is not None
        self._reactor.watch_read(self._descriptor, None)
        self._reactor.call_at(self._reactor.clock() + seconds, self._watch)

    def _deliver(self) -> None:
        while self._lines and not self.paused:
            self.line_bytes, line = self._lines.popleft()
            self.line_number += 1
            text = _text_of(line)
            self._on_line(text.removeprefix(_BYTE_ORDER_MARK) if self.line_number == 1 else text)
        if self.ended and not self.paused:
            self.stop()
            self._on_end()


def _text_of(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")


def _nothing() -> None:
    pass


def _can_be_opened_again(descriptor: int) -> bool:
    """Whether another can begin to write there when all have closed it."""
    try:
        # A terminal that has hung up is none any more.
        if os.isatty(descriptor):
            return True
        status = os.fstat(descriptor)
        if not stat.S_ISFIFO(status.st_mode):
            return False
        # A pipe without a name lies where the system keeps all of them.
        ends = os.pipe()
        try:
            return status.st_dev != os.fstat(ends[0]).st_dev
        finally:
            for end in ends:
                os.close(end)
    except OSError:
        return False


class LineOutput:
    """Lines to a descriptor, in a queue for when it does not take them at once: because nobody
    reads, or because the disk is full, and then it is tried again after a while.

    `on_drained` is called when such a queue has left, `on_stuck` with the reason when a write
    failed and may succeed later, `on_broken` when nobody can read any more.
    """

    def __init__(
        self,
        reactor: Reactor,
        descriptor: int | None,
        encoding: str,
    ) -> None:
        self._reactor = reactor
        self._encoding = encoding
        self.is_terminal = descriptor is not None and os.isatty(descriptor)
        self.is_unicode = encoding.lower().replace("-", "") == "utf8"
        self.on_drained: Callable[[], None] = _nothing
        self.on_broken: Callable[[], None] = _nothing
        self.on_stuck: Callable[[str], None] = lambda _reason: None
        self._queue = bytearray()
        self._waiting = False
        self._stuck = False
        self._retry: Timer | None = None
        self._give_up_at: float | None = None
        self._descriptor, self._nonblocking = _open_for_writing(descriptor)

    @property
    def columns(self) -> int | None:
        """How wide the terminal is, as most are if it does not tell; None if this is none."""
        if not self.is_terminal:
            return None
        with contextlib.suppress(OSError):
            if self._descriptor is not None:
                return os.get_terminal_size(self._descriptor).columns or _USUAL_COLUMNS
        return _USUAL_COLUMNS

    @property
    def queued_bytes(self) -> int:
        """How much waits because nobody reads."""
        return len(self._queue)

    def write(self, line: str) -> None:
        """Show a line, now or as soon as it is taken."""
        self.write_bytes(self.encode(line + "\n"))

    def write_bytes(self, data: bytes) -> None:
        """Show what is encoded already."""
        if self._descriptor is not None:
            self._queue += data
            self._flush()

    def encode(self, text: str) -> bytes:
        """The text as the other side expects it."""
        return text.encode(self._encoding, errors="backslashreplace")

    def drain(self, seconds: float | None = None) -> None:
        """Wait until everything is shown; at the most for `seconds`, and not for a disk to have
        room again."""
        ends = [self._give_up_at, None if seconds is None else time.monotonic() + seconds]
        try:
            self._drain(min((end for end in ends if end is not None), default=None))
        except KeyboardInterrupt:
            # Whoever interrupts the waiting does not want to wait once more.
            self._queue.clear()
            raise

    def _drain(self, until: float | None) -> None:
        self._write_some()
        while self._queue and self._descriptor is not None and not self._stuck:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            _wait_writable(self._descriptor, left)
            self._write_some()

    def hurry(self) -> None:
        """From now on `drain` waits no longer than a moment in all."""
        if self._give_up_at is None:
            self._give_up_at = time.monotonic() + LINGER_SECONDS

    def _flush(self) -> None:
        if self._waiting:
            return
        self._write_some()
        if self._queue and self._descriptor is not None:
            self._waiting = True
            if not self._stuck:
                self._reactor.watch_write(self._descriptor, self._on_writable)

    def _on_writable(self) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            return
        self._write_some()
        self._waiting = bool(self._queue)
        if self._descriptor is not None:
            wanted = self._waiting and not self._stuck
            self._reactor.watch_write(descriptor, self._on_writable if wanted else None)
            if not self._waiting:
                self.on_drained()

    def _try_again(self) -> None:
        self._retry = None
        self._on_writable()

    def _write_some(self) -> None:
        """Write what fits now. When the reader is gone, so is everything that is written."""
        try:
            while self._queue and self._descriptor is not None:
                if self._nonblocking:
                    written = os.write(self._descriptor, self._queue)
                elif _wait_writable(self._descriptor, 0):
                    # A pipe that can be written has room for this much (POSIX, write).
                    written = os.write(self._descriptor, self._queue[: select.PIPE_BUF])
                else:
                    return
                del self._queue[:written]
                self._stuck = False
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _READER_GONE:
                self._break()
            else:
                self._wait_for_room(error)

    def _break(self) -> None:
        assert self._descriptor is not None
        self._reactor.unwatch(self._descriptor)
        self._descriptor = None
        self._queue.clear()
        self.on_broken()

    def _wait_for_room(self, error: OSError) -> None:
        """A disk is full, as a rule. Half a line may stand there, so the rest of it comes first."""
        was_stuck, self._stuck = self._stuck, True
        if self._retry is None:
            again = self._reactor.clock() + OUTPUT_RETRY_SECONDS
            self._retry = self._reactor.call_at(again, self._try_again)
        if not was_stuck:
            self.on_stuck((error.strerror or str(error)).lower())


def _open_for_writing(descriptor: int | None) -> tuple[int | None, bool]:
    """The descriptor to write to, and whether a write to it returns at once."""
    if descriptor is not None and os.isatty(descriptor):
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(os.ttyname(descriptor), flags), True
    return descriptor, False


def is_in_background(descriptor: int) -> bool:
    """Whether this is a terminal that is not ours for the moment."""
    with contextlib.suppress(OSError):
        return os.getpgrp() != os.tcgetpgrp(descriptor)
    return False


def can_be_read(descriptor: int) -> bool:
    """Whether a read would return at once."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _wait_writable(descriptor: int, seconds: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else seconds * 1000))
