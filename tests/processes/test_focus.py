"""A terminal that tells of the focus: nothing of that is text, and what is unread is marked."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.processes.test_editor import Child, started
from tests.support.processes import Piped, Stage
from tests.support.terminals import Window, client_command, window_of

OUT, IN = "\x1b[O", "\x1b[I"
LINE = "editor.before_cursor + '|' + editor.after_cursor"


def type_(child: Child, text: str) -> list[str]:
    """Type a text, let it arrive, and let all of it be read; the lines that were ended."""
    if text:
        os.write(child.person, text.encode())
        child.ask("bool(__import__('select').select([0], [], []))")
    return child.type("")


@pytest.fixture(params=["emacs", "vi"])
def editor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Child]:
    (tmp_path / ".inputrc").write_text(f"set editing-mode {request.param}\n")
    with started(tmp_path) as child:
        yield child


def test_terminal_is_asked_for_the_focus_only_while_it_is_ours(editor: Child) -> None:
    assert b"\x1b[?1004l" in editor.show("pause()")
    assert b"\x1b[?1004h" in editor.show("start()")
    assert b"\x1b[?1004l" in editor.show("stop()")
    assert b"\x1b[?1004h" in editor.show("start()")


@pytest.mark.parametrize("cut", range(4))
@pytest.mark.parametrize("before", ["", "ab", "a\x16", "a\x12", "a\x12b", "\x1b1"], ids=ascii)
def test_report_of_the_focus_changes_nothing(editor: Child, before: str, cut: int) -> None:
    """Behind Ctrl-V, in a search, behind a count; in one piece or in two."""
    type_(editor, before)
    line, shown = editor.ask(LINE), editor.screen.rows()
    for part in (OUT[:cut], OUT[cut:], IN):
        type_(editor, part)
    assert editor.ask("told") == [False, True]
    assert (editor.ask(LINE), editor.screen.rows()) == (line, shown)
    type_(editor, "x")
    assert not {"[", "I", "O"} & set("".join(editor.screen.rows()))


def test_report_of_the_focus_is_no_key_between_two_tabs(editor: Child) -> None:
    for part in ("be\t", OUT, "\t", IN):
        type_(editor, part)
    assert editor.ask(LINE) == "> beta |"
    assert editor.ask("asked") == ["be"]


def test_escape_alone_is_a_key_in_vi_mode_and_no_end_of_a_report_is_text(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text("set editing-mode vi\nset keyseq-timeout 200\n")
    with started(tmp_path) as child:
        type_(child, "abc\x1b")
        assert child.ask("(editor.took_key, editor.release_seconds)") == (False, 0.2)
        child.show("release()[0]")
        assert child.ask("(editor.took_key, editor.release_seconds)") == (True, 0.0)
        type_(child, IN[1:])
        assert child.ask("told") == [True]
        assert type_(child, "xid\r") == ["adb"]


def test_escape_waits_for_its_next_byte_where_it_is_no_key_alone(tmp_path: Path) -> None:
    with started(tmp_path) as child:
        type_(child, "abc\x1b")
        assert child.ask("editor.release_seconds") == 0.0
        for part in ("[", "D", "x\x1b", "bz\x1b"):
            type_(child, part)
        child.ask("editor.erase() and editor.clear()")
        assert type_(child, "new\r") == ["new"]


# -- in front of the whole client


AT_NOON = "12:00"


@pytest.fixture
def ira(stage: Stage) -> tuple[Window, Piped]:
    """Ira's window, in which times look the same, and Boris at a pipe."""
    _, port = stage.server()
    boris = stage.member(port, "Boris", key="sahnawaz")
    command = client_command(port, "Ira", stage.keys("client", "ira"), "--time", AT_NOON)
    window = window_of(stage, command)
    window.await_rows("[+] In the room: Boris, Ira", "> |")
    return window, boris


MARK = f"── {AT_NOON}, unread ──"


def test_where_one_stopped_reading_is_marked_once_until_one_is_back(
    ira: tuple[Window, Piped],
) -> None:
    window, boris = ira

    def look_away(marks: int) -> None:
        """Whether the report or the message is read first is the kernel's choice."""
        window.type(OUT)
        while window.lines().count(MARK) < marks:
            said = window.written.count(b"here?")
            boris.type("here?")
            window.until(partial(has_more, said))
        boris.type("gone")
        window.await_rows(f"{AT_NOON} Boris: here?", f"{AT_NOON} Boris: gone", "> draft|")
        assert window.lines().count(MARK) == marks

    def has_more(said: int) -> bool:
        return window.written.count(b"here?") > said

    window.type("draft")
    window.await_rows("> draft|")
    look_away(1)
    assert window.look("unread").dim
    window.type(IN)
    look_away(2)
    window.type("\r")
    window.await_rows(f"{AT_NOON} Boris: gone", f"{AT_NOON} Ira: draft", "> |")
    boris.type("hello")
    window.await_rows(f"{AT_NOON} Ira: draft", f"{AT_NOON} Boris: hello", "> |")
    window.enter("/quit")
    assert window.end() == 0
    assert window.written.count(b"\x1b[?1004h") == window.written.count(b"\x1b[?1004l") == 1


def test_escape_in_vi_mode_is_a_key_when_nothing_comes_behind_it(stage: Stage) -> None:
    inputrc = "set editing-mode vi\nset show-mode-in-prompt on\nset keyseq-timeout 50\n"
    (stage.home / ".inputrc").write_text(inputrc)
    _, port = stage.server()
    command = client_command(port, "Ira", stage.keys("client", "ira"))
    window = window_of(stage, command)
    window.await_rows("[+] In the room: Ira", "(ins)> |")
    window.type("abc\x1b")
    window.await_rows("(cmd)> ab|c")
    window.type(OUT + IN + "x")
    window.await_rows("(cmd)> a|b")


def test_desktop_is_told_of_a_mention_while_nobody_looks(stage: Stage) -> None:
    _, port = stage.server()
    boris = stage.member(port, "Boris", key="sahnawaz")
    command = client_command(port, "Ira", stage.keys("client", "ira"))
    window = window_of(stage, command, TERM_PROGRAM="WezTerm")
    window.await_rows("[+] In the room: Boris, Ira", "> |")
    window.type(IN + "x")
    window.await_rows("> x|")
    boris.type("Ira, do you see this?")
    window.await_rows("Boris: Ira, do you see this?", "> x|")
    assert b"\x1b]777" not in window.written
    window.type(OUT)

    def is_told() -> bool:
        boris.type("Ira; are you there?")
        return b"\x1b]777;notify;chat: Boris;Ira, are you there?\a" in window.written

    window.until(is_told, "a notification")
