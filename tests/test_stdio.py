"""Lines in and out: pipes, files, terminals and closed streams, full pipes and broken ones."""

import contextlib
import errno
import fcntl
import os
import signal
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

import chat.stdio
from chat.limits import (
    CONSOLE_LINE_BYTES,
    CONSOLE_READ_BYTES,
    LINGER_SECONDS,
    NEXT_WRITER_SECONDS,
    OUTPUT_RETRY_SECONDS,
)
from chat.reactor import Reactor
from chat.stdio import LineInput, LineOutput, is_in_background
from tests.support.helpers import FakeClock
from tests.support.loopback import MOMENT, until

END = "<end>"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reactor(clock: FakeClock) -> Iterator[Reactor]:
    """A reactor; the signal that a terminal has to do with is as before at the end."""
    handler = signal.getsignal(signal.SIGTTIN)
    with contextlib.closing(Reactor(clock)) as reactor:
        yield reactor
    signal.signal(signal.SIGTTIN, handler)


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
    """A LineInput, and what it delivered."""

    def __init__(self, reactor: Reactor, descriptor: int | None) -> None:
        self.got: list[str] = []
        self.pause_at: str | None = None
        self.stop_at: str | None = None
        self.input = LineInput(reactor, descriptor, self._on_line, lambda: self.got.append(END))

    def _on_line(self, line: str) -> None:
        self.got.append(line)
        if line == self.pause_at:
            self.input.pause()
        if line == self.stop_at:
            self.input.stop()


def read_from(reactor: Reactor, descriptor: int | None) -> list[str]:
    """All lines that come from a descriptor, and the end."""
    lines = Lines(reactor, descriptor)
    lines.input.start()
    until(reactor, lambda: END in lines.got)
    reactor.turn(0)
    return lines.got


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
        (b"bad \xff\xc3( \xed\xa0\x80\n", ["bad \ufffd\ufffd( \ufffd\ufffd\ufffd"]),
        (b"cut \xe6\xbc", ["cut \ufffd"]),
    ],
)
@pytest.mark.parametrize("pieces", [1, 1000], ids=["byte by byte", "at once"])
def test_lines_of_a_pipe_are_delivered_and_then_the_end(
    reactor: Reactor, pipe: Ends, data: bytes, lines: list[str], pieces: int
) -> None:
    delivered = Lines(reactor, pipe.read)
    delivered.input.start()
    for start in range(0, len(data), pieces):
        os.write(pipe.write, data[start : start + pieces])
        reactor.turn(MOMENT)
    pipe.close(pipe.write)
    until(reactor, lambda: END in delivered.got)
    reactor.turn(0)
    assert delivered.got == [*lines, END]


def test_lines_of_a_regular_file_are_delivered_and_then_the_end(
    reactor: Reactor, tmp_path: Path
) -> None:
    path = tmp_path / "input"
    path.write_text("one\ntwo\nlast")
    with path.open("rb", buffering=0) as file:
        assert read_from(reactor, file.fileno()) == ["one", "two", "last", END]


def test_null_device_is_at_its_end(reactor: Reactor) -> None:
    with open(os.devnull, "rb", buffering=0) as null:
        assert read_from(reactor, null.fileno()) == [END]


def test_closed_input_is_at_its_end(reactor: Reactor) -> None:
    assert read_from(reactor, None) == [END]


def test_input_that_cannot_be_read_is_at_its_end(reactor: Reactor, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_from(reactor, descriptor) == [END]
    finally:
        os.close(descriptor)


def test_input_at_its_end_does_not_keep_the_loop_busy(
    reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull, "rb", buffering=0) as null:
        read_from(reactor, null.fileno())
        reads: list[int] = []
        monkeypatch.setattr(os, "read", lambda *arguments: reads.append(arguments[0]))
        reactor.turn(0)
        assert reads == []


def test_nothing_is_delivered_before_the_start(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read)
    os.write(pipe.write, b"early\n")
    reactor.turn(MOMENT)
    assert lines.got == []
    lines.input.start()
    until(reactor, lambda: lines.got)
    assert lines.got == ["early"]


@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "unended"])
def test_line_of_two_mebibytes_is_cut_but_stays_too_long_to_pass(
    reactor: Reactor, tmp_path: Path, end: bytes
) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"before\n" + b"x" * (2 << 20) + end)
    with path.open("rb", buffering=0) as file:
        before, long, last = read_from(reactor, file.fileno())
    assert (before, last) == ("before", END)
    assert CONSOLE_LINE_BYTES <= len(long) <= CONSOLE_LINE_BYTES + CONSOLE_READ_BYTES
    assert set(long) == {"x"}


@pytest.mark.parametrize("size", [0, 1, 70_000, CONSOLE_LINE_BYTES, 3_000_000])
@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "unended"])
def test_each_line_has_its_number_and_its_length(
    reactor: Reactor, tmp_path: Path, size: int, end: bytes
) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"before\n" + b"x" * size + end)
    seen: list[tuple[int, int]] = []
    ended: list[bool] = []
    with path.open("rb", buffering=0) as file:
        lines = LineInput(
            reactor,
            file.fileno(),
            lambda _line: seen.append((lines.line_number, lines.line_bytes)),
            lambda: ended.append(True),
        )
        lines.start()
        until(reactor, lambda: ended)
    assert seen == [(1, 6), (2, size)][: 1 + (size > 0 or end != b"")]


def test_line_after_one_of_two_mebibytes_is_whole(reactor: Reactor, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes("ä".encode() * (1 << 20) + "\nnächste\n".encode())
    with path.open("rb", buffering=0) as file:
        _, following, last = read_from(reactor, file.fileno())
    assert (following, last) == ("nächste", END)


def test_pause_lets_what_was_read_wait(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read)
    lines.pause_at = "two"
    lines.input.start()
    os.write(pipe.write, b"one\ntwo\nthree\nfour\n")
    pipe.close(pipe.write)
    until(reactor, lambda: "two" in lines.got)
    reactor.turn(MOMENT)
    assert lines.got == ["one", "two"]
    assert lines.input.paused
    lines.input.start()
    until(reactor, lambda: END in lines.got)
    assert lines.got == ["one", "two", "three", "four", END]


def test_pause_reads_no_more_from_the_pipe(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read)
    lines.input.start()
    lines.input.pause()
    os.write(pipe.write, b"waits in the pipe\n")
    reactor.turn(MOMENT)
    assert os.read(pipe.read, 100) == b"waits in the pipe\n"


def test_pause_holds_the_end_back_too(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read)
    lines.pause_at = "last"
    lines.input.start()
    os.write(pipe.write, b"last")
    pipe.close(pipe.write)
    until(reactor, lambda: lines.got)
    reactor.turn(MOMENT)
    assert lines.got == ["last"]
    lines.input.start()
    assert lines.got == ["last", END]


def test_stop_delivers_nothing_more_not_even_the_end(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read)
    lines.stop_at = "one"
    lines.input.start()
    os.write(pipe.write, b"one\ntwo\n")
    pipe.close(pipe.write)
    until(reactor, lambda: lines.got)
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
    reactor: Reactor, tmp_path: Path, data: bytes, count: int, closed: bool, started: bool
) -> None:
    """Those in the pipe, too; a pipe that stays open does not keep anybody waiting."""
    with contextlib.closing(Ends(*os.pipe())) as pipe:
        fcntl.fcntl(pipe.write, fcntl.F_SETPIPE_SZ, 1 << 18)
        os.write(pipe.write, data)
        if closed:
            pipe.close(pipe.write)
        lines = Lines(reactor, pipe.read)
        lines.stop_at = "one"
        if started:
            lines.input.start()
            until(reactor, lambda: lines.got)
        else:
            count += 1
        assert len(lines.input.undelivered()) == count


def test_paused_input_at_its_end_counts_its_last_line_once(reactor: Reactor, pipe: Ends) -> None:
    lines = Lines(reactor, pipe.read)
    lines.input.start()
    os.write(pipe.write, b"one\nlast")
    until(reactor, lambda: lines.got)
    pipe.close(pipe.write)
    lines.pause_at = "last"
    until(reactor, lambda: "last" in lines.got)
    assert lines.input.undelivered() == []


def test_input_that_cannot_be_read_holds_nothing_to_count(reactor: Reactor, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert Lines(reactor, descriptor).input.undelivered() == []
    finally:
        os.close(descriptor)
    assert Lines(reactor, None).input.undelivered() == []


def test_pipe_that_another_reader_has_emptied_is_not_at_its_end(
    reactor: Reactor, pipe: Ends
) -> None:
    """Who shares the pipe may have made it non-blocking, and may be faster."""
    os.set_blocking(pipe.read, False)
    lines = Lines(reactor, pipe.read)
    lines.input.start()
    lines.input._on_readable()
    os.write(pipe.write, b"later\n")
    until(reactor, lambda: lines.got)
    assert lines.got == ["later"]


# -- input that others can write to after its end


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def go_on_until(reactor: Reactor, clock: FakeClock, lines: Lines, last: str) -> None:
    """Let time pass until this was delivered."""
    while last not in lines.got:
        clock.advance(NEXT_WRITER_SECONDS)
        reactor.turn(MOMENT)


@contextlib.contextmanager
def reading(reactor: Reactor, path: Path, *, endless: bool) -> Iterator[Lines]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    lines = Lines(reactor, descriptor)
    lines.input = LineInput(
        reactor, descriptor, lines._on_line, lambda: lines.got.append(END), endless=endless
    )
    lines.input.start()
    try:
        yield lines
    finally:
        lines.input.stop()
        os.close(descriptor)


def test_one_writer_after_the_other_is_heard_from_a_fifo(
    reactor: Reactor, clock: FakeClock, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(reactor, fifo, endless=True) as lines:
        for number in range(3):
            fifo.write_text(f"whole {number}\nunended {number}")
            go_on_until(reactor, clock, lines, f"unended {number}")
        reactor.turn(0)
        # It is not asked all the time whether there is another one.
        with monkeypatch.context() as patch:
            patch.setattr(os, "read", fail_to_read)
            for _ in range(10):
                reactor.turn(0)
    assert lines.got == [f"{what} {at}" for at in range(3) for what in ("whole", "unended")]


@pytest.mark.parametrize("endless", [False, True])
def test_pipe_whose_writers_are_gone_is_at_its_end(
    reactor: Reactor, pipe: Ends, endless: bool
) -> None:
    lines = Lines(reactor, None)
    lines.input = LineInput(
        reactor, pipe.read, lines._on_line, lambda: lines.got.append(END), endless=endless
    )
    lines.input.start()
    os.write(pipe.write, b"one\n")
    pipe.close(pipe.write)
    until(reactor, lambda: END in lines.got)
    assert lines.got == ["one", END]


def test_fifo_is_at_its_end_for_those_who_do_not_wait(reactor: Reactor, fifo: Path) -> None:
    with reading(reactor, fifo, endless=False) as lines:
        fifo.write_text("one\n")
        until(reactor, lambda: END in lines.got)
    assert lines.got == ["one", END]


def test_end_of_file_typed_at_a_terminal_can_be_followed_by_more(
    reactor: Reactor, clock: FakeClock, terminal: Terminal
) -> None:
    lines = Lines(reactor, None)
    lines.input = LineInput(
        reactor, terminal.program, lines._on_line, lambda: lines.got.append(END), endless=True
    )
    lines.input.start()
    os.write(terminal.screen, b"one\n\x04two\n")
    go_on_until(reactor, clock, lines, "two")
    terminal.close(terminal.screen)
    go_on_until(reactor, clock, lines, END)
    assert lines.got == ["one", "two", END]


def test_blocking_mode_of_the_input_is_left_alone(reactor: Reactor, pipe: Ends) -> None:
    before = fcntl.fcntl(pipe.read, fcntl.F_GETFL)
    os.write(pipe.write, b"one\n")
    pipe.close(pipe.write)
    read_from(reactor, pipe.read)
    assert fcntl.fcntl(pipe.read, fcntl.F_GETFL) == before


# -- input from a terminal


def test_pipe_is_no_terminal(reactor: Reactor, pipe: Ends) -> None:
    assert not Lines(reactor, pipe.read).input.is_terminal
    assert not Lines(reactor, None).input.is_terminal


def test_lines_typed_at_a_terminal_are_delivered(reactor: Reactor, terminal: Terminal) -> None:
    before = fcntl.fcntl(terminal.program, fcntl.F_GETFL)
    lines = Lines(reactor, terminal.program)
    assert lines.input.is_terminal
    lines.input.start()
    os.write(terminal.screen, b"hello\nthere\n")
    until(reactor, lambda: len(lines.got) == 2)
    assert lines.got == ["hello", "there"]
    assert fcntl.fcntl(terminal.program, fcntl.F_GETFL) == before


def test_end_of_file_typed_at_a_terminal_is_the_end(reactor: Reactor, terminal: Terminal) -> None:
    lines = Lines(reactor, terminal.program)
    lines.input.start()
    os.write(terminal.screen, b"hello\n\x04")
    until(reactor, lambda: END in lines.got)
    assert lines.got == ["hello", END]


def test_terminal_that_hangs_up_is_at_its_end(reactor: Reactor, terminal: Terminal) -> None:
    lines = Lines(reactor, terminal.program)
    lines.input.start()
    terminal.close(terminal.screen)
    until(reactor, lambda: lines.got)
    assert lines.got == [END]


def fail_to_read(_descriptor: int, _size: int) -> bytes:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_terminal_that_fails_and_does_not_control_us_is_at_its_end(
    reactor: Reactor, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom such a terminal has in the foreground cannot even be asked."""
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        os.tcgetpgrp(terminal.program)
    lines = Lines(reactor, terminal.program)
    lines.input.start()
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fail_to_read)
        os.write(terminal.screen, b"x\n")
        until(reactor, lambda: lines.got)
    assert lines.got == [END]


def in_background(
    patch: pytest.MonkeyPatch, reactor: Reactor, terminal: Terminal, lines: Lines
) -> None:
    """What a background process sees when something is typed at its terminal."""
    failed: list[int] = []

    def read(descriptor: int, size: int) -> bytes:
        failed.append(descriptor)
        return fail_to_read(descriptor, size)

    patch.setattr(os, "tcgetpgrp", lambda _descriptor: os.getpgrp() + 1)
    patch.setattr(os, "read", read)
    os.write(terminal.screen, b"for us\n")
    until(reactor, lambda: failed)
    reactor.turn(MOMENT)
    assert lines.got == []
    assert len(failed) == 1, "a background process must not ask again and again"


def test_process_brought_to_the_foreground_without_a_signal_reads_again(
    reactor: Reactor, clock: FakeClock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bash's `fg` sends no SIGCONT to a job that was never stopped."""
    lines = Lines(reactor, terminal.program)
    lines.input.start()
    with monkeypatch.context() as patch:
        in_background(patch, reactor, terminal, lines)
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


# -- output


class Output:
    """A LineOutput, and what it told."""

    def __init__(self, reactor: Reactor, descriptor: int | None, encoding: str = "utf-8") -> None:
        self.told: list[str] = []
        self.lines = LineOutput(reactor, descriptor, encoding)
        self.lines.on_drained = lambda: self.told.append("drained")
        self.lines.on_broken = lambda: self.told.append("broken")


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


BIG = [f"{number:7}" for number in range(1 << 16)]
"""Half a mebibyte of lines, more than a pipe or a terminal holds."""

BIG_BYTES = "".join(f"{line}\n" for line in BIG).encode()


def test_line_leaves_at_once(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write)
    output.lines.write("one")
    assert take(pipe.read) == b"one\n"
    output.lines.write("two")
    assert take(pipe.read) == b"two\n"
    assert output.lines.queued_bytes == 0
    assert output.told == []


def test_bytes_stand_between_the_lines_as_they_are(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write, "latin-1")
    output.lines.write("\xe9")
    output.lines.write_bytes(b"\xff\x1b[K")
    output.lines.write_bytes(output.lines.encode("\xe9\u6f22"))
    output.lines.write("end")
    assert take(pipe.read) == b"\xe9\n\xff\x1b[K\xe9\\u6f22end\n"


@pytest.mark.parametrize(
    ("encoding", "is_unicode"),
    [("utf-8", True), ("UTF8", True), ("ascii", False), ("latin-1", False), ("utf-16", False)],
)
def test_output_knows_whether_it_has_all_characters(
    reactor: Reactor, encoding: str, is_unicode: bool
) -> None:
    assert LineOutput(reactor, None, encoding).is_unicode is is_unicode


def test_output_knows_whether_it_is_a_terminal(
    reactor: Reactor, pipe: Ends, terminal: Terminal
) -> None:
    assert LineOutput(reactor, terminal.program, "utf-8").is_terminal
    assert not LineOutput(reactor, pipe.write, "utf-8").is_terminal
    assert not LineOutput(reactor, None, "utf-8").is_terminal


def test_closed_output_takes_everything_and_shows_nothing(reactor: Reactor) -> None:
    output = Output(reactor, None)
    output.lines.write("x")
    output.lines.drain()
    reactor.turn(0)
    assert output.lines.queued_bytes == 0
    assert output.told == []


def test_output_to_a_regular_file_leaves_at_once(reactor: Reactor, tmp_path: Path) -> None:
    path = tmp_path / "output"
    with path.open("wb", buffering=0) as file:
        output = Output(reactor, file.fileno())
        for line in BIG:
            output.lines.write(line)
        reactor.turn(0)
    assert path.read_bytes() == BIG_BYTES
    assert output.told == []


def test_output_to_the_null_device_leaves_at_once(reactor: Reactor) -> None:
    with open(os.devnull, "wb", buffering=0) as null:
        output = Output(reactor, null.fileno())
        for line in BIG:
            output.lines.write(line)
        reactor.turn(0)
        assert output.lines.queued_bytes == 0


def test_what_the_encoding_lacks_is_shown_as_an_escape(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write, "ascii")
    output.lines.write("Ärger 漢 \udcff")
    reactor.turn(0)
    assert take(pipe.read) == b"\\xc4rger \\u6f22 \\udcff\n"


def test_full_pipe_never_blocks_and_nothing_is_lost(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write)
    for line in BIG:
        output.lines.write(line)
    reactor.turn(0)
    waiting = output.lines.queued_bytes
    assert waiting > 0
    assert output.told == []
    output.lines.write("the end")
    arrives(reactor, pipe.read, BIG_BYTES + b"the end\n")
    assert output.told == ["drained"]


def test_full_pipe_does_not_keep_the_loop_busy(
    reactor: Reactor, pipe: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(reactor, pipe.write)
    for line in BIG:
        output.lines.write(line)
    reactor.turn(0)
    writes: list[int] = []
    monkeypatch.setattr(os, "write", lambda *arguments: writes.append(arguments[0]))
    for _ in range(3):
        output.lines.write("more")
        reactor.turn(0)
    assert writes == []


def test_pipe_can_fill_and_drain_again_and_again(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write)
    for round_number in range(1, 4):
        for line in BIG:
            output.lines.write(line)
        arrives(reactor, pipe.read, BIG_BYTES)
        assert output.told == ["drained"] * round_number


def test_pipe_that_somebody_made_nonblocking_loses_nothing(reactor: Reactor, pipe: Ends) -> None:
    os.set_blocking(pipe.write, False)
    output = Output(reactor, pipe.write)
    for line in BIG:
        output.lines.write(line)
    arrives(reactor, pipe.read, BIG_BYTES)


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


def test_terminal_that_does_not_scroll_never_blocks_and_nothing_is_lost(
    reactor: Reactor, terminal: Terminal
) -> None:
    output = Output(reactor, terminal.program)
    for line in BIG:
        output.lines.write(line)
    reactor.turn(0)
    assert output.lines.queued_bytes > 0
    arrives(reactor, terminal.screen, BIG_BYTES.replace(b"\n", b"\r\n"))
    assert output.told == ["drained"]


def test_terminal_that_cannot_be_opened_anew_is_written_with_care(
    reactor: Reactor, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `su`, for one, a terminal belongs to somebody else."""

    def refuse(_descriptor: int) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "ttyname", refuse)
    output = Output(reactor, terminal.program)
    output.lines.write("hello")
    reactor.turn(0)
    assert take(terminal.screen) == b"hello\r\n"


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_shared_stream_is_never_made_nonblocking(
    reactor: Reactor, pipe: Ends, terminal: Terminal, kind: str
) -> None:
    """The shell has the same open file, and so has whoever else writes there."""
    descriptor = {"pipe": pipe.write, "terminal": terminal.program}[kind]
    reader = {"pipe": pipe.read, "terminal": terminal.screen}[kind]
    before = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    assert not before & os.O_NONBLOCK
    output = Output(reactor, descriptor)
    for line in BIG:
        output.lines.write(line)
    seen = set()
    while output.lines.queued_bytes:
        reactor.turn(0)
        seen.add(fcntl.fcntl(descriptor, fcntl.F_GETFL))
        take(reader)
    output.lines.drain()
    seen.add(fcntl.fcntl(descriptor, fcntl.F_GETFL))
    assert seen == {before}


# -- output that nobody reads


def test_reader_that_is_gone_breaks_the_output_once(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write)
    pipe.close(pipe.read)
    output.lines.write("x")
    reactor.turn(0)
    output.lines.write("y")
    reactor.turn(0)
    output.lines.drain()
    assert output.told == ["broken"]
    assert output.lines.queued_bytes == 0


def test_reader_that_goes_while_the_output_waits_breaks_it_once(
    reactor: Reactor, pipe: Ends
) -> None:
    output = Output(reactor, pipe.write)
    for line in BIG:
        output.lines.write(line)
    reactor.turn(0)
    pipe.close(pipe.read)
    until(reactor, lambda: output.told)
    reactor.turn(0)
    assert output.told[0] == "broken"
    assert output.told.count("broken") == 1
    assert output.lines.queued_bytes == 0


def test_terminal_that_hangs_up_breaks_the_output(reactor: Reactor, terminal: Terminal) -> None:
    output = Output(reactor, terminal.program)
    terminal.close(terminal.screen)
    output.lines.write("x")
    until(reactor, lambda: output.told)
    assert output.told == ["broken"]


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


FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]


@pytest.mark.parametrize("number", FULL, ids=errno.errorcode.get)
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
        output.lines.on_stuck = output.told.append
        output.lines.write("one")
        output.lines.write("two")
        for _ in range(10):
            reactor.turn(0)
        output.lines.drain()
        output.lines.write("three")
        assert disk.attempts <= 4, "it must not try again and again"
        clock.advance(OUTPUT_RETRY_SECONDS)
        reactor.turn(0)
        assert path.read_bytes() == b"one\ntwo\n"[:room]
        disk.room = 1 << 20
        clock.advance(OUTPUT_RETRY_SECONDS)
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
    assert output.told == ["broken"]
    assert output.lines.queued_bytes == 0


# -- draining


def test_drain_writes_without_a_turn(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write)
    output.lines.write("now")
    output.lines.drain(5)
    assert take(pipe.read) == b"now\n"
    assert output.lines.queued_bytes == 0


def test_drain_gives_up_at_its_deadline(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write)
    for line in BIG:
        output.lines.write(line)
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
    for line in BIG:
        output.lines.write(line)
    monkeypatch.setattr(chat.stdio, "_wait_writable", wait)
    output.lines.hurry()
    for seconds in (None, None, 60, 0):
        output.lines.drain(seconds)
    assert waits == [LINGER_SECONDS]


def test_interrupt_ends_the_waiting_for_good(
    reactor: Reactor, pipe: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(reactor, pipe.write)
    for line in BIG:
        output.lines.write(line)
    with monkeypatch.context() as patch:
        patch.setattr(chat.stdio, "_wait_writable", interrupted)
        with pytest.raises(KeyboardInterrupt):
            output.lines.drain()
        output.lines.drain()


def interrupted(_descriptor: int, _seconds: float | None) -> bool:
    raise KeyboardInterrupt


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
    for line in BIG:
        output.lines.write(line)
    output.lines.drain(deadline)
    got.extend(take(pipe.read))
    assert got == BIG_BYTES
    assert output.lines.queued_bytes == 0
    if deadline is None:
        assert set(waits) == {None}
    else:
        assert all(left is not None and 0 < left <= deadline for left in waits)


def test_drain_returns_when_the_reader_is_gone(reactor: Reactor, pipe: Ends) -> None:
    output = Output(reactor, pipe.write)
    pipe.close(pipe.read)
    for line in BIG:
        output.lines.write(line)
    output.lines.drain()
    assert output.told == ["broken"]


def test_terminal_in_raw_mode_is_left_in_raw_mode(reactor: Reactor, terminal: Terminal) -> None:
    tty.setraw(terminal.program)
    output = Output(reactor, terminal.program)
    output.lines.write("x")
    reactor.turn(0)
    assert take(terminal.screen) == b"x\n"
