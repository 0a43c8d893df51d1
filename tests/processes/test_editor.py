"""The line editor on its own, in a process whose standard input is a terminal."""

import ast
import contextlib
import os
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT, environment
from tests.support.terminals import TERM, Emulator

COLUMNS, ROWS = 40, 10

PROGRAM = """
import os, sys
from chat.ui.editor import Line, LineEditor

asked = []

def complete(line):
    asked.append(line)
    if "al p" in line:
        return line.index("al p"), ["al pino ", "al primo "]
    begin = line.rfind(" ") + 1
    return begin, [word for word in ("beta ", "alpha ", "alto ") if word.startswith(line[begin:])]

def read():
    data, lines = editor.read()
    return data, [tuple(line) for line in lines]

told = []
editor = LineEditor(complete, lambda pasted: f"typed {pasted}", told.append)
with os.fdopen(int(sys.argv[1])) as expressions:
    for expression in expressions:
        print(repr(eval(expression)), flush=True)
"""


class Child:
    """A process with an editor, and the screen that what it returns makes."""

    def __init__(self, home: Path, **env: str) -> None:
        self.screen = Emulator(COLUMNS, ROWS)
        self.person, self.terminal = os.openpty()
        termios.tcsetwinsize(self.terminal, (ROWS, COLUMNS))
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
        self.settings_before = self.settings()

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

    def write_above(self, text: str) -> None:
        """Let a text be shown above the line."""
        self.show("erase()")
        self._feed(f"{text}\n".encode())
        self.show("draw()")

    def settings(self) -> list[object]:
        return termios.tcgetattr(self.terminal)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        for descriptor in (self.person, self.terminal, self._expressions):
            os.close(descriptor)


def started(home: Path, **env: str) -> contextlib.closing[Child]:
    """A process whose editor has taken the terminal, and which ends with the block."""
    child = Child(home, **env)
    child.ask("editor.prompt('> ')")
    child.show("start()")
    return contextlib.closing(child)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with started(tmp_path) as child:
        yield child


def test_editor_does_nothing_before_its_start(tmp_path: Path) -> None:
    with contextlib.closing(Child(tmp_path)) as child:
        for method in ("erase()", "draw()", "pause()", "stop()"):
            assert child.show(method) == b""
        assert child.ask("editor.visible") is False
        assert child.settings() == child.settings_before


def test_editor_takes_the_terminal_at_its_start(child: Child) -> None:
    assert child.ask("editor.visible") is True
    assert child.screen.rows() == ["> |"]
    assert child.screen.pastes_in_brackets
    assert child.settings() != child.settings_before


@pytest.mark.parametrize("end", ["\r", "\n"])
def test_what_is_typed_stands_in_the_line_and_is_gone_once_it_is_ended(
    child: Child, end: str
) -> None:
    child.write_above("above")
    for text in ("Grüße 日本", "x" * 100):
        assert child.type(text) == []
        assert "".join(child.screen.rows()) == f"above> {text}|"
        assert child.ask("editor.text") == text
        assert child.type(end) == [text]
        assert child.ask("editor.text") == ""
        child.show("erase()")
        assert child.screen.rows() == ["above", "|"]
        child.show("draw()")
        assert child.screen.rows() == ["above", "> |"]


@pytest.mark.parametrize("lefts", [0, 1, 45])
def test_erase_and_draw_are_each_others_opposite(child: Child, lefts: int) -> None:
    for text in ("", "half", "x" * 38, "x" * 39, "x" * 100, "日本語" * 10):
        child.type(text + "\x1b[D" * lefts)
        rows = child.screen.rows()
        child.show("erase()")
        assert child.ask("editor.visible") is False
        assert child.screen.rows() == ["|"]
        assert child.screen.cursor == (0, 0)
        assert child.show("erase()") == b""
        child.screen.feed(b"a message\r\n")
        child.show("draw()")
        assert child.ask("editor.visible") is True
        assert child.screen.rows() == ["a message", *rows]
        child.show("erase()")
        child.ask("editor.clear()")
        child.screen.feed(b"\x1b[H\x1b[2J")
        child.show("draw()")


def test_line_is_measured_anew(child: Child) -> None:
    child.type("x" * 50)
    child.show("erase()")
    child.screen.set_size(30, ROWS)
    termios.tcsetwinsize(child.terminal, (ROWS, 30))
    assert child.ask("editor.measure()") is None
    child.show("draw()")
    assert child.screen.rows() == ["> " + "x" * 28, "x" * 22 + "|"]


def test_new_prompt_stands_there_from_the_next_draw_on(child: Child) -> None:
    child.type("half")
    child.show("erase()")
    child.ask("editor.prompt('(offline) > ')")
    child.show("draw()")
    assert child.screen.rows() == ["(offline) > half|"]
    child.type(" a thought")
    assert child.screen.rows() == ["(offline) > half a thought|"]


def test_clear_empties_the_line_and_ends_whatever_was_begun(child: Child) -> None:
    child.ask("editor.remember('first thing')")
    for begun in ("x" * 100, "\x12fir", "\x1b5", "\x16", "\x18", "\x1b[A"):
        child.type(begun)
        child.show("erase()")
        child.ask("editor.clear()")
        assert child.ask("editor.text") == ""
        child.show("draw()")
        assert child.screen.rows() == ["> |"]
        assert child.type("on\r") == ["on"]


def test_pause_gives_the_terminal_back_and_start_goes_on(child: Child) -> None:
    child.type("half\x1b[D")
    child.show("pause()")
    assert child.screen.rows() == ["|"]
    assert child.settings() == child.settings_before
    assert not child.screen.pastes_in_brackets
    child.show("start()")
    child.show("draw()")
    assert child.screen.rows() == ["> hal|f"]
    assert child.screen.pastes_in_brackets
    assert child.type("!\r") == ["hal!f"]


def test_stop_gives_the_terminal_back_for_good(child: Child) -> None:
    child.type("half")
    child.show("stop()")
    assert child.screen.rows() == ["|"]
    assert child.settings() == child.settings_before
    assert not child.screen.pastes_in_brackets
    assert child.ask("editor.visible") is False
    assert child.show("draw()") == b""
    assert child.show("stop()") == b""


def test_end_of_input_is_seen_in_an_empty_line_only_and_leaves_nothing(child: Child) -> None:
    child.write_above("above")
    assert child.type("x\x04") == []
    assert child.ask("editor.ended") is False
    child.type("\x7f\x04")
    assert child.ask("editor.ended") is True
    child.show("stop()")
    assert child.screen.rows() == ["above", "|"]


def test_what_is_remembered_can_be_called_back(tmp_path: Path) -> None:
    with contextlib.closing(Child(tmp_path)) as child:
        for call in ("remember('one')", "remember('two')", "prompt('> ')"):
            child.ask(f"editor.{call}")
        child.show("start()")
        child.type("half")
        for key, row in [("A", "> two|"), ("A", "> one|"), ("B", "> two|"), ("B", "> half|")]:
            child.type(f"\x1b[{key}")
            assert child.screen.rows() == [row]


def test_completer_is_told_the_line_up_to_the_cursor_and_its_answers_are_cycled(
    child: Child,
) -> None:
    child.type("é al more" + "\x1b[D" * 5 + "\t")
    assert child.ask("asked") == ["é al"]
    assert child.screen.rows() == ["> é alpha | more"]
    for shown in ("alto ", "al", "alpha "):
        child.type("\t")
        assert child.screen.rows() == [f"> é {shown}| more"]


def test_completion_may_begin_before_the_last_word(child: Child) -> None:
    child.type("é al p\t")
    for shown in ("al pino ", "al primo ", "al p", "al pino "):
        assert child.screen.rows() == [f"> é {shown}|"]
        child.type("\t")


def test_completion_that_is_the_only_one_stays_until_another_key(child: Child) -> None:
    for _ in range(3):
        child.type("é b\t\t\t")
        assert child.screen.rows() == ["> é beta |"]
        child.type("x" + BACKSPACE + "\t")
        assert child.screen.rows() == ["> é beta beta |"]
        child.type(KILL)
    assert child.type("\t\r") == ["beta "]


def test_bytes_that_are_no_text_break_nothing(child: Child) -> None:
    os.write(child.person, b"\xff\x80")
    assert child.type("!\r") == ["\udcff\udc80!"]


@pytest.mark.parametrize("locale_name", ["C", "POSIX", "C.UTF-8", "xx_XX.UTF-8"])
def test_characters_stay_whole_in_any_locale(tmp_path: Path, locale_name: str) -> None:
    """The last is installed nowhere."""
    with started(tmp_path, LC_ALL=locale_name) as child:
        for _ in range(2):
            child.type("Grüße 日本" + LEFT + BACKSPACE)
            assert child.screen.rows() == ["> Grüße |本"]
            assert child.type("\r") == ["Grüße 本"]
            child.show("erase()")
            child.show("draw()")


def paste(text: str) -> str:
    return f"\x1b[200~{text}\x1b[201~"


def test_paste_is_one_text_whatever_its_line_ends(child: Child) -> None:
    for end in ("\r", "\n", "\r\n"):
        assert child.type(paste(end.join(["a", "\tb", "", "c", ""]))) == []
        assert child.type("\r") == ["a\n\tb\n\nc\n"]


UP, LEFT, BACKSPACE, KILL, HOME = "\x1b[A", "\x1b[D", "\x7f", "\x15", "\x01"


PASTED = [
    ("/exit", "/exit", False),
    (paste("/exit"), "/exit", True),
    (paste("/exit") + " now", "/exit now", True),
    (paste("/usr x") + BACKSPACE + "y", "/usr y", True),
    ("x" + HOME + paste("/me "), "/me x", True),
    (paste("/a") + paste("/b"), "/a/b", True),
    ("/me " + paste("/exit"), "/me /exit", False),
    (paste("x") + HOME + "/me ", "/me x", False),
    (paste("/exit") + KILL + "/exit", "/exit", False),
    (paste("/exit") + BACKSPACE * 5 + "/quit", "/quit", False),
    (paste("/quit") + UP, "/exit", False),
    (paste("") + "/exit", "/exit", False),
]
"""What is typed, the line that it makes, and whether that begins with a paste."""


def test_line_that_begins_with_a_paste_is_told_from_one_that_was_typed(child: Child) -> None:
    for keys, line, pasted in PASTED:
        assert child.end(keys + "\r") == [(line, pasted)]
        assert child.end("/exit\r") == [("/exit", False)]


def test_paste_is_called_back_as_if_it_had_been_typed(child: Child) -> None:
    child.type(paste("/exit") + "\r")
    assert child.end(UP + "\r") == [("typed /exit", False)]


def test_settings_of_the_person_are_heeded_but_for_those_that_would_wait(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text(
        "set enable-bracketed-paste off\n"
        "set completion-query-items 1\n"
        "set page-completions on\n"
        '"\\C-t": accept-line\n'
        '"\\C-g": "one\\C-mtwo\\C-m"\n'
        "tab: possible-completions\n"
    )
    with started(tmp_path) as child:
        assert child.screen.pastes_in_brackets
        child.type("\t")
        assert child.screen.rows()[-1] == "> |"
        assert "alpha" in "".join(child.screen.rows()[:-1])
        assert child.type("Hi\x14") == ["Hi"]
        assert child.type("\x07") == ["one", "two"]


def test_line_that_is_ended_by_another_command_is_returned(child: Child) -> None:
    # operate-and-get-next, insert-comment
    assert child.type("one\x0f") == ["one"]
    assert child.type("one\x1b#") == ["#one"]


@pytest.mark.parametrize("hide", ["erase()", "clear()"])
def test_key_that_comes_while_the_line_is_hidden_moves_nothing(child: Child, hide: str) -> None:
    """As when the window changes, or Ctrl-C is pressed, right before the key."""
    child.type("x")
    child.show("erase()")
    if hide == "clear()":
        child.ask("editor.clear()")
    kept = "x" if hide == "erase()" else ""
    child.type("y")
    assert child.screen.rows() == [f"> {kept}y|"]
    child.write_above("a message")
    assert child.screen.rows() == ["a message", f"> {kept}y|"]


@pytest.mark.parametrize("mode", ["emacs", "vi"])
@pytest.mark.parametrize("keys", ["\x1b\r", "\x1b\n", "\x16\n"], ids=["M-C-m", "M-C-j", "C-v C-j"])
def test_line_can_be_broken_into_several(tmp_path: Path, keys: str, mode: str) -> None:
    (tmp_path / ".inputrc").write_text(f"set editing-mode {mode}\n")
    with started(tmp_path) as child:
        assert child.type(f"one{keys}two") == []
        assert child.screen.rows() == ["> one", "two|"]
        child.show("erase()")
        assert child.screen.rows() == ["|"]
        child.show("draw()")
        assert child.screen.rows() == ["> one", "two|"]
        assert child.type(f"{LEFT}{keys}\r") == ["one\ntw\no"]
        assert child.type("on\r") == ["on"], "in the same mode"


def test_escape_and_enter_end_a_line_where_the_person_has_them_do_so(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text('"\\e\\C-m": accept-line\n')
    with started(tmp_path) as child:
        assert child.type("one\x1b\r") == ["one"]


def test_escape_and_then_enter_are_two_commands_in_vi_mode(tmp_path: Path) -> None:
    (tmp_path / ".inputrc").write_text("set editing-mode vi\n")
    with started(tmp_path) as child:
        for _ in range(2):
            assert child.type("ne\x1b") == []
            assert child.type("Io\x1b") == []
            assert child.type("\x1b") == []
            assert child.type("\r") == ["one"]
        child.type("one\x1b")
        assert child.type("\x1b\r") == []
        assert child.ask("editor.text") == "on\ne"


@pytest.mark.parametrize(
    ("mode", "keys"), [("emacs", "\x18\x05"), ("vi", "\x18\x05"), ("vi", "\x1bv")]
)
def test_own_editor_is_asked_for(tmp_path: Path, mode: str, keys: str) -> None:
    (tmp_path / ".inputrc").write_text(f"set editing-mode {mode}\n")
    with started(tmp_path) as child:
        child.type("one")
        assert child.ask("editor.wants_editor") is False
        assert child.type(keys) == []
        assert child.ask("editor.wants_editor") is True
        assert child.ask("editor.text") == "one"


def test_text_can_be_put_into_the_line(child: Child) -> None:
    assert child.type(paste("/usr a")) == []
    for text in ("/usr\nb", "x\udcffÄ", ""):
        child.show("erase()")
        child.ask(f"editor.put({text!r})")
        child.show("draw()")
        assert child.ask("editor.text") == text
        if text.startswith("/"):
            assert child.end("!\r") == [("/usr\nb!", True)]
    assert child.type("one\r") == ["one"]


@pytest.mark.parametrize("keys", ["\x1d", "\x1b\x1d", "\x14"], ids=["C-]", "M-C-]", "bound anew"])
def test_search_for_a_key_that_has_no_meaning_ends_nothing(tmp_path: Path, keys: str) -> None:
    (tmp_path / ".inputrc").write_text('"\\C-t": character-search\n')
    with started(tmp_path) as child:
        child.type(f"one{keys}\x1b[999~")
        assert child.type(f"{KILL}on\r") == ["on"]
