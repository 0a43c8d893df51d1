"""The line editor on its own, in a process whose standard input is a terminal."""

import ast
import contextlib
import ctypes
import locale
import os
import readline
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from chat.errors import EditorMissingError
from chat.ui.editor import LineEditor
from tests.support.processes import ROOT, environment
from tests.support.terminals import TERM, Emulator

COLUMNS, ROWS = 40, 10

PROGRAM = """
import os, sys
from chat.ui.editor import Line, LineEditor

asked = []

def complete(line, begin):
    asked.append((line, begin))
    return [word for word in ("beta ", "alpha ", "alto ") if word.startswith(line[begin:])]

def read():
    data, lines = editor.read()
    return data, [tuple(line) for line in lines]

editor = LineEditor(complete, lambda pasted: f"typed {pasted}")
with os.fdopen(int(sys.argv[1])) as expressions:
    for expression in expressions:
        print(repr(eval(expression)), flush=True)
"""


class Child:
    """A process with an editor, and the screen that what it returns makes."""

    def __init__(self, home: Path, columns: int = COLUMNS, **env: str) -> None:
        self.screen = Emulator(columns, ROWS)
        self.person, self.terminal = os.openpty()
        termios.tcsetwinsize(self.terminal, (ROWS, columns))
        expressions, self._expressions = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(expressions)],
            cwd=ROOT,
            env=environment(home, {"TERM": TERM, **env}),
            stdin=self.terminal,
            stdout=subprocess.PIPE,
            pass_fds=[expressions],
            text=True,
        )
        os.close(expressions)

    def ask(self, expression: str) -> object:
        """What an expression is there."""
        os.write(self._expressions, f"{expression}\n".encode())
        assert self._process.stdout is not None
        return ast.literal_eval(self._process.stdout.readline())

    def show(self, expression: str) -> bytes:
        """What a method returns, which is also shown."""
        data = self.ask(f"editor.{expression}")
        assert isinstance(data, bytes)
        self._feed(data)
        return data

    def _feed(self, data: bytes) -> None:
        # As the terminal's driver does with what is written.
        self.screen.feed(data.replace(b"\n", b"\r\n"))

    def type(self, text: str) -> list[str]:
        """Type a text, and let all of it be read; the lines that were ended."""
        return [line for line, _ in self.end(text)]

    def end(self, text: str) -> list[tuple[str, bool]]:
        """As `type`; with each line, whether it begins with what was pasted."""
        os.write(self.person, text.encode())
        lines = []
        while self.ask("__import__('select').select([0], [], [], 0)[0] != []"):
            answer = self.ask("read()")
            assert isinstance(answer, tuple)
            data, ended = answer
            self._feed(data)
            lines += ended
        return lines

    def settings(self) -> list[object]:
        return termios.tcgetattr(self.terminal)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        for descriptor in (self.person, self.terminal, self._expressions):
            os.close(descriptor)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with contextlib.closing(Child(tmp_path)) as child:
        child.ask("editor.prompt('> ')")
        yield child


def test_editor_that_was_not_started_shows_nothing(child: Child) -> None:
    settings = child.settings()
    for method in ("erase()", "draw()", "pause()", "stop()"):
        assert child.show(method) == b""
    assert child.ask("editor.visible") is False
    assert child.settings() == settings


def test_start_takes_the_terminal_and_shows_the_line(child: Child) -> None:
    settings = child.settings()
    child.show("start()")
    assert child.ask("editor.visible") is True
    assert child.screen.rows() == ["> |"]
    assert child.screen.pastes_in_brackets
    assert child.settings() != settings


def test_what_is_typed_stands_in_the_line_and_comes_when_it_is_ended(child: Child) -> None:
    child.show("start()")
    assert child.type("Grüße 日本") == []
    assert child.screen.rows() == ["> Grüße 日本|"]
    assert child.ask("editor.text") == "Grüße 日本"
    assert child.type("\r") == ["Grüße 日本"]
    assert child.ask("editor.text") == ""


@pytest.mark.parametrize("end", ["\r", "\n"])
def test_line_that_was_ended_is_gone_from_the_screen(child: Child, end: str) -> None:
    child.screen.feed(b"above\r\n")
    child.show("start()")
    child.type("x" * 100)
    child.type(end)
    child.show("erase()")
    assert child.screen.rows() == ["above", "|"]
    child.show("draw()")
    assert child.screen.rows() == ["above", "> |"]


@pytest.mark.parametrize("text", ["", "half", "x" * 38, "x" * 39, "x" * 100, "日本語" * 10])
@pytest.mark.parametrize("lefts", [0, 1, 45])
def test_erase_and_draw_are_each_others_opposite(child: Child, text: str, lefts: int) -> None:
    child.show("start()")
    child.type(text + "\x1b[D" * lefts)
    rows = child.screen.rows()
    child.show("erase()")
    assert child.ask("editor.visible") is False
    assert child.screen.rows() == ["|"]
    assert child.screen.cursor == (0, 0)
    child.screen.feed(b"a message\r\n")
    child.show("draw()")
    assert child.ask("editor.visible") is True
    assert child.screen.rows() == ["a message", *rows]


@pytest.mark.parametrize("hide", ["erase()", "clear()"])
def test_key_that_comes_while_the_line_is_hidden_moves_nothing(child: Child, hide: str) -> None:
    """As when the window changes, or Ctrl-C is pressed, right before the key."""
    child.show("start()")
    child.type("x")
    child.show("erase()")
    if hide == "clear()":
        child.ask("editor.clear()")
    kept = "x" if hide == "erase()" else ""
    child.type("y")
    assert child.screen.rows() == [f"> {kept}y|"]
    child.show("erase()")
    child.screen.feed(b"a message\r\n")
    child.show("draw()")
    assert child.screen.rows() == ["a message", f"> {kept}y|"]


def test_erase_of_a_line_that_is_erased_returns_nothing(child: Child) -> None:
    child.show("start()")
    assert child.show("erase()")
    assert child.show("erase()") == b""


def test_line_is_measured_anew(child: Child) -> None:
    child.show("start()")
    child.type("x" * 50)
    child.show("erase()")
    child.screen.set_size(30, ROWS)
    termios.tcsetwinsize(child.terminal, (ROWS, 30))
    assert child.ask("editor.measure()") is None
    child.show("draw()")
    assert child.screen.rows() == ["> " + "x" * 28, "x" * 22 + "|"]


def test_new_prompt_stands_there_from_the_next_draw_on(child: Child) -> None:
    child.show("start()")
    child.type("half")
    child.show("erase()")
    child.ask("editor.prompt('(offline) > ')")
    child.show("draw()")
    assert child.screen.rows() == ["(offline) > half|"]
    child.type(" a thought")
    assert child.screen.rows() == ["(offline) > half a thought|"]


def test_clear_empties_the_line(child: Child) -> None:
    child.show("start()")
    child.type("x" * 100)
    child.show("erase()")
    child.ask("editor.clear()")
    assert child.ask("editor.text") == ""
    child.show("draw()")
    assert child.screen.rows() == ["> |"]
    assert child.type("on\r") == ["on"]


@pytest.mark.parametrize("begun", ["\x12fir", "\x1b5", "\x16", "\x18", "\x1b[A"])
def test_clear_ends_whatever_was_begun(child: Child, begun: str) -> None:
    child.ask("editor.remember('first thing')")
    child.show("start()")
    child.type(begun)
    child.show("erase()")
    child.ask("editor.clear()")
    child.show("draw()")
    assert child.screen.rows() == ["> |"]
    assert child.type("on\r") == ["on"]


def test_pause_gives_the_terminal_back_and_start_goes_on(child: Child) -> None:
    settings = child.settings()
    child.show("start()")
    child.type("half\x1b[D")
    child.show("pause()")
    assert child.screen.rows() == ["|"]
    assert child.settings() == settings
    assert not child.screen.pastes_in_brackets
    child.show("start()")
    assert child.screen.rows() == ["> hal|f"]
    assert child.screen.pastes_in_brackets
    assert child.type("!\r") == ["hal!f"]


def test_stop_gives_the_terminal_back_for_good(child: Child) -> None:
    settings = child.settings()
    child.show("start()")
    child.type("half")
    child.show("stop()")
    assert child.screen.rows() == ["|"]
    assert child.settings() == settings
    assert not child.screen.pastes_in_brackets
    assert child.ask("editor.visible") is False
    assert child.show("draw()") == b""
    assert child.show("stop()") == b""


def test_end_of_input_is_seen_in_an_empty_line_only(child: Child) -> None:
    child.show("start()")
    assert child.type("x\x04") == []
    assert child.ask("editor.ended") is False
    child.type("\x7f\x04")
    assert child.ask("editor.ended") is True


def test_end_of_input_leaves_nothing_on_the_screen(child: Child) -> None:
    child.screen.feed(b"above\r\n")
    child.show("start()")
    child.type("\x04")
    child.show("stop()")
    assert child.screen.rows() == ["above", "|"]


def test_what_is_remembered_can_be_called_back(child: Child) -> None:
    child.ask("editor.remember('one')")
    child.ask("editor.remember('two')")
    child.show("start()")
    child.type("half")
    for key, row in [("A", "> two|"), ("A", "> one|"), ("B", "> two|"), ("B", "> half|")]:
        child.type(f"\x1b[{key}")
        assert child.screen.rows() == [row]


def test_completions_are_cycled_in_the_order_in_which_they_are_given(child: Child) -> None:
    child.show("start()")
    child.type("see a\t")
    assert child.screen.rows() == ["> see alpha |"]
    assert child.ask("asked") == [("see a", 4)]
    child.type("\t")
    assert child.screen.rows() == ["> see alto |"]
    child.type("\t\t")
    assert child.screen.rows() == ["> see alpha |"]


def test_completer_is_told_the_line_up_to_the_cursor(child: Child) -> None:
    child.show("start()")
    child.type("é al more" + "\x1b[D" * 5)
    child.type("\t")
    assert child.ask("asked") == [("é al", 2)]
    assert child.screen.rows() == ["> é alpha | more"]


def test_bytes_that_are_no_text_break_nothing(child: Child) -> None:
    child.show("start()")
    os.write(child.person, b"\xff\x80")
    assert child.type("!\r") == ["\udcff\udc80!"]


@pytest.mark.parametrize("locale_name", ["C", "POSIX", "C.UTF-8", "xx_XX.UTF-8"])
def test_characters_stay_whole_in_any_locale(tmp_path: Path, locale_name: str) -> None:
    """The last is installed nowhere."""
    with contextlib.closing(Child(tmp_path, LC_ALL=locale_name)) as child:
        child.ask("editor.prompt('> ')")
        child.show("start()")
        for _ in range(2):
            child.type("Grüße 日本" + LEFT + BACKSPACE)
            assert child.screen.rows() == ["> Grüße |本"]
            assert child.type("\r") == ["Grüße 本"]
            child.show("erase()")
            child.show("draw()")


def test_paste_is_one_text(child: Child) -> None:
    child.show("start()")
    assert child.type("\x1b[200~one\r\ttwo\r\x1b[201~") == []
    assert child.type("\r") == ["one\n\ttwo\n"]


def paste(text: str) -> str:
    return f"\x1b[200~{text}\x1b[201~"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_line_ends_of_a_paste_are_one_character_each(child: Child, end: str) -> None:
    child.show("start()")
    child.type(paste(end.join(["a", "b", "", "c"])))
    assert child.type("\r") == ["a\nb\n\nc"]


UP, LEFT, BACKSPACE, KILL, HOME = "\x1b[A", "\x1b[D", "\x7f", "\x15", "\x01"


@pytest.mark.parametrize(
    ("keys", "line", "pasted"),
    [
        (paste("/exit"), "/exit", True),
        (paste("/exit") + " now", "/exit now", True),
        (paste("/usr x") + BACKSPACE + "y", "/usr y", True),
        ("x" + HOME + paste("/me "), "/me x", True),
        (paste("/a") + paste("/b"), "/a/b", True),
        ("/me " + paste("/exit"), "/me /exit", False),
        (paste("x") + HOME + "/me ", "/me x", False),
        (paste("/exit") + KILL + "/exit", "/exit", False),
        (paste("/exit") + BACKSPACE * 5 + "/quit", "/quit", False),
        (paste("/quit") + UP, "/called back", False),
        (paste("") + "/exit", "/exit", False),
        ("/exit", "/exit", False),
    ],
)
def test_line_that_begins_with_a_paste_is_told_from_one_that_was_typed(
    child: Child, keys: str, line: str, pasted: bool
) -> None:
    child.ask("editor.remember('/called back')")
    child.show("start()")
    assert child.end(keys + "\r") == [(line, pasted)]
    assert child.end("/exit\r") == [("/exit", False)]


def test_paste_is_called_back_as_if_it_had_been_typed(child: Child) -> None:
    child.show("start()")
    child.type(paste("/exit") + "\r")
    assert child.end(UP + "\r") == [("typed /exit", False)]


def test_settings_of_the_person_are_heeded_but_for_those_that_would_wait(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text(
        "set enable-bracketed-paste off\n"
        "set completion-query-items 1\n"
        "set page-completions on\n"
        '"\\C-t": accept-line\n'
        "tab: possible-completions\n"
    )
    with contextlib.closing(Child(tmp_path)) as child:
        child.ask("editor.prompt('> ')")
        child.show("start()")
        assert child.screen.pastes_in_brackets
        child.type("\t")
        assert child.screen.rows()[-1] == "> |"
        assert "alpha" in "".join(child.screen.rows()[:-1])
        assert child.type("Hi\x14") == ["Hi"]


def test_all_lines_that_one_key_ends_are_returned(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text('"\\C-t": "one\\C-mtwo\\C-m"\n')
    with contextlib.closing(Child(tmp_path)) as child:
        child.show("start()")
        assert child.type("\x14") == ["one", "two"]


@pytest.mark.parametrize("key", ["\x0f", "\x1b#"], ids=["operate-and-get-next", "insert-comment"])
def test_line_that_is_ended_by_another_command_is_returned(child: Child, key: str) -> None:
    child.show("start()")
    lines = child.type(f"one{key}")
    assert [line.lstrip("#") for line in lines] == ["one"]


@pytest.mark.parametrize("keys", ["\x1b\r", "\x1b\n", "\x16\n"], ids=["M-C-m", "M-C-j", "C-v C-j"])
def test_line_can_be_broken_into_several(child: Child, keys: str) -> None:
    child.show("start()")
    assert child.type(f"one{keys}two") == []
    assert child.screen.rows() == ["> one", "two|"]
    child.show("erase()")
    assert child.screen.rows() == ["|"]
    child.show("draw()")
    assert child.screen.rows() == ["> one", "two|"]
    assert child.type(f"{LEFT}{keys}\r") == ["one\ntw\no"]
    assert child.type("on\r") == ["on"], "in the same mode"


def test_person_can_bind_the_keys_for_a_new_line_to_something_else(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text('"\\e\\C-m": accept-line\n')
    with contextlib.closing(Child(tmp_path)) as child:
        child.show("start()")
        assert child.type("one\x1b\r") == ["one"]


def test_vi_mode_ends_a_line_with_escape_and_enter(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text("set editing-mode vi\n")
    with contextlib.closing(Child(tmp_path)) as child:
        child.show("start()")
        assert child.type("one\x1b\r") == ["one"]


@pytest.mark.parametrize("keys", ["\x1d", "\x1b\x1d", "\x14"], ids=["C-]", "M-C-]", "bound anew"])
def test_search_for_a_key_that_has_no_meaning_ends_nothing(tmp_path: Path, keys: str) -> None:
    (tmp_path / ".inputrc").write_text('"\\C-t": character-search\n')
    with contextlib.closing(Child(tmp_path)) as child:
        child.show("start()")
        child.type(f"one{keys}\x1b[999~")
        assert child.type(f"{KILL}on\r") == ["on"]


# -- where there is no such library


def complete_nothing(_line: str, _begin: int) -> list[str]:
    return []


def test_system_without_a_locale_for_utf_8_has_no_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_category: int, _name: str) -> None:
        raise locale.Error("unsupported locale setting")

    monkeypatch.setattr(locale, "nl_langinfo", lambda _item: "ANSI_X3.4-1968")
    monkeypatch.setattr(locale, "setlocale", refuse)
    with pytest.raises(EditorMissingError, match="has no locale for UTF-8"):
        LineEditor(complete_nothing)


def test_libedit_is_not_taken_for_readline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readline, "__doc__", "Importing this module enables ... using libedit.")
    with pytest.raises(EditorMissingError, match="this Python has no GNU readline"):
        LineEditor(complete_nothing)


def test_library_that_is_part_of_the_interpreter_is_not_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(readline, "__file__")
    with pytest.raises(EditorMissingError, match="this Python has no GNU readline"):
        LineEditor(complete_nothing)


def test_library_without_a_function_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _path: SimpleNamespace())
    with pytest.raises(EditorMissingError, match=r"cannot be used .*rl_callback_handler_install"):
        LineEditor(complete_nothing)


def test_library_that_cannot_be_loaded_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> None:
        raise OSError("undefined symbol")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(EditorMissingError, match=r"cannot be used \(undefined symbol\)") as caught:
        LineEditor(complete_nothing)
    assert "gnureadline" in caught.value.hint


def test_gnureadline_is_used_where_python_has_another_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[str] = []
    spare = SimpleNamespace(__file__="/spare.so", __doc__="GNU readline")
    monkeypatch.setitem(sys.modules, "gnureadline", cast(ModuleType, spare))
    monkeypatch.setattr(readline, "__doc__", "using libedit")
    monkeypatch.setenv("TERMINFO_DIRS", "")
    monkeypatch.setattr(ctypes, "CDLL", used.append)
    with pytest.raises(EditorMissingError):
        LineEditor(complete_nothing)
    assert used == ["/spare.so"]
