"""Lines in and out: pipes, files, terminals and closed streams, full pipes and broken ones."""

import contextlib
import errno
import fcntl
import os
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

import chat.stdio
from chat import limits
from chat.reactor import Reactor
from chat.stdio import LineInput, LineOutput, can_be_read, is_in_background
from tests.support.helpers import FakeClock
from tests.support.loopback import MOMENT, until

END = "<end>"


class Ends:
    """The two ends of a pipe or a terminal; either can be closed early."""

    def __init__(self, read: int, write: int) -> None:
        self.read = read
        self.write = write
        self._open = {read, write}

    def close(self, *ends: int) -> None:
        for end in ends or tuple(self._open):
            if end in self._open:
                self._open.discard(end)
                os.close(end)


@pytest.fixture
def pipe() -> Iterator[Ends]:
    with contextlib.closing(Ends(*os.pipe())) as ends:
        yield ends


class Terminal(Ends):
    """A pseudo-terminal: `screen` is what a person holds, `program` what a program has."""

    def __init__(self) -> None:
        self.screen, self.program = os.openpty()
        super().__init__(self.screen, self.program)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with contextlib.closing(Terminal()) as terminal:
        yield terminal


class Lines:
    """A LineInput that was started, and what it delivered."""

    def __init__(
        self, reactor: Reactor, descriptor: int | None, *, start: bool = True, endless: bool = False
    ) -> None:
        self.got: list[str] = []
        self.sizes: list[tuple[int, int]] = []
        self.pause_at: str | None = None
        self.stop_at: str | None = None
        self._reactor = reactor
        self.input = LineInput(
            reactor, descriptor, self._on_line, lambda: self.got.append(END), endless=endless
        )
        if start:
            self.input.start()

    def _on_line(self, line: str) -> None:
        self.got.append(line)
        self.sizes.append((self.input.line_number, self.input.line_bytes))
        if line == self.pause_at:
            self.input.pause()
        if line == self.stop_at:
            self.input.stop()

    def wait_for(self, last: str) -> list[str]:
        """Take turns until this was delivered; returns all that was."""
        until(self._reactor, lambda: last in self.got)
        self._reactor.turn(0)
        return self.got


# -- input


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one\n", ["one"]),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\nlast", ["one", "last"]),
        (b"\n\n", ["", ""]),
        (b"dos\r\nunix\n", ["dos", "unix"]),
        (b"dos at the end\r", ["dos at the end"]),
        (b"\xef\xbb\xbfmarked\n\xef\xbb\xbfnot here\n", ["marked", "\ufeffnot here"]),
        (b"\xef\xbb\xbf", [""]),
        (b"in\rside\n", ["in\rside"]),
        (b" spaces \t\n", [" spaces \t"]),
        (b"\x1b[31m\0\n", ["\x1b[31m\0"]),
        ("größer 漢字 👍\n".encode(), ["größer 漢字 👍"]),
        ("one\u2028line\x0b\x0c\x85\n".encode(), ["one\u2028line\x0b\x0c\x85"]),
        (b"bad \xff\xc3( \xed\xa0\x80\n", ["bad \udcff\udcc3( \udced\udca0\udc80"]),
        (b"cut \xe6\xbc", ["cut \udce6\udcbc"]),
    ],
)
@pytest.mark.parametrize("pieces", [1, 1000], ids=["byte by byte", "at once"])
def test_lines_of_a_pipe_are_delivered_and_then_the_end(
    reactor: Reactor, pipe: Ends, data: bytes, lines: list[str], pieces: int
) -> None:
    mode = fcntl.fcntl(pipe.read, fcntl.F_GETFL)
    delivered = Lines(reactor, pipe.read)
    for start in range(0, len(data), pieces):
        os.write(pipe.write, data[start : start + pieces])
        reactor.turn(MOMENT)
    pipe.close(pipe.write)
    assert delivered.wait_for(END) == [*lines, END]
    assert fcntl.fcntl(pipe.read, fcntl.F_GETFL) == mode, "blocking mode is shared: leave it"


@pytest.mark.parametrize("what", ["null", "folder", "closed", "file"])
def test_input_that_is_no_pipe_has_an_end_and_does_not_keep_the_loop_busy(
    reactor: Reactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = {"null": Path(os.devnull), "folder": tmp_path}.get(what, tmp_path / "input")
    if what == "file":
        path.write_text("one\nlast")
    descriptor = None if what == "closed" else os.open(path, os.O_RDONLY)
    lines = Lines(reactor, descriptor)
    assert lines.wait_for(END) == (["one", "last", END] if what == "file" else [END])
    assert lines.input.undelivered() == []
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", None)
        reactor.turn(0)
    if descriptor is not None:
        os.close(descriptor)


@pytest.mark.parametrize("size", [0, 1, 70_000, limits.CONSOLE_LINE_BYTES, 3_000_000])
@pytest.mark.parametrize("behind", ["", "\n", "\nlast", "\nlast\n"])
def test_line_has_its_number_and_length_and_a_long_one_is_cut(
    reactor: Reactor, tmp_path: Path, size: int, behind: str
) -> None:
    """What is left of it is still too long to be sent, and the line after it is whole."""
    path = tmp_path / "input"
    path.write_text("before\n" + "x" * size + behind)
    with path.open("rb", buffering=0) as file:
        lines = Lines(reactor, file.fileno())
        before, *rest, end = lines.wait_for(END)
    assert (before, end) == ("before", END)
    assert rest[1:] == ["last"] * ("last" in behind)
    assert lines.sizes == [(1, 6), (2, size), (3, 4)][: 1 + len(rest)]
    assert bool(rest) == bool(size or behind)
    for long in rest[:1]:
        assert set(long) <= {"x"}
        assert len(long) == size or (
            limits.CONSOLE_LINE_BYTES
            <= len(long)
            <= limits.CONSOLE_LINE_BYTES + limits.CONSOLE_READ_BYTES
        )


def test_pause_lets_what_was_read_wait_and_the_end_too(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read, start=False)
    os.write(pipe.write, b"one\ntwo\nthree\nlast")
    pipe.close(pipe.write)
    reactor.turn(MOMENT)
    assert lines.got == []
    for pause_at, got in (("two", ["one", "two"]), ("last", ["one", "two", "three", "last"])):
        lines.pause_at = pause_at
        lines.input.start()
        assert lines.wait_for(pause_at) == got
        assert lines.input.paused
    lines.input.start()
    assert lines.got == ["one", "two", "three", "last", END]


def test_pause_reads_no_more_from_the_pipe(reactor: Reactor, pipe: Ends) -> None:
    Lines(reactor, pipe.read).input.pause()
    os.write(pipe.write, b"waits in the pipe\n")
    reactor.turn(MOMENT)
    assert os.read(pipe.read, 100) == b"waits in the pipe\n"


def test_stop_delivers_nothing_more_not_even_the_end(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read)
    lines.stop_at = "one"
    os.write(pipe.write, b"one\ntwo\n")
    pipe.close(pipe.write)
    lines.wait_for("one")
    lines.input.start()
    reactor.turn(MOMENT)
    assert lines.got == ["one"]


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"one\n", 0),
        (b"one\ntwo\nthree\n", 2),
        (b"one\ntwo\nlast", 2),
        (b"one\ntwo\r\n\n", 2),
        (b"one\n" + b"x\r\f\x85y\n" * 3, 3),
        (b"one\n" + b"x" * 70_000 + b"\ny", 2),
    ],
    ids=["none", "two", "unended", "blank", "no ends of lines", "long"],
)
@pytest.mark.parametrize("closed", [False, True], ids=["open", "at its end"])
@pytest.mark.parametrize("started", [False, True], ids=["before the start", "after it"])
def test_lines_that_were_not_delivered_are_counted(
    reactor: Reactor, pipe: Ends, data: bytes, count: int, closed: bool, started: bool
) -> None:
    """Those in the pipe, too; a pipe that stays open does not keep anybody waiting."""
    fcntl.fcntl(pipe.write, fcntl.F_SETPIPE_SZ, 1 << 18)
    os.write(pipe.write, data)
    if closed:
        pipe.close(pipe.write)
    lines = Lines(reactor, pipe.read, start=started)
    lines.stop_at = "one"
    if started:
        lines.wait_for("one")
    assert len(lines.input.undelivered()) == count + (not started)


def test_paused_input_at_its_end_counts_its_last_line_once(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read)
    os.write(pipe.write, b"one\nlast")
    lines.wait_for("one")
    pipe.close(pipe.write)
    lines.pause_at = "last"
    lines.wait_for("last")
    assert lines.input.undelivered() == []


def test_pipe_that_another_reader_has_emptied_is_not_at_its_end(
    reactor: Reactor, pipe: Ends
) -> None:
    """The other reader may have made the pipe non-blocking, and may be faster."""
    os.set_blocking(pipe.read, False)
    lines = Lines(reactor, pipe.read)
    lines.input._on_readable()
    os.write(pipe.write, b"later\n")
    assert lines.wait_for("later") == ["later"]


# -- input that others can write to after its end


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A FIFO with a name, and a descriptor that reads from it."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    yield path, descriptor
    os.close(descriptor)


def go_on_until(reactor: Reactor, clock: FakeClock, lines: Lines, last: str) -> None:
    """Let time pass until this was delivered."""
    while last not in lines.got:
        clock.advance(limits.NEXT_WRITER_SECONDS)
        reactor.turn(MOMENT)


def test_one_writer_after_the_other_is_heard_from_a_fifo(
    reactor: Reactor, clock: FakeClock, fifo: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, descriptor = fifo
    lines = Lines(reactor, descriptor, endless=True)
    for number in range(3):
        path.write_text(f"whole {number}\nunended {number}")
        go_on_until(reactor, clock, lines, f"unended {number}")
    reactor.turn(0)
    # It is not asked all the time whether there is another one.
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fail_to_read)
        for _ in range(10):
            reactor.turn(0)
    lines.input.stop()
    assert lines.got == [f"{what} {at}" for at in range(3) for what in ("whole", "unended")]


def test_pipe_without_a_name_has_one_end_and_a_fifo_for_those_who_do_not_wait(
    reactor: Reactor, pipe: Ends, fifo: tuple[Path, int]
) -> None:
    lines = Lines(reactor, pipe.read, endless=True)
    os.write(pipe.write, b"one\n")
    pipe.close(pipe.write)
    assert lines.wait_for(END) == ["one", END]
    path, descriptor = fifo
    lines = Lines(reactor, descriptor)
    path.write_text("one\n")
    assert lines.wait_for(END) == ["one", END]


# -- input from a terminal


@pytest.mark.parametrize("endless", [False, True])
def test_end_of_file_typed_at_a_terminal_is_the_end_or_can_be_followed_by_more(
    reactor: Reactor, clock: FakeClock, terminal: Terminal, endless: bool
) -> None:
    before = fcntl.fcntl(terminal.program, fcntl.F_GETFL)
    lines = Lines(reactor, terminal.program, endless=endless)
    os.write(terminal.screen, b"one\n\x04" + b"two\n" * endless)
    go_on_until(reactor, clock, lines, "two" if endless else END)
    assert fcntl.fcntl(terminal.program, fcntl.F_GETFL) == before
    terminal.close(terminal.screen)
    go_on_until(reactor, clock, lines, END)
    assert lines.got == (["one", "two", END] if endless else ["one", END])


def fail_to_read(_descriptor: int, _size: int) -> bytes:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_terminal_that_fails_and_does_not_control_us_is_at_its_end(
    reactor: Reactor, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a terminal does not even tell which job is in its foreground."""
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        os.tcgetpgrp(terminal.program)
    lines = Lines(reactor, terminal.program)
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fail_to_read)
        os.write(terminal.screen, b"x\n")
        until(reactor, lambda: lines.got)
    assert lines.got == [END]


@pytest.mark.parametrize("known", [True, False])
def test_process_brought_to_the_foreground_without_a_signal_reads_again(
    reactor: Reactor,
    clock: FakeClock,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    known: bool,
) -> None:
    """bash's `fg` sends no SIGCONT to a job that was never stopped. It is in the background before
    it looks (`known`), or only when it reads."""
    tried: list[int] = []

    def read(descriptor: int, size: int) -> bytes:
        tried.append(descriptor)
        return fail_to_read(descriptor, size)

    def foreground(descriptor: int) -> int:
        if known:
            tried.append(descriptor)
        return os.getpgrp() + (known or bool(tried))

    lines = Lines(reactor, terminal.program)
    with monkeypatch.context() as patch:
        patch.setattr(os, "tcgetpgrp", foreground)
        patch.setattr(os, "read", read)
        os.write(terminal.screen, b"for us\n")
        until(reactor, lambda: tried)
        reactor.turn(MOMENT)
        assert lines.got == []
        assert len(tried) == 1, "a background process must not ask again and again"
    for _ in range(100):
        clock.advance(1)
        reactor.turn(0)
    assert lines.got == ["for us"]


def test_line_that_the_shell_has_read_is_not_waited_for(
    reactor: Reactor, clock: FakeClock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes us in the background, and the shell brings us forward before we look."""
    lines = Lines(reactor, terminal.program)

    def foreground(_descriptor: int) -> int:
        termios.tcflush(terminal.program, termios.TCIFLUSH)
        return os.getpgrp()

    with monkeypatch.context() as patch:
        patch.setattr(os, "tcgetpgrp", foreground)
        patch.setattr(os, "read", lambda *_: pytest.fail("a read would wait for the next line"))
        os.write(terminal.screen, b"fg\n")
        until(reactor, lambda: not can_be_read(terminal.program))
        assert lines.got == []
    os.write(terminal.screen, b"for us\n")
    for _ in range(100):
        clock.advance(1)
        reactor.turn(0)
    assert lines.got == ["for us"]


def test_terminal_of_another_group_of_processes_is_not_ours(
    terminal: Terminal, pipe: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_in_background(pipe.read)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp())
    assert not is_in_background(terminal.program)
    monkeypatch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp() + 1)
    assert is_in_background(terminal.program)


def test_input_and_output_know_whether_they_are_a_terminal(
    reactor: Reactor, pipe: Ends, terminal: Terminal
) -> None:
    for descriptor in (terminal.program, pipe.read, None):
        is_terminal = descriptor == terminal.program
        assert Lines(reactor, descriptor, start=False).input.is_terminal == is_terminal
        assert LineOutput(reactor, descriptor, "utf-8").is_terminal == is_terminal


# -- output


BIG = [f"{number:1023}" for number in range(512)]
"""Half a mebibyte of lines, more than a pipe or a terminal holds."""

BIG_BYTES = "".join(f"{line}\n" for line in BIG).encode()


class Output:
    """A LineOutput, and what it told."""

    def __init__(self, reactor: Reactor, descriptor: int | None, encoding: str = "utf-8") -> None:
        self.told: list[str] = []
        self.lines = LineOutput(reactor, descriptor, encoding)
        self.lines.on_drained = lambda: self.told.append("drained")
        self.lines.on_broken = lambda: self.told.append("broken")
        self.lines.on_stuck = self.told.append

    def fill(self) -> None:
        for line in BIG:
            self.lines.write(line)


def take(descriptor: int) -> bytes:
    """What can be read from a descriptor just now."""
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 1 << 20)
    return b""


def arrives(reactor: Reactor, descriptor: int, expected: bytes) -> None:
    """Take turns until as much has arrived as is expected; it must be just that."""
    got = bytearray()

    def complete() -> bool:
        got.extend(take(descriptor))
        return len(got) >= len(expected)

    until(reactor, complete)
    assert got == expected


def test_lines_and_bytes_leave_at_once_in_the_encoding(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write, "latin-1")
    output.lines.write("\xe9")
    assert take(pipe.read) == b"\xe9\n"
    output.lines.write_bytes(b"\xff\x1b[K")
    output.lines.write_bytes(output.lines.encode("\xe9\u6f22"))
    output.lines.write("end \udcff")
    assert output.lines.as_written("\xe9\u6f22 \udcff") == "\xe9\\u6f22 \\udcff"
    assert take(pipe.read) == b"\xff\x1b[K\xe9\\u6f22end \\udcff\n"
    assert (output.lines.queued_bytes, output.told) == (0, [])


@pytest.mark.parametrize(
    ("encoding", "is_unicode"),
    [("utf-8", True), ("UTF8", True), ("ascii", False), ("latin-1", False), ("utf-16", False)],
)
def test_output_knows_whether_it_has_all_characters(
    reactor: Reactor, encoding: str, is_unicode: bool
) -> None:
    assert LineOutput(reactor, None, encoding).is_unicode is is_unicode


@pytest.mark.parametrize("where", ["closed", os.devnull, "file"])
def test_output_that_is_no_pipe_takes_everything_at_once(
    reactor: Reactor, tmp_path: Path, where: str
) -> None:
    path = tmp_path / where
    with path.open("wb", buffering=0) as file:
        output = Output(reactor, None if where == "closed" else file.fileno())
        output.fill()
        output.lines.drain()
        reactor.turn(0)
    assert (output.lines.queued_bytes, output.told) == (0, [])
    if where == "file":
        assert path.read_bytes() == BIG_BYTES


@pytest.mark.parametrize("kind", ["pipe", "non-blocking pipe", "terminal"])
def test_full_output_never_blocks_and_nothing_is_lost_again_and_again(
    reactor: Reactor, pipe: Ends, terminal: Terminal, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mode stays, since the shell and other programs share the open file."""
    write, read = pipe.write, pipe.read
    if kind == "terminal":
        write, read = terminal.program, terminal.screen
    os.set_blocking(write, kind != "non-blocking pipe")
    mode = fcntl.fcntl(write, fcntl.F_GETFL)
    output = Output(reactor, write)
    for times in range(1, 4):
        output.fill()
        reactor.turn(0)
        assert output.lines.queued_bytes > 0
        assert fcntl.fcntl(write, fcntl.F_GETFL) == mode
        with monkeypatch.context() as patch:
            # It does not keep the loop busy.
            patch.setattr(os, "write", None)
            output.lines.write("more")
            reactor.turn(0)
        expected = BIG_BYTES + b"more\n"
        arrives(reactor, read, expected.replace(b"\n", b"\r\n") if kind == "terminal" else expected)
        assert output.told == ["drained"] * times
    assert fcntl.fcntl(write, fcntl.F_GETFL) == mode


def test_descriptor_that_would_block_against_its_word_is_tried_again(
    reactor: Reactor, pipe: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_descriptor: int, _data: bytes) -> int:
        raise BlockingIOError(errno.EAGAIN, "would block")

    output = Output(reactor, pipe.write)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        output.lines.write("patience")
        reactor.turn(0)
        reactor.turn(0)
    until(reactor, lambda: not output.lines.queued_bytes)
    assert take(pipe.read) == b"patience\n"
    assert output.told == ["drained"]


def test_terminal_that_cannot_be_opened_anew_is_written_with_care(
    reactor: Reactor, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `su`, for instance, a terminal belongs to another user; and its raw mode stays."""

    def refuse(_descriptor: int) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    output = Output(reactor, terminal.program)
    with monkeypatch.context() as patch:
        patch.setattr(os, "ttyname", refuse)
        careful = Output(reactor, terminal.program)
    careful.lines.write("hello")
    reactor.turn(0)
    assert take(terminal.screen) == b"hello\r\n"
    tty.setraw(terminal.program)
    output.lines.write("x")
    assert take(terminal.screen) == b"x\n"


# -- output that nobody reads


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_reader_that_is_gone_breaks_the_output_once(
    reactor: Reactor, pipe: Ends, terminal: Terminal, kind: str, waiting: bool
) -> None:
    output = Output(reactor, pipe.write if kind == "pipe" else terminal.program)
    if waiting:
        output.fill()
        reactor.turn(0)
    pipe.close(pipe.read)
    terminal.close(terminal.screen)
    output.lines.write("x")
    until(reactor, lambda: output.told)
    output.fill()
    output.lines.drain()
    reactor.turn(0)
    assert (output.told, output.lines.queued_bytes) == (["broken"], 0)


class Disk:
    """A disk in place of `os.write`: it has room for so many bytes, and counts the attempts."""

    def __init__(self, room: int, number: int) -> None:
        self.room = room
        self.attempts = 0
        self._number = number
        self._write = os.write

    def write(self, descriptor: int, data: bytes) -> int:
        self.attempts += 1
        if not self.room:
            raise OSError(self._number, os.strerror(self._number))
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get
)
@pytest.mark.parametrize("room", [0, 2, 4])
def test_full_disk_is_tried_again_and_no_line_is_torn(
    reactor: Reactor,
    clock: FakeClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    room: int,
) -> None:
    disk = Disk(room, number)
    monkeypatch.setattr(os, "write", disk.write)
    path = tmp_path / "output"
    with path.open("wb", buffering=0) as file:
        output = Output(reactor, file.fileno())
        output.lines.write("one")
        output.lines.write("two")
        for _ in range(10):
            reactor.turn(0)
        output.lines.drain()
        output.lines.write("three")
        assert disk.attempts <= 4, "it must not try again and again"
        clock.advance(limits.OUTPUT_RETRY_SECONDS)
        reactor.turn(0)
        assert path.read_bytes() == b"one\ntwo\n"[:room]
        disk.room = 1 << 20
        clock.advance(limits.OUTPUT_RETRY_SECONDS)
        until(reactor, lambda: not output.lines.queued_bytes)
        output.lines.write("four")
    assert path.read_bytes() == b"one\ntwo\nthree\nfour\n"
    assert output.told == [os.strerror(number).lower(), "drained"]


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.EBADF], ids=errno.errorcode.get)
def test_output_that_can_never_be_written_again_is_broken(
    reactor: Reactor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "write", Disk(0, number).write)
    with (tmp_path / "output").open("wb", buffering=0) as file:
        output = Output(reactor, file.fileno())
        output.lines.write("x")
        output.lines.write("y")
        reactor.turn(0)
    assert (output.told, output.lines.queued_bytes) == (["broken"], 0)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC], ids=errno.errorcode.get)
def test_failure_is_told_to_whoever_comes_late_and_no_longer_when_it_is_over(
    reactor: Reactor, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    disk = Disk(0, number)
    monkeypatch.setattr(os, "write", disk.write)
    with (tmp_path / "output").open("wb", buffering=0) as file:
        output = Output(reactor, file.fileno())
        output.lines.tell_failure()
        output.lines.write("x")
        output.told.clear()
        output.lines.tell_failure()
        assert output.told == ["broken" if number == errno.EPIPE else os.strerror(number).lower()]
        disk.room = 1 << 20
        clock.advance(limits.OUTPUT_RETRY_SECONDS)
        reactor.turn(0)
        output.told.clear()
        output.lines.tell_failure()
    assert output.told == (["broken"] if number == errno.EPIPE else [])


# -- draining


def test_drain_writes_without_a_turn_and_gives_up_at_its_deadline(
    reactor: Reactor, pipe: Ends
) -> None:
    output = Output(reactor, pipe.write)
    output.lines.write("now")
    output.lines.drain(5)
    assert take(pipe.read) == b"now\n"
    assert output.lines.queued_bytes == 0
    output.fill()
    output.lines.drain(0.01)
    assert output.lines.queued_bytes > 0
    arrives(reactor, pipe.read, BIG_BYTES)


def test_whoever_hurries_waits_for_a_moment_in_all(
    reactor: Reactor, pipe: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []

    def wait(_descriptor: int, seconds: float | None) -> bool:
        if seconds != 0:
            waits.append(seconds)
            now.advance(seconds or 0)
        return False

    now = FakeClock()
    monkeypatch.setattr("chat.stdio.time.monotonic", now)
    output = Output(reactor, pipe.write)
    output.fill()
    monkeypatch.setattr(chat.stdio, "_wait_writable", wait)
    output.lines.hurry()
    for seconds in (None, None, 60, 0):
        output.lines.drain(seconds)
    assert waits == [limits.LINGER_SECONDS]


def test_interrupt_ends_the_waiting_for_good(
    reactor: Reactor, pipe: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_descriptor: int, _seconds: float | None) -> bool:
        raise KeyboardInterrupt

    output = Output(reactor, pipe.write)
    output.fill()
    monkeypatch.setattr(chat.stdio, "_wait_writable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        output.lines.drain()
    output.lines.drain()


@pytest.mark.parametrize("deadline", [None, 60])
def test_drain_waits_for_a_slow_reader(
    reactor: Reactor, pipe: Ends, monkeypatch: pytest.MonkeyPatch, deadline: float | None
) -> None:
    """The reader takes a little whenever the output would wait for it."""
    got = bytearray()
    waits: list[float | None] = []
    real = chat.stdio._wait_writable

    def wait(descriptor: int, seconds: float | None) -> bool:
        if seconds != 0:
            waits.append(seconds)
            got.extend(take(pipe.read))
        return real(descriptor, seconds)

    monkeypatch.setattr(chat.stdio, "_wait_writable", wait)
    output = Output(reactor, pipe.write)
    output.fill()
    output.lines.drain(deadline)
    got.extend(take(pipe.read))
    assert got == BIG_BYTES
    assert output.lines.queued_bytes == 0
    if deadline is None:
        assert set(waits) == {None}
    else:
        assert all(left is not None and 0 < left <= deadline for left in waits)


def test_output_that_is_held_waits_and_tells_that_it_is_drained(
    reactor: Reactor, pipe: Ends
) -> None:
    output = LineOutput(reactor, pipe.write, "utf-8")
    drained: list[bool] = []
    output.on_drained = lambda: drained.append(True)
    output.hold()
    output.write("one")
    output.drain()
    assert (can_be_read(pipe.read), output.queued_bytes, drained) == (False, 4, [])
    output.release(b"first\n")
    output.write("two")
    assert os.read(pipe.read, 100) == b"first\none\ntwo\n"
    assert drained == [True]


def test_what_is_gathered_leaves_together(
    reactor: Reactor, pipe: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        writes.append(bytes(data))
        return real(descriptor, data)

    output = LineOutput(reactor, pipe.write, "utf-8")
    monkeypatch.setattr(os, "write", write)
    with output.gathered():
        output.write("one")
        with output.gathered():
            output.write("two")
        assert not writes
    output.write("three")
    assert writes == [b"one\ntwo\n", b"three\n"]


def test_what_was_gathered_before_a_failure_is_written(reactor: Reactor, pipe: Ends) -> None:
    output = LineOutput(reactor, pipe.write, "utf-8")
    with contextlib.suppress(ZeroDivisionError), output.gathered():
        output.write("one")
        raise ZeroDivisionError
    assert os.read(pipe.read, 100) == b"one\n"


def test_output_that_waits_for_its_reader_can_be_held(reactor: Reactor, pipe: Ends) -> None:
    output = LineOutput(reactor, pipe.write, "utf-8")
    output.write("x" * (1 << 20))
    output.hold()
    waiting = output.queued_bytes
    while can_be_read(pipe.read):
        os.read(pipe.read, 1 << 16)
        reactor.turn(MOMENT)
    assert output.queued_bytes == waiting > 0
    output.release()
    while output.queued_bytes:
        os.read(pipe.read, 1 << 16)
        reactor.turn(MOMENT)
