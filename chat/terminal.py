"""Standard input and output as lines, without ever blocking the loop.

The standard streams are shared with the shell that started us, so they are never switched to
non-blocking mode: a terminal is opened anew, and to a pipe no more is written than is sure to fit.
What the lines say is not known here.
"""

import contextlib
import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable

from chat.limits import CONSOLE_LINE_BYTES, CONSOLE_READ_BYTES, FOREGROUND_SECONDS, UNREAD_BYTES
from chat.reactor import Reactor

_USUAL_COLUMNS = 80


class LineInput:
    """Lines from a descriptor. `on_line` gets each without its end, `on_end` is called once."""

    def __init__(
        self,
        reactor: Reactor,
        descriptor: int | None,
        on_line: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        self._on_line = on_line
        self._on_end = on_end
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self.paused = True
        self._ended = descriptor is None
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
                self._ended = not data
        last = unread.removesuffix(b"\n").split(b"\n") if unread else []
        return [_text_of(line) for line in (*self._lines, *last)]

    def _may_have_more(self) -> bool:
        if self._descriptor is None or self._ended or self.is_terminal:
            return False
        return can_be_read(self._descriptor)

    def _watch(self) -> None:
        if self._descriptor is not None:
            wanted = not (self.paused or self._ended)
            self._reactor.watch_read(self._descriptor, self._on_readable if wanted else None)

    def _on_readable(self) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, CONSOLE_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            if is_in_background(self._descriptor):
                self._reactor.watch_read(self._descriptor, None)
                again = self._reactor.clock() + FOREGROUND_SECONDS
                self._reactor.call_at(again, self._watch)
                return
            data = b""
        if data:
            *lines, self._rest = (self._rest + data).split(b"\n")
            # More than a line may hold is cut, which leaves enough to be refused for its length.
            self._rest = self._rest[:CONSOLE_LINE_BYTES]
            self._lines += lines
        else:
            self._ended = True
            if self._rest:
                self._lines.append(self._rest)
                self._rest = b""
        self._deliver()
        self._watch()

    def _deliver(self) -> None:
        while self._lines and not self.paused:
            self._on_line(_text_of(self._lines.popleft()))
        if self._ended and not self.paused:
            self.stop()
            self._on_end()


def _text_of(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")


def _nothing() -> None:
    pass


class LineOutput:
    """Lines to a descriptor, in a queue for when it does not take them at once. `on_drained` is
    called when such a queue has left, `on_broken` when nobody can read any more."""

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
        self._queue = bytearray()
        self._waiting = False
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
        """Wait until everything is shown; at the most for `seconds`."""
        until = None if seconds is None else time.monotonic() + seconds
        while self._queue and self._descriptor is not None:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            _wait_writable(self._descriptor, left)
            self._write_some()

    def _flush(self) -> None:
        if self._waiting:
            return
        self._write_some()
        if self._queue and self._descriptor is not None:
            self._waiting = True
            self._reactor.watch_write(self._descriptor, self._on_writable)

    def _on_writable(self) -> None:
        assert self._descriptor is not None
        descriptor = self._descriptor
        self._write_some()
        if not self._queue:
            self._waiting = False
            self._reactor.watch_write(descriptor, None)
            self.on_drained()

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
        except BlockingIOError:
            return
        except OSError:
            assert self._descriptor is not None
            self._reactor.unwatch(self._descriptor)
            self._descriptor = None
            self._queue.clear()
            self.on_broken()


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
