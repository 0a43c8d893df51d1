"""People at real terminals: what stands on the screen when they type, and when others do.

What commands do, how lines are worded, coloured and wrapped, and what can be completed is tested
without a terminal (`tests/ui`). Here is what needs one: the live rows, the keys, pastes, job
control, the size, signals, and a terminal that is left as it was found.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unicodedata import combining, normalize

import pytest

from chat.limits import MAX_TEXT_BYTES, PASTE_LINES, PENDING_ROWS
from tests.support.processes import (
    CHAT,
    ROOT,
    NameServer,
    Piped,
    Stage,
    await_condition,
    environment,
)
from tests.support.terminals import CURSOR, PLAIN, TITLE, Look, Window, client_command

SPINNER = re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")
DIM = PLAIN._replace(dim=True)
IN = "[+] In the room: Zoe, Max, Ira"
KEPT = "[+] What you were typing is kept: the up key brings it back."
LEAVE_HINT = "[+] Ctrl-C once more leaves, and so does Ctrl-D."


class House:
    """A server, and two at pipes who are always there: Zoe and Max."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.server, self.port = stage.server("--grace", "0.1")
        self.zoe = stage.member(self.port, "Zoe", "--time", "", key="other")
        self.max = stage.member(self.port, "Max", "--time", "", key="sahnawaz")
        self._parties = 0

    def sweep(self) -> None:
        """Wait until nobody else is in, and nothing that was said is to be expected any more."""
        self.server.signal(signal.SIGCONT)

        def is_empty() -> bool:
            shown = len(self.server.out)
            self.server.type("WHO", "HELP")
            self.server.expect("show this\n")
            return "[+] In the room: 2\n" in self.server.out[shown:]

        await_condition(is_empty)
        self._parties += 1
        self.server.type(f"SAY party {self._parties} is over")
        for guest in (self.zoe, self.max):
            guest.expect(f"party {self._parties} is over\n")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Stage(tmp_path_factory.mktemp("house")) as stage:
        yield House(stage)


class Desk:
    """Where a person sits: a home, and windows, which all end when the test does."""

    port: int
    """The server's."""

    def __init__(self, stage: Stage, home: Path) -> None:
        self.stage = stage
        self.home = home
        self.history = home / ".local/state/chat/history"
        self._windows: list[Window] = []

    def window(self, command: list[str], columns: int = 80, rows: int = 24, **env: str) -> Window:
        window = Window(command, environment(self.home, env), columns, rows)
        self._windows.append(window)
        return window

    def shell(self) -> "Shell":
        return Shell(self.window([shutil.which("dash") or "sh", "-i"], 80, 40, PS1="$ ", ENV=""))

    def command(self, port: int, *arguments: str, name: str = "Ira") -> list[str]:
        return client_command(port, name, self.stage.keys("client", "ira"), *arguments)

    def changed(self, change: str) -> list[str]:
        """Ira's client, in which something is otherwise."""
        script = self.home / "changed.py"
        main = "import sys, chat.__main__\nsys.exit(chat.__main__.main())\n"
        script.write_text(f"{change}\n{main}")
        arguments = self.command(self.port)[len(CHAT) :]
        return ["env", f"PYTHONPATH={ROOT}", sys.executable, str(script), *arguments]

    def close(self) -> None:
        for window in self._windows:
            window.kill()


class Room(Desk):
    """A desk in the house."""

    def __init__(self, house: House, home: Path) -> None:
        super().__init__(house.stage, home)
        self.port = house.port
        self.server, self.zoe, self.max = house.server, house.zoe, house.max
        # Ira knows nobody yet, and ignores nobody.
        Path(house.stage.keys("client", "ira")[1], "known_members").unlink(missing_ok=True)

    def start(self, *arguments: str, columns: int = 80, rows: int = 24, **env: str) -> Window:
        return self.window(self.command(self.port, *arguments), columns, rows, **env)

    def ira(self, *arguments: str, columns: int = 80, rows: int = 24, **env: str) -> Window:
        """Ira's window, when she is in."""
        window = self.start(*arguments, columns=columns, rows=rows, **env)
        window.await_rows(IN, "> |")
        return window


class Shell:
    """A shell that lets the terminal be as programs leave it, unlike bash."""

    def __init__(self, window: Window) -> None:
        window.await_rows("$ |")
        self.window = window
        self._settings = window.settings()

    def run(self, command: list[str], end: str = "; echo status $?") -> Window:
        """Let it start a command, by a short name, so that it takes one row."""
        line = shlex.join(command)
        # What the shell itself echoes is not what tests are about.
        script = ["stty -echo", f"go() {{ exec {line}\n}}", "stty echo; clear", ""]
        self.window.type("\n".join(script))
        self.window.until(lambda: self.window.rows() == ["$ |"] and self.window.cursor == (2, 0))
        self.window.enter(f"(go){end}")
        return self.window

    def assert_terminal_is_as_it_was(self) -> None:
        assert self.window.settings() == self._settings
        assert not self.window.pastes_in_brackets
        assert not any(row.startswith(">") for row in self.window.lines())


@pytest.fixture
def room(house: House, tmp_path: Path) -> Iterator[Room]:
    with contextlib.closing(Room(house, tmp_path)) as room:
        yield room
    house.sweep()


@pytest.fixture
def desk(stage: Stage) -> Iterator[Desk]:
    with contextlib.closing(Desk(stage, stage.home)) as desk:
        yield desk


@contextlib.contextmanager
def frozen(server: Piped) -> Iterator[None]:
    """While the server does nothing, nothing is acknowledged."""
    server.freeze()
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


# -- typing while others talk


def leave(window: Window) -> None:
    window.enter("EXIT")
    assert window.end() == 0


def say(window: Window, *texts: str) -> None:
    """Let Ira say these, and wait until all stand there."""
    window.enter(*texts)
    window.await_rows(*(f"Ira: {text}" for text in texts), "> |")


def has_shown(window: Window, text: str) -> bool:
    """Whether the text stands on the screen, or in the scrollback, in however many rows."""
    return text in "".join([*window.scrolled, *window.lines()])


def typed_rows(text: str, columns: int, lefts: int = 0) -> list[str]:
    """The rows of a line behind its prompt, with the cursor so many characters before its end."""
    rows, used = [""], 0
    cursor = len(text) + 2 - lefts
    for at, char in enumerate([*"> ", *text, ""]):
        width = 2 if char >= "\u2e80" else len(char)
        # Where a row is full, the cursor waits at the start of the next.
        if used + max(width, at == cursor) > columns:
            rows, used = [*rows, ""], 0
        rows[-1] += CURSOR * (at == cursor) + char
        used += width
    return rows


ALPHABET = "".join(chr(ord("a") + at % 26) for at in range(150))


@pytest.mark.parametrize("columns", [40, 41])
def test_message_stands_above_the_line_wherever_it_ends_and_the_cursor_is(
    room: Room, columns: int
) -> None:
    ira = room.ira(columns=columns)
    lines = [
        *[("half a thought", 0), ("hello world", 5), ("e\u0301te\u0301", 1)],
        *[("x" * length, 0) for length in (36, 37, 38, 39, 76, 77, 78, 79)],
        *[(ALPHABET[:100], 0), (ALPHABET[:100], 100), ("日本語" * 10, 0), ("日本語" * 10, 4)],
    ]
    for number, (text, lefts) in enumerate(lines):
        composed = normalize("NFC", text)
        ira.type(text)
        ira.key(*["Left"] * lefts)
        room.zoe.type(f"this is {number}")
        ira.await_rows(f"Zoe: this is {number}", *typed_rows(composed, columns, lefts))
        ira.type("yz")
        room.zoe.type("Ho")
        at = len(composed) - lefts
        more = f"{composed[:at]}yz{composed[at:]}"
        ira.await_rows("Zoe: Ho", *typed_rows(more, columns, lefts))
        ira.key("Enter")
        marks = sum(map(bool, map(combining, text[: len(text) - lefts])))
        at += marks
        room.zoe.expect(f"Ira: {text[:at]}yz{text[at:]}\n")
        ira.await_rows("> |")


def test_whoever_comes_is_named_in_a_narrow_window_too(room: Room) -> None:
    ira = room.ira("--time", "", columns=40)
    ben = room.stage.member(room.port, "Ben", key="server")
    ira.await_rows("[+] New person joined the room.", "    Username: Ben", "> |")
    ben.type("EXIT")
    ira.await_rows("[+] 1 joined, 1 left: Ben", "> |")
    ira.type("Hi")
    ira.key("Enter")
    ira.await_rows("[+] 1 joined, 1 left: Ben", "Ira: Hi", "> |")


def test_line_longer_than_the_screen_can_be_sent_and_messages_stand_above_it(room: Room) -> None:
    ira = room.start(columns=20, rows=5)
    ira.await_rows("    Zoe, Max, Ira", "> |")
    ira.type(ALPHABET)
    room.zoe.type("Hi")
    shown = ["> [150 characters]", ALPHABET[100:120], ALPHABET[120:140], ALPHABET[140:] + CURSOR]
    ira.await_rows("Zoe: Hi", *shown)
    ira.key("Enter")
    room.zoe.expect(f"Ira: {ALPHABET}\n")
    # The terminal breaks so long a word where it likes.
    *rows, last = [f"Ira: {ALPHABET}"[at : at + 20] for at in range(0, 155, 20)]
    ira.await_rows(*rows[-3:], last, "> |")
    assert [*ira.scrolled, *ira.lines()].count("Zoe: Hi") == 1


@pytest.mark.parametrize(("columns", "rows"), [(40, 8), (10, 3)])
def test_tall_draft_leaves_no_copies_when_messages_come(
    room: Room, columns: int, rows: int
) -> None:
    ira = room.start(columns=columns, rows=rows)
    ira.await_rows("> |")
    draft = "".join(f"<{number:03}>" for number in range(96))
    ira.type(draft)
    ira.until(lambda: "<095>" in "".join(ira.rows()) and ira.rows()[-1].endswith("|"))
    for number in range(10):
        room.zoe.type(f"Hi {number}")
        ira.until(partial(has_shown, ira, f"Hi {number}"))
    ira.until(lambda: "<095>" in "".join(ira.rows()))
    assert not any("<" in row for row in ira.scrolled)
    ira.key("C-a")
    ira.until(lambda: "<095>" not in "".join(ira.rows()) and "|<000>" in "".join(ira.rows()))
    ira.key("C-e", "C-u")
    ira.until(lambda: ira.rows()[-1] == "> |")
    assert not any("<" in row for row in [*ira.scrolled, *ira.lines()])


def test_long_paste_is_shown_in_part_around_the_cursor(room: Room) -> None:
    ira = room.ira()
    lines = [f"line {number}" for number in range(200)]
    ira.paste("\n".join(lines))
    ira.await_rows(IN, "> [200 lines]", *lines[-11:-1], f"{lines[-1]}|")
    ira.key("C-a")
    ira.await_rows("> [200 lines]", f"|{lines[0]}", *lines[1:11])
    ira.key("Enter")
    ira.await_rows("Send these 200 lines as one message? Type y or n, and Enter: |")
    with frozen(room.server):
        ira.enter("y")
        ira.paste("\n".join(lines))
        under_way = ("... " + "\\n".join(lines))[:78] + "…"
        ira.await_rows(under_way, "> [200 lines]", *lines[-11:-1], f"{lines[-1]}|")


def test_line_taller_than_the_screen_leaves_a_prompt_when_it_is_gone(room: Room) -> None:
    ira = room.ira(columns=40, rows=12)
    ira.enter("/clear all")
    ira.until(lambda: ira.rows() == ["> |"])
    tall = [str(number) for number in range(1, 16)]
    ira.paste("\n".join(tall))
    ira.await_rows("15|")
    ira.key("C-u")
    ira.until(lambda: ira.rows() == ["> |"])
    ira.paste("\n".join(tall))
    ira.key("Enter")
    ira.await_rows("    15", "> |")
    ira.key("Up")
    ira.await_rows("15|")
    ira.key("Up")
    ira.await_rows("> /clear all|")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> /clear all|")


def test_many_messages_while_one_types_cost_no_character(room: Room) -> None:
    ira = room.ira(rows=120)
    said = [f"message {number}" for number in range(60)]
    text = "the quick brown fox jumps over the lazy dog 123"
    for number, message in enumerate(said):
        room.zoe.type(message)
        ira.type(text[number : number + 1])
    ira.await_rows(IN, *(f"Zoe: {one}" for one in said), f"> {text}|")
    ira.key("Enter")
    room.zoe.expect(f"Ira: {text}\n")


def test_search_and_completion_go_on_below_a_message(room: Room) -> None:
    ira = room.ira()
    say(ira, "first thing", "second thing")
    ira.key("C-r")
    ira.type("fir")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "(reverse-i-search)`fir': |first thing")
    ira.type("s")
    ira.await_rows("Zoe: Hi", "(reverse-i-search)`firs': |first thing")
    ira.key("Enter")
    ira.await_rows("Zoe: Hi", "Ira: first thing", "> |")
    ira.key("Tab")
    ira.await_rows("> Zoe: |")
    room.max.type("Ho")
    ira.await_rows("Max: Ho", "> Zoe: |")
    ira.key("Tab")
    ira.await_rows("Max: Ho", "> Max: |")
    ira.key("C-u")
    ira.type("/wib")
    ira.key("Tab")
    ira.type("ble")
    ira.await_rows("Max: Ho", "> /wibble|")
    ira.key("C-u")
    ira.type("/\x1b?")
    ira.await_screen("/security")
    room.zoe.type("Hi again")
    ira.await_rows("Zoe: Hi again", "> /|")
    assert any("/security" in line for line in ira.lines())


# -- the window changes


def resize(window: Window, columns: int, rows: int) -> None:
    """Give a window another size, and wait until the client has heard of it."""
    written = len(window.written)
    window.resize(columns, rows)
    window.until(lambda: len(window.written) > written)


def test_after_a_resize_typing_goes_on_and_messages_are_wrapped_anew(room: Room) -> None:
    ira = room.ira()
    words = "one two three four five six seven eight nine"
    ira.type("half a ")
    room.zoe.type(words)
    ira.await_rows(f"Zoe: {words}", "> half a |")
    resize(ira, 30, 24)
    ira.type("thought and another one")
    room.zoe.type(words)
    shown = "Zoe: one two three four five", "    six seven eight nine"
    ira.await_rows(*shown, "> half a thought and another o", "ne|")
    resize(ira, 100, 24)
    room.zoe.type(words)
    ira.await_rows(f"Zoe: {words}", "> half a thought and another one|")
    ira.key("Enter")
    room.zoe.expect("Ira: half a thought and another one\n")


def test_line_stays_whole_in_a_window_of_any_size(room: Room) -> None:
    ira = room.ira(columns=40)
    ira.type(ALPHABET[:90])
    for columns, rows in ((40, 24), (70, 24), (70, 4), (60, 24)):
        ira.resize(columns, rows)
        ira.await_rows(*typed_rows(ALPHABET[:90], columns))
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", *typed_rows(ALPHABET[:90], 60))
    ira.key("C-u")
    ira.await_rows("Zoe: Hi", "> |")
    ira.resize(1, 24)
    room.zoe.type("Hi")
    ira.type("x")
    ira.resize(60, 24)
    ira.type("yz")
    ira.await_rows("> xyz|")
    room.zoe.type("Ho")
    ira.await_rows("Zoe: Ho", "> xyz|")


# -- job control


def test_suspended_client_gives_the_terminal_back_and_comes_back_with_its_line(room: Room) -> None:
    shell = room.shell()
    ira = shell.run(room.command(room.port), end="")
    ira.await_rows(IN, "> |")
    assert ira.pastes_in_brackets
    room.zoe.type("Ira")
    ira.await_rows("Zoe: Ira", "> |")
    assert ira.title == "(1) chat: Ira"
    ira.type("half")
    ira.await_rows("> half|")
    for number in range(3):
        ira.key("C-z")
        ira.await_rows("$ |")
        shell.assert_terminal_is_as_it_was()
        assert ira.title == TITLE
        room.zoe.type("Hello Ira", f"where are you? {number}")
        room.max.expect(f"Zoe: where are you? {number}\n")
        ira.enter("fg")
        ira.await_rows("Zoe: Hello Ira", f"Zoe: where are you? {number}", "> half|")
        assert ira.pastes_in_brackets
    ira.enter(" a thought")
    room.zoe.expect("Ira: half a thought\n")
    ira.await_rows("Zoe: where are you? 2", "Ira: half a thought", "> |")


@pytest.mark.parametrize("late", ["it sees that", "it has just looked", "it is told to go on"])
def test_client_whose_parent_is_stopped_before_it_comes_back_with_its_line(
    room: Room, late: str
) -> None:
    """As with `make client`: the shell has taken the terminal before the client gives it back, or
    right after the client has looked; or has given it back before the client does anything."""
    command = room.changed(
        "import os, signal, chat.ui.terminal as terminal\n"
        "suspend, is_in_background = terminal.Terminal._suspend, terminal.is_in_background\n"
        "def look(source):\n"
        "    terminal.is_in_background = is_in_background\n"
        "    os.write(1, b'too late')\n"
        f"    return {late == 'it sees that'}\n"
        "def wait(self):\n"
        "    terminal.Terminal._suspend = suspend\n"
        "    while not is_in_background(0):\n"
        # Fails where the terminal is gone.
        "        os.tcgetpgrp(0)\n"
        f"    if {late == 'it is told to go on'}:\n"
        "        os.write(1, b'too late')\n"
        "        while not self._reactor.has_arrived(signal.SIGCONT):\n"
        "            os.tcgetpgrp(0)\n"
        "    else:\n"
        "        terminal.is_in_background = look\n"
        "    suspend(self)\n"
        "terminal.Terminal._suspend = wait\n"
    )
    ira = room.shell().run(["sh", "-c", f"{shlex.join(command)}; true"], end="")
    ira.await_rows(IN, "> |")
    ira.type("half")
    ira.await_rows("> half|")
    ira.key("C-z")
    ira.await_screen("too late")
    room.zoe.type("Hello Ira")
    room.max.expect("Zoe: Hello Ira\n")
    # Nobody could give the terminal back, where Enter is another character.
    ira.type("fg\n")
    ira.await_rows("Zoe: Hello Ira", "> half|")
    ira.enter(" a thought")
    room.zoe.expect("Ira: half a thought\n")


def test_client_that_was_stopped_from_outside_comes_back_with_its_line(room: Room) -> None:
    ira = room.shell().run(room.command(room.port), end="")
    ira.await_rows(IN, "> |")
    ira.type("x" * 200)
    ira.await_rows(*typed_rows("x" * 200, 80))
    ira.signal_foreground(signal.SIGSTOP)
    ira.await_screen("Stopped")
    room.zoe.type("Hello Ira")
    room.max.expect("Zoe: Hello Ira\n")
    # Nobody could give the terminal back, where Enter is another character.
    ira.type("echo of the shell\n")
    ira.await_screen("of the shell")
    ira.type("fg\n")
    ira.await_rows("Zoe: Hello Ira", *typed_rows("x" * 200, 80))
    assert "of the shell" in "\n".join(ira.lines())
    ira.key("Enter")
    room.zoe.expect(f"Ira: {'x' * 200}\n")


def test_client_in_the_background_shows_and_leaves_the_terminal_alone(room: Room) -> None:
    shell = room.shell()
    ira = shell.run(room.command(room.port), end=" &")
    ira.await_screen(IN)
    room.zoe.type("Hello Ira")
    ira.await_screen("Zoe: Hello Ira")
    shell.assert_terminal_is_as_it_was()
    ira.enter("fg")
    ira.await_rows("> |")
    say(ira, "Here I am")
    ira.type("half")
    # A terminal throws away what was typed right before Ctrl-Z and is not yet read.
    ira.await_rows("> half|")
    ira.key("C-z")
    ira.await_rows("$ |")
    shell.assert_terminal_is_as_it_was()
    ira.enter("bg")
    room.zoe.type("And now?")
    ira.await_screen("Zoe: And now?")
    ira.enter("fg")
    ira.await_rows("> half|")


def test_client_brought_forward_before_it_looks_waits_for_no_key(room: Room) -> None:
    """What the shell reads wakes the client in the background, too. The client looks late."""
    command = room.changed(
        "import os, chat.ui.terminal as terminal\n"
        "def late(self, _step):\n"
        "    os.write(1, b'woken')\n"
        "    while terminal.is_in_background(0):\n"
        # Fails where the terminal is gone.
        "        os.tcgetpgrp(0)\n"
        "    self._on_readable()\n"
        "terminal.Terminal._look_again_with = late\n"
    )
    ira = room.shell().run(command, end="")
    ira.await_rows(IN, "> |")
    ira.type("half")
    ira.await_rows("> half|")
    ira.key("C-z")
    ira.await_rows("$ |")
    ira.enter("bg")
    ira.await_screen("woken")
    ira.enter("fg")
    room.zoe.type("Still there?")
    ira.await_screen("Zoe: Still there?")
    ira.await_rows("> half|")


# -- everything as it was found


def interrupt_until_it_ends(window: Window) -> None:
    """The second Ctrl-C has to come soon after the first. Where the machine is so busy that it does
    not, it is the first one once more, and says so."""
    while is_interrupted_and_goes_on(window):
        pass


def is_interrupted_and_goes_on(window: Window) -> bool:
    hint = b"Ctrl-C once more "
    before = window.written.count(hint)

    def is_answered() -> bool:
        return window.written.count(hint) > before or window.rows()[-1:] == ["$ |"]

    window.key("C-c")
    # It ends, unless a shell has started it, which then asks for the next command.
    with contextlib.suppress(AssertionError):
        window.until(is_answered, "an answer")
    return window.written.count(hint) > before


def terminate(window: Window) -> None:
    window.type("x" * 200)
    window.await_rows(*typed_rows("x" * 200, 80))
    window.signal_foreground(signal.SIGTERM)


WAYS_TO_LEAVE: dict[str, Callable[[Window], None]] = {
    "EXIT": lambda window: window.enter("EXIT"),
    "Ctrl-D": lambda window: window.key("C-d"),
    "Ctrl-C twice": interrupt_until_it_ends,
    "Ctrl-backslash": lambda window: window.key("C-\\"),
    "a signal and half a line": terminate,
}


def test_leaving_leaves_the_terminal_as_it_was_found(room: Room) -> None:
    shell = room.shell()
    for leave_somehow in WAYS_TO_LEAVE.values():
        ira = shell.run(room.command(room.port))
        ira.await_rows(IN, "> |")
        leave_somehow(ira)
        ira.await_rows("status 0", "$ |")
        shell.assert_terminal_is_as_it_was()
        assert ira.lines()[-3] in (IN, LEAVE_HINT, KEPT)
        room.zoe.expect("[+] Ira left the server.\n")
    assert room.history.read_text().splitlines() == ["EXIT", "x" * 200]


def test_client_that_is_put_out_or_fails_leaves_the_terminal_as_it_was_found(room: Room) -> None:
    shell = room.shell()
    ira = shell.run(room.command(room.port, name="zoe"))
    ira.await_screen("chat: error: the name zoe is taken: it has been in use for")
    ira.await_rows("status 3", "$ |")
    shell.assert_terminal_is_as_it_was()
    shell.run(room.command(room.port))
    ira.await_rows(IN, "> |")
    ira.type("half a thought")
    ira.await_rows("> half a thought|")
    room.server.type("KICK Ira")
    put_out = "chat: error: put out by the server's operator"
    ira.await_rows(IN, KEPT, put_out, "status 3", "$ |")
    shell.assert_terminal_is_as_it_was()
    shell.run(
        room.changed(
            "import chat.client.client\n"
            "def members(self):\n"
            "    raise RuntimeError('something unforeseen')\n"
            "chat.client.client.Client.members = members\n"
        )
    )
    ira.await_rows(IN, "> |")
    ira.enter("/who")
    ira.await_rows("RuntimeError: something unforeseen", "status 1", "$ |")
    shell.assert_terminal_is_as_it_was()


def test_client_whose_window_is_closed_ends(room: Room) -> None:
    ira = room.ira()
    ira.type("half a thought")
    ira.await_rows("> half a thought|")
    ira.close()
    room.zoe.expect("[+] Ira left the server.\n")


# -- history


def test_what_was_typed_and_pasted_is_there_in_the_next_run(room: Room) -> None:
    ira = room.ira()
    say(ira, "first thing", " secret thing")
    ira.paste("one\ntwo \\n", "Enter")
    ira.await_rows("Ira: one", "    two \\n", "> |")
    ira.key("Up", "Up")
    ira.await_rows(">  secret thing|")
    ira.key("C-u")
    leave(ira)
    assert "secret" not in room.history.read_text()
    assert stat.S_IMODE(room.history.stat().st_mode) == 0o600
    again = room.ira()
    for rows in (["> EXIT|"], ["> one", "two \\n|"], ["> first thing|"], ["> first thing|"]):
        again.key("Up")
        again.await_rows(IN, *rows)
    again.key("Enter")
    again.await_rows("Ira: first thing", "> |")


def test_without_history_nothing_is_kept(room: Room) -> None:
    ira = room.ira("--no-history")
    say(ira, "first thing")
    ira.key("Up")
    ira.await_rows("> first thing|")
    ira.key("C-u", "C-d")
    assert ira.end() == 0
    assert not room.history.parent.exists()


def test_history_that_cannot_be_kept_is_said_once(room: Room) -> None:
    (room.home / ".local").write_text("this is no folder")
    ira = room.ira(columns=200)
    say(ira, "first thing", "second thing")
    said = [line for line in ira.lines() if "not kept" in line]
    assert len(said) == 1
    assert said[0].startswith(f"[!] What you type is not kept: {room.home / '.local'}")
    assert said[0].endswith(": Not a directory.")
    ira.key("Up")
    ira.await_rows("> second thing|")


# -- pasting


def test_paste_is_one_message_and_no_command(room: Room) -> None:
    ira = room.ira("--no-history")
    ira.paste("one\n  two\nthree")
    ira.await_rows("> one", "  two", "three|")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> one", "  two", "three|")
    ira.key("Enter")
    ira.await_rows("Zoe: Hi", "Ira: one", "      two", "    three", "> |")
    room.zoe.expect("Ira: one\n      two\n    three\n")
    ira.type("see: ")
    ira.paste("rm -rf /\n")
    ira.type("!")
    ira.await_rows("> see: rm -rf /", "!|")
    ira.key("C-u", "C-u")
    ira.key("Backspace")
    ira.key("C-u")
    ira.paste("z\tz\x04", "Enter")
    room.zoe.expect("Ira: z\tz\\x04\n")
    for text in ("/exit", "// code", "EXIT"):
        ira.paste(text)
        ira.await_rows(f"> {text}|")
        ira.key("Enter")
        room.zoe.expect(f"Ira: {text}\n")
        # Called back, it is not obeyed either; what cannot be typed is not called back.
        ira.key("Up", "Enter")
        room.zoe.expect("Ira: // code\n" if text == "EXIT" else f"Ira: {text}\n")
    ira.enter("/exit")
    assert ira.end() == 0


def test_text_that_is_too_long_is_sent_in_parts_or_called_back(room: Room) -> None:
    ira = room.ira(columns=200)
    text = "x\n" * (MAX_TEXT_BYTES // 2)
    ira.paste(text + "yz", "Enter")
    asked = (
        f"This has {MAX_TEXT_BYTES + 2:,} bytes, and a message has at most {MAX_TEXT_BYTES:,}. "
        "Send it in 2 parts? Type y or n, and Enter: |"
    )
    ira.await_rows(asked)
    ira.enter("n")
    ira.await_rows("[+] Not sent. The up key brings it back.", "> |")
    ira.key("Up", "Enter")
    ira.await_rows(asked)
    ira.enter("y")
    ira.await_rows("Ira: yz", "> |")
    room.zoe.expect("    x\n" * (MAX_TEXT_BYTES // 2 - 1) + "Ira: yz\n")
    ira.key("Up", "Backspace", "Backspace", "Enter")
    ira.enter("y")
    room.zoe.expect("    x\n" * (MAX_TEXT_BYTES // 2 - 1))


def test_parts_for_which_there_is_no_room_are_called_back(room: Room) -> None:
    small = "import chat.client.outbox\nchat.client.outbox.OUTBOX_BYTES = 30_000\n"
    ira = room.window(room.changed(small))
    ira.await_rows(IN, "> |")
    lines = [str(number) * 80 for number in range(200)]
    with frozen(room.server):
        ira.paste("\n".join(lines), "Enter")
        ira.await_screen("Type y or n")
        ira.enter("y")
        ira.await_screen("[+] The last part was not sent. The up key brings that back.")
        ira.key("Up")
        ira.until(lambda: f"{lines[-1][-40:]}|" in "".join(ira.rows()))
    ira.until(lambda: not any(row.startswith("... ") for row in ira.lines()))
    ira.key("Enter")
    ira.enter("y")
    room.max.expect(f"    {lines[-1]}\n")


LONG_PASTE = ["/quit", *(f"line {number}" for number in range(PASTE_LINES))]
ASKED = [f"Send these {len(LONG_PASTE)} lines as one message?", "    Type y or n, and Enter: |"]
"""The question about it, in a narrow window."""


def ask_for_a_long_paste(window: Window, *asked: str) -> None:
    window.enter("/clear all")
    window.until(lambda: window.rows() == ["> |"])
    window.paste("\n".join(LONG_PASTE), "Enter")
    window.await_rows(*(asked or ASKED))


def test_long_paste_is_sent_when_that_is_meant(room: Room) -> None:
    ira = room.ira(columns=40, rows=60)
    shown = [f"Ira: {LONG_PASTE[0]}", *(f"    {line}" for line in LONG_PASTE[1:])]
    for answer in ("y", " YES "):
        ask_for_a_long_paste(ira)
        room.zoe.type("Hi")
        ira.await_rows("Zoe: Hi", *ASKED)
        ira.enter(answer)
        ira.await_rows("Zoe: Hi", *shown, "> |")
        room.zoe.expect("\n".join(shown) + "\n")
    ira.paste("\n".join(LONG_PASTE[1:]), "Enter")
    ira.await_rows(*shown, f"Ira: {LONG_PASTE[1]}", *shown[2:], "> |")


def test_long_paste_is_not_sent_when_that_is_not_meant(room: Room) -> None:
    ira = room.ira(columns=40, rows=60)
    for answer in ("n", " NO "):
        ask_for_a_long_paste(ira)
        ira.enter(answer)
        ira.await_rows("[+] Not sent. The up key brings it back.", "> |")
    ask_for_a_long_paste(ira)
    ira.key("C-c")
    ira.until(lambda: ira.rows() == ["> |"])
    ira.key("Up")
    # As it would have to be typed to be said.
    ira.await_rows(f"> /{LONG_PASTE[0]}", *LONG_PASTE[1:-1], f"{LONG_PASTE[-1]}|")


def test_question_about_a_long_paste_is_asked_until_it_is_answered(room: Room) -> None:
    ira = room.ira(rows=60)
    again = "[!] Please answer y or n. Ctrl-C cancels."
    asked = f"Send these {len(LONG_PASTE)} lines as one message? Type y or n, and Enter: "
    ask_for_a_long_paste(ira, f"{asked}|")
    for answer in ("", "EXIT", "wait what"):
        ira.enter(answer)
    ira.await_rows(again, again, again, f"{asked}|")
    ira.paste("one\ntwo")
    ira.await_rows(f"{asked}one", "two|")
    ira.key("Enter")
    ira.await_rows(again, again, f"{asked}|")
    ira.enter("n")
    ira.await_rows("[+] Not sent. The up key brings it back.", "> |")
    ira.key("Up")
    ira.await_rows("> one", "two|")
    ira.key("Up")
    ira.await_rows("> wait what|")


def test_paste_whose_end_is_slow_in_coming_holds_up_nothing(room: Room) -> None:
    ira = room.ira()
    ira.type("\x1b[200~half\rof ")
    room.zoe.type("Hello Ira")
    ira.await_rows("Zoe: Hello Ira", "> |")
    ira.type("it\x1b[201~")
    ira.await_rows("> half", "of it|")
    ira.key("Enter")
    ira.await_rows("Ira: half", "    of it", "> |")
    ira.type("\x1b[200~never ends")
    ira.key("C-c")
    ira.await_rows(LEAVE_HINT, "> |")
    interrupt_until_it_ends(ira)
    assert ira.end() == 0


# -- keys


def test_interrupt_clears_what_was_begun_and_a_second_one_leaves(room: Room) -> None:
    ira = room.ira()
    # With typing between them they do not leave.
    for text in ("one", "two", "three"):
        ira.type(text)
        ira.await_rows(f"> {text}|")
        ira.key("C-c")
        ira.await_rows(IN, "> |")
    ira.type("x")
    ira.await_rows("> x|")
    ira.key("Backspace", "C-c")
    ira.await_rows(LEAVE_HINT, "> |")
    interrupt_until_it_ends(ira)
    assert ira.end() == 0
    room.zoe.expect("[+] Ira left the server.\n")


def test_interrupt_that_takes_away_what_was_typed_holds_up_nothing(room: Room) -> None:
    """A terminal throws away what was typed before Ctrl-C and is not yet read: here, what the loop
    has just been told of."""
    command = room.changed(
        "import os\n"
        "import chat.ui.editor, chat.reactor\n"
        "interrupts = []\n"
        "read = chat.ui.editor.LineEditor.read\n"
        "def read_late(self):\n"
        "    os.write(1, b'about to read')\n"
        "    while not interrupts:\n"
        "        pass\n"
        "    return read(self)\n"
        "chat.ui.editor.LineEditor.read = read_late\n"
        "chat.reactor.Reactor._note = lambda self, *signal: interrupts.append(signal)\n"
    )
    ira = room.window(command)
    ira.await_rows("> |")
    ira.type("x")
    ira.await_screen("about to read")
    ira.key("C-c")
    room.zoe.type("Hi")
    ira.await_screen("Zoe: Hi")


# -- terminals that can less


@pytest.mark.parametrize("module", ["readline", "ctypes"])
def test_python_without_a_module_gets_plain_lines_and_is_told_what_helps(
    room: Room, module: str
) -> None:
    # Cryptodome needs ctypes, too, where there is no cffi.
    missing = f"sys.modules.update(dict.fromkeys(['gnureadline', '{module}']))"
    ira = room.window(room.changed(f"import sys, Cryptodome.Util._raw_api\n{missing}"))
    ira.await_rows(IN, "|")
    ira.enter("Hi")
    room.zoe.expect("Ira: Hi\n")
    notice = " ".join(ira.lines()[:2])
    assert notice.startswith("[+] Plain input: this Python ")
    assert ("gnureadline" if module == "readline" else "ctypes") in notice
    leave(ira)


# -- what is under way


def test_own_message_is_marked_until_it_stands_in_its_place(room: Room) -> None:
    ira = room.ira()
    with frozen(room.server):
        room.zoe.type("I was first")
        await_condition(room.zoe.has_done_its_input)
        ira.enter("one", "two")
        ira.await_rows(IN, "... one", "... two", "> |")
        assert ira.look("... one") == DIM
        ira.type("three")
        ira.await_rows("... one", "... two", "> three|")
    ira.await_rows(IN, "Zoe: I was first", "Ira: one", "Ira: two", "> three|")


def test_private_message_is_marked_on_its_way_and_at_its_place(room: Room) -> None:
    ira = room.ira("--time", "")
    with frozen(room.server):
        ira.enter("/msg max Psst", "/msg Moe Psst")
        ira.await_rows("... to Max [private]: Psst", "> |")
        ira.await_screen("[!] Nobody here is called Moe: perhaps Zoe is meant.")
        ira.key("Up")
        ira.await_rows("> /msg Moe Psst|")
        ira.key("C-u")
    ira.await_rows("you → Max [private]: Psst", "> |")
    assert ira.look("Psst") == Look("magenta")
    room.max.expect("Ira → you [private]: Psst\n")
    ira.enter("/r Hi", "that is all")
    ira.await_screen("[!] Nobody has said anything to you in private yet.")
    room.zoe.expect("Ira: that is all\n")
    assert "Psst" not in room.zoe.out


def test_message_under_way_takes_one_row_and_the_first_are_shown(room: Room) -> None:
    ira = room.ira(columns=40)
    with frozen(room.server):
        ira.enter("/me " + "waves " * 10)
        ira.paste("one\ntwo", "Enter")
        ira.enter("日本語" * 10)
        ira.enter(*(f"line {number}" for number in range(PENDING_ROWS - 1)))
        ira.type("half")
        ira.await_rows(
            "... * waves waves waves waves waves wa…",
            "... one\\ntwo",
            "... 日本語日本語日本語日本語日本語日本…",
            *(f"... line {number}" for number in range(PENDING_ROWS - 3)),
            "... and 2 more",
            "> half|",
        )
    ira.await_rows(f"Ira: line {PENDING_ROWS - 2}", "> half|")
    assert not any(line.startswith("...") for line in ira.lines())
    ira.key("C-u")
    with frozen(room.server):
        ira.enter("last words", "EXIT")
        ira.await_screen("... last words")
    assert ira.end() == 0
    assert ira.rows()[-3:] == [f"Ira: line {PENDING_ROWS - 2}", "Ira: last words", "|"]


def test_clearing_leaves_the_line_and_what_is_under_way(room: Room) -> None:
    ira = room.ira()
    ira.enter("/clear all")
    ira.until(lambda: ira.rows() == ["> |"])
    assert ira.cursor == (2, 0)
    ira.type("half")
    room.zoe.type("Hi")
    ira.until(lambda: ira.rows() == ["Zoe: Hi", "> half|"])
    ira.key("C-l")
    ira.until(lambda: ira.rows() == ["> half|"])
    ira.key("C-u")
    with frozen(room.server):
        ira.enter("one", "/clear all")
        ira.until(lambda: ira.rows() == ["... one", "> |"])
        ira.key("C-l")
        ira.type("x")
        ira.await_rows("> x|")
    ira.until(lambda: ira.rows() == ["Ira: one", "> x|"])


def test_lost_connection_shows_in_the_prompt_until_it_is_back(desk: Desk) -> None:
    port = desk.stage.free_port()
    server, _ = desk.stage.server("--port", str(port))
    ira = desk.window(desk.command(port))
    ira.await_rows("[+] In the room: Ira", "> |")
    say(ira, "first thing", "second thing")
    ira.key("C-r")
    ira.type("fir")
    ira.await_rows("(reverse-i-search)`fir': |first thing")
    server.kill()
    ira.await_screen("trying to get it back.")
    assert ira.look("trying to get it back.") == Look("red")
    ira.await_rows("(reverse-i-search)`fir': |first thing")
    ira.type("s")
    ira.await_rows("(reverse-i-search)`firs': |first thing")
    ira.key("Enter")
    ira.await_rows("... first thing", "(offline, 1 waiting) > |")
    ira.enter("/bell off")
    ira.await_rows("[+] The bell is silent.", "... first thing", "(offline, 1 waiting) > |")
    ira.type("more")
    ira.await_rows("... first thing", "(offline, 1 waiting) > more|")
    desk.stage.server("--port", str(port))
    ira.await_rows("Ira: first thing", "> more|")
    assert any(line.startswith("[+] The connection is back") for line in ira.lines())


def leave_two_behind(ira: Window) -> None:
    """Say what will not be acknowledged."""
    ira.enter("x" * 40)
    ira.paste("one\ntwo", "Enter")
    ira.await_screen("... one")


def assert_left_behind(ira: Window, marked: str) -> None:
    """What was under way stands there at the end, whole, and once."""
    assert ira.end() == 1
    rows = ira.rows()
    first = rows.index(f"[!] {marked}: {'x' * 40}")
    assert rows[first + 1 : first + 4] == [f"[!] {marked}: one", "    two", rows[-2]]
    assert rows[-2:] == ["chat: error: 2 messages were not acknowledged", "|"]


def test_what_was_not_acknowledged_stays_on_the_screen(room: Room) -> None:
    ira = room.ira()
    with frozen(room.server):
        leave_two_behind(ira)
        ira.key("C-d")
        ira.await_screen("leaves at once")
        ira.key("C-c")
        assert_left_behind(ira, "Perhaps not delivered")
    room.server.expect("Ira left the server")


def test_what_was_not_sent_stays_on_the_screen(desk: Desk) -> None:
    server, port = desk.stage.server()
    ira = desk.window(desk.command(port))
    ira.await_rows("[+] In the room: Ira", "> |")
    server.kill()
    ira.await_rows("(offline) > |")
    leave_two_behind(ira)
    ira.await_rows("... one\\ntwo", "(offline, 2 waiting) > |")
    ira.enter("/quit")
    assert_left_behind(ira, "Not sent")
    assert not any("offline" in line for line in ira.lines())


# -- what lines look like, and being spoken to


def test_lines_are_coloured_by_what_they_are(room: Room) -> None:
    ira = room.ira("--time", "at noon")
    assert ira.look(IN) == DIM
    assert ira.look("> ") == PLAIN
    room.zoe.type("Hi")
    ira.await_rows("at noon Zoe: Hi", "> |")
    assert ira.look("at noon") == DIM
    assert ira.look("Hi") == PLAIN
    colour = ira.look("Zoe:")
    assert colour.colour not in ("default", "red")
    assert not colour.bold
    ira.enter("/wibble")
    ira.await_screen("[!] There is no command")
    assert ira.look("[!] There is no command /wibble.") == Look("red")
    assert ira.look("double the slash.") == Look("red")


def test_mention_is_bold_rings_and_counts_in_the_title(room: Room) -> None:
    ira = room.ira()
    room.zoe.type("Hi, ira!")
    ira.await_rows("Zoe: Hi, ira!", "> |")
    assert ira.look("Hi, ira!") == Look(bold=True)
    assert (ira.title, ira.bells) == ("(1) chat: Ira", 1)
    room.zoe.type("Irate?\x1b[2J\x1b]2;gotcha\x07\x07", "Ira")
    ira.await_rows(r"Zoe: Irate?\x1b[2J\x1b]2;gotcha\x07\x07", "Zoe: Ira", "> |")
    assert ira.look("Irate?") == PLAIN
    assert ira.title == "(2) chat: Ira"
    bells = ira.bells
    # Who types has seen them; what one says oneself, or those say whom one ignores, is none.
    say(ira, "I am Ira")
    ira.enter("/ignore zoe", "/bell off")
    ira.await_rows("[+] Ignored: Zoe", "[+] The bell is silent.", "> |")
    room.zoe.type("Ira, can you hear me?")
    room.max.expect("Zoe: Ira, can you hear me?\n")
    room.max.type("I can")
    ira.await_rows("Max: I can", "> |")
    assert ira.title == TITLE
    room.max.type("Ira?")
    ira.await_rows("Max: I can", "Max: Ira?", "> |")
    assert (ira.title, ira.bells) == ("(1) chat: Ira", bells)
    ira.signal(signal.SIGTERM)
    assert ira.end() == 0
    assert ira.title == TITLE


def test_terminal_without_a_title_gets_none(room: Room) -> None:
    ira = room.ira(TERM="linux")
    room.zoe.type("Ira")
    ira.await_rows("Zoe: Ira", "> |")
    assert (ira.title, ira.bells) == (TITLE, 1)
    assert b"\x1b]" not in ira.written


# -- what takes its time


def await_turning_spinner(window: Window) -> None:
    seen: set[str] = set()

    def has_turned() -> bool:
        seen.update(filter(SPINNER.match, window.lines()))
        return len(seen) > 2

    window.until(has_turned, "a spinner")


def test_spinner_turns_beside_the_line_while_the_server_says_nothing(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = int(silent.getsockname()[1])
        piped = desk.stage.client(port, "Pia")
        piped.expect("Getting public key from the server\n")
        ira = desk.window(desk.command(port))
        await_turning_spinner(ira)
        ira.type("abc")
        ira.await_screen("abc")
        await_turning_spinner(ira)
        assert len(list(filter(SPINNER.search, ira.lines()))) == 1
        ira.signal(signal.SIGTERM)
        assert ira.end() == 1
        assert ira.rows()[-2:] == ["chat: error: interrupted", "|"]
        assert not any(map(SPINNER.search, ira.lines()))
        # By the time that it has turned here, it would have in the pipe.
        piped.signal(signal.SIGTERM)
        assert piped.end().out.endswith("Getting public key from the server\n")


@pytest.mark.parametrize("number", [0, signal.SIGTERM, signal.SIGHUP])
def test_what_is_typed_while_a_key_is_made_is_not_shown_before_its_time(
    room: Room, number: int
) -> None:
    """However that ends, the terminal is as it was found."""
    command = room.changed(
        "import chat.kex, chat.__main__\n"
        "make = chat.kex.PrivateKey.generate\n"
        "def slow(bits, random_bytes):\n"
        "    while not open_door.exists():\n"
        "        random_bytes(1)\n"
        "    return make(2048, random_bytes)\n"
        "chat.kex.PrivateKey.generate = slow\n"
        f"from pathlib import Path\nopen_door = Path({str(room.home / 'door')!r})\n"
    )
    shell = room.shell()
    ira = shell.run(["Eve" if word == "Ira" else word for word in command] + ["--ephemeral"])
    await_turning_spinner(ira)
    ira.enter("typed ahead")
    await_turning_spinner(ira)
    assert len(list(filter(SPINNER.search, ira.lines()))) == 1
    if number:
        ira.signal_foreground(number)
    else:
        (room.home / "door").touch()
        ira.await_rows("Eve: typed ahead", "> |")
        ira.key("C-d")
    ira.await_rows(f"status {1 if number else 0}", "$ |")
    assert not any(map(SPINNER.search, ira.lines()))
    shell.assert_terminal_is_as_it_was()


def test_name_server_that_is_silent_is_shown_and_left_at_once(desk: Desk) -> None:
    """The spinner of a terminal without Unicode is plain."""
    names = NameServer(desk.home, "silence")
    keys = desk.stage.keys("client", "ira")
    command = [*names.chat, "client", "chat.example", "9443", "Ira", *keys]
    ira = desk.window(command, LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    spinner = re.compile(r"[|/\\-] Looking up chat\.example")
    ira.until(lambda: any(map(spinner.match, ira.lines())))
    ira.key("C-c")
    ira.end()
    assert not any(map(spinner.match, ira.lines()))
    with pytest.raises(ProcessLookupError):
        os.kill(names.asked_by, 0)


@pytest.mark.parametrize(
    ("arguments", "typed"), [(["--no-history"], "half a thought"), ([], " half a thought")]
)
def test_half_a_line_that_is_not_kept_stays_on_the_screen(
    room: Room, arguments: list[str], typed: str
) -> None:
    ira = room.ira(*arguments)
    ira.type(typed)
    ira.await_rows(f"> {typed}|")
    room.server.type("KICK Ira")
    assert ira.end() == 3
    ira.await_rows(f"[!] Not sent: {typed}", "chat: error: put out by the server's operator", "|")


def test_question_about_a_paste_that_is_not_answered_any_more_keeps_the_paste(room: Room) -> None:
    ira = room.ira()
    ira.paste("\n".join(LONG_PASTE), "Enter")
    ira.await_screen("Send these")
    ira.type("perha")
    ira.await_screen("perha")
    room.server.type("KICK Ira")
    assert ira.end() == 3
    assert KEPT in ira.lines()
    assert room.history.read_text() == "/" + "\\n".join(LONG_PASTE) + "\n"
