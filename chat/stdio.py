"""Standard input and output as lines, without ever blocking the loop.

Non-blocking mode belongs to the open file, which we share with the shell that started us, so it is
never set on a standard stream. Instead a terminal is opened anew, and a pipe is written only when
it is ready and never more than is sure to fit. What the lines mean is not known here.
"""

import contextlib
import errno
import os
import select
import signal
import stat
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from chat.errors import cause_of
from chat.limits import (
    CONSOLE_LINE_BYTES,
    CONSOLE_READ_BYTES,
    FOREGROUND_SECONDS,
    LINGER_SECONDS,
    NEXT_WRITER_SECONDS,
    OUTPUT_RETRY_SECONDS,
    UNREAD_BYTES,
)
from chat.reactor import Reactor, Timer, do_nothing

_USUAL_SIZE = os.terminal_size((80, 24))

_BYTE_ORDER_MARK = "\ufeff"

_READER_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Write errors after which no write can succeed. Others may pass, such as that of a full disk."""


class LineInput:
    """Lines from a descriptor. `on_line` gets each without its end, with lone surrogates for bytes
    that are not UTF-8; `on_end` is called once.

    Bytes are read into `_rest`; complete lines wait in `_lines`; `_deliver` hands them on unless
    `paused`. The end is delivered after the last line, and is held back by a pause as lines are.
    """

    def __init__(
        self,
        reactor: Reactor,
        descriptor: int | None,
        on_line: Callable[[str], None],
        on_end: Callable[[], None],
        *,
        endless: bool = False,
    ) -> None:
        """`endless`: where another writer can come (a FIFO with a name, a terminal), the end of
        file is not the end."""
        self.line_number = 0
        """The number of the line that is being delivered, from 1."""
        self.line_bytes = 0
        """Its length. If it is more than CONSOLE_LINE_BYTES, only the beginning is delivered."""
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
        self.is_terminal = is_terminal(descriptor)
        if self.is_terminal:
            # Then reading in the background is an error, and does not stop the process.
            signal.signal(signal.SIGTTIN, signal.SIG_IGN)

    def start(self) -> None:
        """Begin reading, or go on after `pause`."""
        if not self._stopped:
            self.paused = False
            self._deliver()
            self._watch()

    def pause(self) -> None:
        """Deliver nothing until `start`; lines that were read wait."""
        self.paused = True
        self._watch()

    def stop(self) -> None:
        """Read and deliver nothing more, not even the end."""
        self._stopped = self.paused = True
        self._watch()

    def undelivered(self) -> list[str]:
        """The lines that were not delivered, including those that can be read without waiting. For
        the end: they are not delivered afterwards."""
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
        if self.is_terminal and not can_be_read_by_us(self._descriptor):
            self._watch_again_in(FOREGROUND_SECONDS)
            return
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

    def _split(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._lines.append((len(line) + self._cut_bytes, line))
            self._cut_bytes = 0
        # Of a line that is too long, keep only the beginning and the length.
        self._rest = rest[:CONSOLE_LINE_BYTES]
        self._cut_bytes += len(rest) - len(self._rest)

    def _on_no_more(self) -> bool:
        """Handle the end of file. Returns whether it is the end of the input."""
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
    """The line as text. Bytes that are not UTF-8 become lone surrogates, which cannot be sent."""
    return line.decode(errors="surrogateescape").rstrip("\r")


def read_whole(descriptor: int | None, most: int) -> bytes:
    """All that can be read until the end, which is waited for; a little more than `most` bytes at
    most."""
    data = b""
    while descriptor is not None and len(data) <= most:
        more = os.read(descriptor, CONSOLE_READ_BYTES)
        if not more:
            break
        data += more
    return data


def is_text(line: str) -> bool:
    """Whether a text can be sent: lone surrogates stand for bytes that are not UTF-8."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _can_be_opened_again(descriptor: int) -> bool:
    """Whether another program can begin to write there after all have closed it."""
    try:
        # After a hang-up, isatty says no.
        if os.isatty(descriptor):
            return True
        status = os.fstat(descriptor)
        if not stat.S_ISFIFO(status.st_mode):
            return False
        # Pipes without a name are all on one device, which a new pipe tells.
        ends = os.pipe()
        try:
            return status.st_dev != os.fstat(ends[0]).st_dev
        finally:
            for end in ends:
                os.close(end)
    except OSError:
        return False


class LineOutput:
    """Lines to a descriptor. They wait in a queue while nobody reads, or while the disk is full.

    After each write the output is in one of these states, and each has one thing that ends it:

        all written   `_queue` is empty
        waiting       `_waiting`: nobody reads; the reactor tells when a write is possible
        stuck         `_stuck` as well, the reason: a write failed (a full disk); `_retry` tries
                      again later
        held          `_held`: another program has the terminal; `release` ends it
        broken        `_broken`, and `_descriptor` is None: nobody will ever read; whatever is
                      written is dropped

    `on_drained` is called when a queue has become empty, `on_stuck` with the reason when a write
    failed and may succeed later, `on_broken` when nobody can read any more. Whoever sets these when
    something has been written already calls `tell_failure`.
    """

    def __init__(
        self,
        reactor: Reactor,
        descriptor: int | None,
        encoding: str,
    ) -> None:
        self._reactor = reactor
        self._encoding = encoding
        self.is_terminal = is_terminal(descriptor)
        self.is_unicode = encoding.lower().replace("-", "") == "utf8"
        self.on_drained: Callable[[], None] = do_nothing
        self.on_broken: Callable[[], None] = do_nothing
        self.on_stuck: Callable[[str], None] = lambda _reason: None
        self._queue = bytearray()
        self._waiting = False
        self._held = False
        self._stuck = ""
        self._broken = False
        self.lines_lost = 0
        """How many lines were waiting, the last one among them, when nobody could read any more."""
        self._retry: Timer | None = None
        self._give_up_at: float | None = None
        self._descriptor, self._nonblocking = _open_for_writing(descriptor)

    @property
    def columns(self) -> int | None:
        """The width of the terminal, 80 if it does not tell; None if this is no terminal."""
        return self._size().columns or _USUAL_SIZE.columns if self.is_terminal else None

    @property
    def rows(self) -> int | None:
        """The height of the terminal, 24 if it does not tell; None if this is no terminal."""
        return self._size().lines or _USUAL_SIZE.lines if self.is_terminal else None

    def _size(self) -> os.terminal_size:
        with contextlib.suppress(OSError):
            if self._descriptor is not None:
                return os.get_terminal_size(self._descriptor)
        return _USUAL_SIZE

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait to be written."""
        return len(self._queue)

    def write(self, line: str) -> None:
        """Write a line, now or as soon as there is room."""
        self.write_bytes(self.encode(line + "\n"))

    def write_bytes(self, data: bytes) -> None:
        """Write bytes that are encoded already."""
        if self._descriptor is not None:
            self._queue += data
            self._flush()

    def encode(self, text: str) -> bytes:
        """The text in the encoding of the output, with escapes for characters that it lacks."""
        return text.encode(self._encoding, errors="backslashreplace")

    def as_written(self, text: str) -> str:
        """What `encode` makes of a text, to be measured: an escape takes more columns."""
        return self.encode(text).decode(self._encoding)

    def drain(self, seconds: float | None = None) -> None:
        """Wait until all is written, but no longer than `seconds`, and not for a full disk."""
        ends = [self._give_up_at, None if seconds is None else time.monotonic() + seconds]
        try:
            self._drain(min((end for end in ends if end is not None), default=None))
        except KeyboardInterrupt:
            # The person who interrupts does not want to wait again at the next `drain`.
            self._queue.clear()
            raise

    def _drain(self, until: float | None) -> None:
        if self._held:
            return
        self._write_some()
        while self._queue and self._descriptor is not None and not self._stuck:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            _wait_writable(self._descriptor, left)
            self._write_some()

    def hurry(self) -> None:
        """From now on, all calls of `drain` together wait no longer than a moment."""
        if self._give_up_at is None:
            self._give_up_at = time.monotonic() + LINGER_SECONDS

    @property
    def hurried(self) -> bool:
        """Whether `hurry` was called."""
        return self._give_up_at is not None

    def hold(self) -> None:
        """Write nothing until `release`. What is written meanwhile waits in the queue."""
        self._held = True
        if self._descriptor is not None:
            self._reactor.watch_write(self._descriptor, None)

    def release(self, first: bytes = b"") -> None:
        """Write again: first these bytes, then what has waited."""
        self._held = self._waiting = False
        self._queue[:0] = first
        self._flush()
        if not self._queue:
            self.on_drained()

    def _flush(self) -> None:
        if self._waiting or self._held:
            return
        self._write_some()
        if self._queue and self._descriptor is not None:
            self._waiting = True
            if not self._stuck:
                self._reactor.watch_write(self._descriptor, self._on_writable)

    def _on_writable(self) -> None:
        descriptor = self._descriptor
        if descriptor is None or self._held:
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
        """Write what fits now. If the reader is gone, drop everything."""
        try:
            while self._queue and self._descriptor is not None:
                if self._nonblocking:
                    written = os.write(self._descriptor, self._queue)
                elif _wait_writable(self._descriptor, 0):
                    # A pipe that is ready for writing has room for this much (POSIX, write).
                    written = os.write(self._descriptor, self._queue[: select.PIPE_BUF])
                else:
                    return
                del self._queue[:written]
                self._stuck = ""
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
        self._broken = True
        self.lines_lost = self._queue.count(b"\n")
        self._queue.clear()
        self.on_broken()

    def _wait_for_room(self, error: OSError) -> None:
        """Usually the disk is full. Half a line may be written, so keep its rest in front."""
        was_stuck, self._stuck = self._stuck, cause_of(error)
        if self._retry is None:
            again = self._reactor.clock() + OUTPUT_RETRY_SECONDS
            self._retry = self._reactor.call_at(again, self._try_again)
        if not was_stuck:
            self.on_stuck(self._stuck)

    def tell_failure(self) -> None:
        """Call `on_broken` or `on_stuck` once more if the output is in that state."""
        if self._broken:
            self.on_broken()
        elif self._stuck:
            self.on_stuck(self._stuck)


def _open_for_writing(descriptor: int | None) -> tuple[int | None, bool]:
    """The descriptor to write to, and whether it is non-blocking."""
    if descriptor is not None and os.isatty(descriptor):
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(os.ttyname(descriptor), flags), True
    return descriptor, False


def has_terminal() -> bool:
    """Whether this process has a terminal that controls it. After a hang-up it has none any more,
    whatever its standard streams are."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def is_in_background(descriptor: int) -> bool:
    """Whether this is a terminal, and another job is in its foreground."""
    with contextlib.suppress(OSError):
        return os.getpgrp() != os.tcgetpgrp(descriptor)
    return False


def can_be_read(descriptor: int) -> bool:
    """Whether a read would return at once."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def count_unread(terminal: int) -> int:
    """How many bytes wait to be read from a terminal."""
    # Imported late: without them there is a sentence to tell, and no terminal.
    import fcntl
    import termios

    return int.from_bytes(fcntl.ioctl(terminal, termios.FIONREAD, bytes(4)), sys.byteorder)


def can_be_read_by_us(terminal: int) -> bool:
    """Whether a read from a terminal would return at once, and what it returns is meant for us.

    What a shell reads wakes us in the background, too. By the time we look the shell may have read
    it, and brought us forward: a read would wait for a key then, and everything else with it. So
    the foreground is asked for first. From then on nobody else reads.
    """
    return not is_in_background(terminal) and can_be_read(terminal)


def _wait_writable(descriptor: int, seconds: float | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def descriptor_of(stream: TextIO | None) -> int | None:
    """The descriptor of a standard stream; None if it was closed before we started."""
    return None if stream is None else stream.fileno()


def is_terminal(descriptor: int | None) -> bool:
    """Whether there is such a descriptor, and it is a terminal."""
    return descriptor is not None and os.isatty(descriptor)


def encoding() -> str:
    """That of standard output."""
    return sys.stdout.encoding if sys.stdout is not None else "utf-8"
