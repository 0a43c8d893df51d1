"""A conversation line by line: what a pipe sends as it is, and what a terminal obeys."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.client import events
from chat.files.said import SaidFile
from chat.reactor import Reactor
from chat.stdio import LineOutput
from chat.ui import transcript
from chat.ui.feed import Feed
from chat.ui.plain import LineView
from chat.ui.quiet import Quiet
from chat.ui.record import Record
from chat.ui.strip import strip
from tests.support.conversation import (
    LONGEST,
    LoneView,
    seat_at_pipe,
    seat_at_terminal,
)
from tests.support.loopback import MOMENT, until


@pytest.fixture
def pipe(reactor: Reactor) -> Iterator[LoneView]:
    with seat_at_pipe(reactor, LineView) as seat:
        yield seat


@pytest.fixture
def terminal(reactor: Reactor) -> Iterator[LoneView]:
    with seat_at_terminal(reactor, LineView) as seat:
        yield seat


# -- a pipe


@pytest.mark.parametrize(
    "line", ["/help", "/exit", "/me waves", "//", "//two", "/", " ", "\t", "exit", "EXIT ", '{"say']
)
def test_line_of_a_pipe_is_said_as_it_is_and_its_end_lets_all_be_acknowledged(
    pipe: LoneView, line: str
) -> None:
    pipe.type("", "\r", line)
    pipe.end_input()
    assert pipe.client.noted == [f"say {line}", "finish"]
    assert pipe.shown == []


def test_pipe_that_says_exit_is_not_read_any_further(reactor: Reactor, pipe: LoneView) -> None:
    pipe.type("Hi")
    pipe.send(b"EXIT\nand more\n")
    until(reactor, lambda: "finish" in pipe.client.noted)
    pipe.view.take_input(True)
    reactor.turn(MOMENT)
    assert pipe.client.noted == ["say Hi", "finish"]
    assert pipe.view.count_undelivered() == 1


def test_pipe_waits_while_nothing_is_wanted(reactor: Reactor, pipe: LoneView) -> None:
    pipe.view.take_input(False)
    pipe.send(b"later\n")
    reactor.turn(MOMENT)
    assert pipe.client.noted == []
    pipe.view.take_input(True)
    until(reactor, lambda: pipe.client.noted)
    pipe.view.interrupt()
    assert pipe.client.noted == ["say later", "leave"]


def test_pipe_that_was_stopped_counts_what_was_not_taken(reactor: Reactor, pipe: LoneView) -> None:
    pipe.view.stop()
    pipe.send(b"one\n\n/two\nEXIT\nnever\n")
    reactor.turn(MOMENT)
    assert pipe.client.noted == []
    assert pipe.view.count_undelivered() == 2


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (events.MessageReceived("Thea", 0, "/help", own=False), ["- Thea: /help"]),
        (events.MessageReceived("Thea", 0, "one\ntwo", own=False), ["- Thea: one", "    two"]),
        (events.MessageReceived("Ira", 0, "Hi", own=True), []),
        (
            events.MessageReceived("Thea", 0, "Hi", own=False, to="Ira"),
            ["- Thea → you [private]: Hi"],
        ),
        (events.MessageReceived("Ira", 0, "Hi", own=True, to="Thea"), []),
        (events.OutboxFull(1024), []),
        (events.MemberJoined("Thea"), ["[+] New person joined the room. Username: Thea"]),
        (events.Warned("something is odd"), ["[!] something is odd."]),
    ],
)
def test_pipe_is_shown_what_others_say_and_do(
    pipe: LoneView, event: events.ClientEvent, lines: list[str]
) -> None:
    assert pipe.show(event) == lines


def test_why_a_line_was_not_sent_goes_to_standard_error_with_its_number(
    reactor: Reactor, pipe: LoneView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ui.plain", "stdio"):
        monkeypatch.setattr(f"chat.{module}.CONSOLE_LINE_BYTES", 2 * LONGEST)
    path = tmp_path / "errors"
    with path.open("wb", buffering=0) as file:
        pipe.view._errors = LineOutput(reactor, file.fileno(), "utf-8")
        pipe.type("one", "x" * (LONGEST + 1), "", "x" * 1000, "two")
    assert pipe.client.noted == ["say one", "say two"]
    second, fourth = path.read_text().splitlines()
    assert second == "chat: line 2: it is too long"
    assert fourth.startswith("chat: line 4: a message of 1000 bytes is too long: ")
    assert pipe.shown[0] == "[!] It is too long."
    assert (pipe.view.not_sent, pipe.view.not_commands) == (2, 0)


def test_log_that_cannot_be_written_is_told_on_standard_error_too(
    reactor: Reactor, pipe: LoneView, tmp_path: Path
) -> None:
    """A program that keeps a log may have nobody who reads its output."""
    entries = SaidFile(tmp_path / "log")
    pipe.view._feed = Feed(Quiet(reactor.clock), Record(entries, "Ira"))
    path = tmp_path / "errors"
    hi, trouble = events.MessageReceived("Thea", 0, "Hi", own=False), "the log cannot be written"
    entries.path.mkdir()
    with path.open("wb", buffering=0) as file:
        pipe.view._errors = LineOutput(reactor, file.fileno(), "utf-8")
        told = f"[!] {trouble}: is a directory."
        assert pipe.show(hi, hi) == ["- Thea: Hi", told, "- Thea: Hi"]
        entries.path.rmdir()
        pipe.show(hi)
    assert path.read_text().splitlines() == [
        f"chat: warning: {trouble}: is a directory",
        "chat: warning: the log is written again; 2 lines are missing there",
    ]


@pytest.mark.parametrize("line", ["\udcff\udcfe", "caf\udce9", "cut \udce6\udcbc"])
def test_line_of_a_pipe_that_is_not_utf_8_is_not_sent(
    reactor: Reactor, pipe: LoneView, tmp_path: Path, line: str
) -> None:
    path = tmp_path / "errors"
    with path.open("wb", buffering=0) as file:
        pipe.view._errors = LineOutput(reactor, file.fileno(), "utf-8")
        pipe.type(line, "ok")
    assert pipe.client.noted == ["say ok"]
    assert path.read_text() == "chat: line 1: it is not UTF-8\n"
    assert pipe.shown == ["[!] It is not UTF-8."]
    assert (pipe.view.not_sent, pipe.view.not_commands) == (1, 0)


def test_output_of_a_tool_is_said_as_it_looks_in_the_end(reactor: Reactor, pipe: LoneView) -> None:
    pipe.view._strip = strip
    pipe.type("\x1b[31mred\x1b[m", " 10%\r100%", "\x1b[31m\x1b[m", "\x1bc")
    assert pipe.client.noted == ["say red", "say 100%"]


def test_pipe_that_listens_stays_when_its_input_ends(reactor: Reactor, pipe: LoneView) -> None:
    pipe.view._listens = True
    pipe.type("Hi")
    os.close(pipe._hand)
    pipe._hand = -1
    until(reactor, lambda: pipe.view.input.ended)
    assert pipe.client.noted == ["say Hi"]
    assert not pipe.view.unfinished
    assert pipe.show(events.MessageReceived("Thea", 0, "Hi", own=False)) == ["- Thea: Hi"]


def test_pipe_that_listens_leaves_when_it_is_told(reactor: Reactor, pipe: LoneView) -> None:
    pipe.view._listens = True
    pipe.send(b"EXIT\n")
    until(reactor, lambda: pipe.client.noted)
    assert pipe.client.noted == ["finish"]


def test_spinning_waits_for_no_reader(
    reactor: Reactor, pipe: LoneView, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float | None] = []

    def wait(_descriptor: int, seconds: float | None) -> bool:
        waits.append(seconds)
        return False

    monkeypatch.setattr("chat.stdio._wait_writable", wait)
    pipe.view.show(events.MemberJoined("Thea"))
    for _ in range(100):
        pipe.view.spin()
    assert set(waits) == {0}
    assert len(waits) <= 101


# -- a terminal that can do no more


def test_terminal_has_commands(terminal: LoneView) -> None:
    terminal.type("\udcff")
    assert (terminal.client.noted, terminal.shown) == ([], ["[!] It is not UTF-8."])
    assert terminal.show() == []
    terminal.type("//help", "/me waves", "/trust nobody", "/clear", " ")
    assert terminal.client.noted == ["say /help", "say \x01ACTION waves\x01"]
    assert terminal.shown == ["[!] Nobody here is called nobody.", transcript.NOT_CLEARED]
    assert terminal.show(events.OutboxFull(1024)) == [
        "[!] 1,024 messages wait for the connection; no more can be taken."
    ]
    said = [events.MessageReceived("Thea", 0, "Hi", own=own) for own in (True, False)]
    assert terminal.show(*said) == ["- Thea: Hi"]


def test_terminal_sums_up_who_comes_and_goes_above_what_is_shown_next(terminal: LoneView) -> None:
    terminal.view._feed.quiet.mode = "on"
    assert terminal.show(events.MemberJoined("Thea"), events.MemberLost("Thea")) == []
    said = events.MessageReceived("Zoe", 0, "Hi", own=False)
    assert terminal.show(said) == ["- [+] 1 joined, 1 lost: Thea", "- Zoe: Hi"]
    terminal.show(events.MemberJoined("Thea"))
    terminal.type("/quiet")
    assert terminal.shown == [
        "- [+] New person joined the room. Username: Thea",
        transcript.QUIET["on"],
    ]
    terminal.show(events.MemberJoined("Zoe"))
    terminal.view.close()
    assert terminal.shown == ["- [+] New person joined the room. Username: Zoe"]


def test_terminal_remembers_what_was_said(terminal: LoneView) -> None:
    terminal.show(events.MessageReceived("Ira", 0, "mine", own=True))
    terminal.show(events.MessageReceived("Thea", 0, "yours", own=False))
    terminal.type("/last THEA")
    assert terminal.shown[1:] == ['── 1 with "THEA" ──', "- Thea: yours", "── now ──"]


@pytest.mark.parametrize("line", ["EXIT", "/exit", "\x04"])
def test_terminal_that_has_enough_leaves(reactor: Reactor, terminal: LoneView, line: str) -> None:
    terminal.send(line.encode() + b"\n" * (line != "\x04"))
    until(reactor, lambda: terminal.client.noted)
    assert terminal.client.noted == ["leave"]
