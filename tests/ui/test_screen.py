"""People at real terminals: what stands on the screen when they type, and when others do."""

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chat.limits import MAX_TEXT_BYTES, PASTE_LINES, PENDING_ROWS
from chat.ui.screen import Mentions
from tests.support.helpers import FakeClock, key
from tests.support.processes import (
    CHAT,
    ROOT,
    NameServer,
    Piped,
    Stage,
    await_condition,
    environment,
)
from tests.support.terminals import PLAIN, TITLE, Look, Window, client_command

pytestmark = pytest.mark.slow

FINGERPRINTS = {
    name: key(key_name).public.fingerprint
    for name, key_name in (("server", "server"), ("Ira", "ira"), ("Zoe", "other"))
}
SPINNER = re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")
DIM = PLAIN._replace(dim=True)


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

    def __init__(self, stage: Stage, home: Path) -> None:
        self.stage = stage
        self.home = home
        self._windows: list[Window] = []

    def window(self, command: list[str], columns: int = 80, rows: int = 24, **env: str) -> Window:
        window = Window(command, environment(self.home, env), columns, rows)
        self._windows.append(window)
        return window

    def command(self, port: int, *arguments: str, name: str = "Ira") -> list[str]:
        return client_command(port, name, self.stage.keys("client", "ira"), *arguments)

    def close(self) -> None:
        for window in self._windows:
            window.kill()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """For tests that need a server of their own."""
    with Stage(tmp_path) as stage:
        yield stage


class Room(Desk):
    """A desk in the house."""

    def __init__(self, house: House, home: Path) -> None:
        super().__init__(house.stage, home)
        self.house = house
        self.server, self.zoe, self.max = house.server, house.zoe, house.max

    def start(
        self, *arguments: str, columns: int = 80, rows: int = 24, name: str = "Ira", **env: str
    ) -> Window:
        command = self.command(self.house.port, *arguments, name=name)
        return self.window(command, columns, rows, **env)

    def ira(self, *arguments: str, columns: int = 80, rows: int = 24, **env: str) -> Window:
        """Ira's window, when she is in."""
        window = self.start(*arguments, columns=columns, rows=rows, **env)
        window.await_screen("[+] In the room: Zoe, Max, Ira")
        window.await_rows("> |")
        return window

    def shell(self, columns: int = 80, rows: int = 24) -> Window:
        """A shell that lets the terminal be as programs leave it, unlike bash."""
        window = self.window([shutil.which("dash") or "sh", "-i"], columns, rows, PS1="$ ", ENV="")
        window.await_rows("$ |")
        return window

    def ira_in(self, shell: Window, *arguments: str, end: str = "") -> None:
        """Let a shell start Ira's client."""
        run_in(shell, self.command(self.house.port, *arguments), end)


def run_in(shell: Window, command: list[str], end: str = "") -> None:
    """Let a shell start a command, by a short name, so that it takes one row."""
    line = " ".join(f"'{word}'" for word in command)
    script = f"go() {{ exec {line}\n}}"
    # What the shell itself echoes is not what tests are about.
    shell.type("\n".join(["stty -echo", script, "stty echo; clear", ""]))
    shell.await_rows("$ |")
    shell.until(lambda: shell.cursor == (2, 0))
    shell.enter(f"(go){end}")


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
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def inputrc(room: Desk, *lines: str) -> None:
    (room.home / ".inputrc").write_text("".join(f"{line}\n" for line in lines))


def history_of(desk: Desk) -> Path:
    return desk.home / ".local" / "state" / "chat" / "history"


# -- typing while others talk


def test_message_that_comes_while_one_types_stands_above_the_line(room: Room) -> None:
    ira = room.ira()
    ira.type("half a ")
    ira.await_rows("> half a |")
    room.zoe.type("Hello Ira")
    ira.await_rows("Zoe: Hello Ira", "> half a |")
    ira.type("thought")
    ira.await_rows("Zoe: Hello Ira", "> half a thought|")
    ira.key("Enter")
    room.zoe.expect("Ira: half a thought\n")
    ira.await_rows("Zoe: Hello Ira", "Ira: half a thought", "> |")


def test_message_that_comes_while_the_cursor_is_in_the_middle_leaves_it_there(room: Room) -> None:
    ira = room.ira()
    ira.type("hello world")
    ira.key(*["Left"] * 5)
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> hello |world")
    ira.type("big ")
    room.zoe.type("Ho")
    ira.await_rows("Zoe: Hi", "Zoe: Ho", "> hello big |world")
    ira.key("Enter")
    room.zoe.expect("Ira: hello big world\n")


def wrapped(text: str, columns: int, used: int = 2) -> list[str]:
    """The rows of narrow characters behind a prompt."""
    text = "> ".ljust(used)[:used] + text
    return [text[at : at + columns] for at in range(0, len(text), columns)]


def test_line_longer_than_a_row_goes_on_below_a_message(room: Room) -> None:
    ira = room.ira(columns=40)
    text = "".join(chr(ord("a") + at % 26) for at in range(100))
    ira.type(text)
    first, second, third = wrapped(text, 40)
    ira.await_rows(first, second, f"{third}|")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", first, second, f"{third}|")
    ira.key("C-a")
    room.zoe.type("Ho")
    ira.await_rows("Zoe: Hi", "Zoe: Ho", f"> |{first[2:]}", second, third)
    ira.type("0123456789")
    first, second, third = wrapped("0123456789" + text, 40)
    ira.await_rows("Zoe: Ho", f"{first[:12]}|{first[12:]}", second, third)
    ira.key("Enter")
    room.zoe.expect(f"Ira: 0123456789{text}\n")


@pytest.mark.parametrize("length", [36, 37, 38, 39, 76, 77, 78, 79])
def test_line_that_ends_at_the_edge_stays_whole_below_a_message(room: Room, length: int) -> None:
    ira = room.ira(columns=40)
    text = "x" * length
    ira.type(text)
    room.zoe.type("Hi")
    rows = wrapped(text, 40)
    # Where the row is full, the cursor waits at the start of the next.
    rows = [*rows, "|"] if len(rows[-1]) == 40 else [*rows[:-1], f"{rows[-1]}|"]
    ira.await_rows("Zoe: Hi", *rows)
    ira.type("yz")
    room.zoe.type("Ho")
    *rows, last = wrapped(f"{text}yz", 40)
    rows = [*rows, last, "|"] if len(last) == 40 else [*rows, f"{last}|"]
    ira.await_rows("Zoe: Hi", "Zoe: Ho", *rows)


def test_line_longer_than_the_screen_can_be_sent_and_messages_stand_above_it(room: Room) -> None:
    ira = room.start(columns=20, rows=5)
    ira.await_rows("    Zoe, Max, Ira", "> |")
    text = "".join(chr(ord("a") + at % 26) for at in range(150))
    ira.type(text)
    room.zoe.type("Hi")
    ira.until(lambda: "Zoe: Hi" in ira.scrolled)
    ira.await_rows(*wrapped(text, 20)[-4:-1], f"{wrapped(text, 20)[-1]}|")
    ira.key("Enter")
    room.zoe.expect(f"Ira: {text}\n")
    # The terminal breaks so long a word where it likes.
    *rows, last = [f"Ira: {text}"[at : at + 20] for at in range(0, 155, 20)]
    ira.await_rows(*rows[-3:], last, "> |")
    assert ira.scrolled.count("Zoe: Hi") == 1


@pytest.mark.parametrize("columns", [40, 41])
def test_wide_characters_stay_in_place_below_a_message(room: Room, columns: int) -> None:
    ira = room.ira(columns=columns)
    text = "日本語" * 10
    ira.type(text)
    fits = (columns - 2) // 2
    first, rest = text[:fits], text[fits:]
    ira.await_rows(f"> {first}", f"{rest}|")
    room.zoe.type("今日は")
    ira.await_rows("Zoe: 今日は", f"> {first}", f"{rest}|")
    ira.key(*["Left"] * 4)
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", f"> {first}", f"{rest[:-4]}|{rest[-4:]}")
    ira.type("語")
    ira.await_rows("Zoe: Hi", f"> {first}", f"{rest[:-4]}語|{rest[-4:]}")
    ira.key("Enter")
    room.zoe.expect(f"Ira: {text[:-4]}語{text[-4:]}\n")


def test_marks_over_letters_stay_in_place_below_a_message(room: Room) -> None:
    ira = room.ira()
    ira.type("e\u0301te\u0301")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> été|")
    ira.key("Left")
    room.zoe.type("Ho")
    ira.await_rows("Zoe: Ho", "> ét|é")
    ira.key("Enter")
    room.zoe.expect("Ira: e\u0301te\u0301\n")


def test_many_messages_while_one_types_cost_no_character(room: Room) -> None:
    ira = room.ira(rows=120)
    said = [f"message {number}" for number in range(60)]
    text = "the quick brown fox jumps over the lazy dog 123"
    for number, message in enumerate(said):
        room.zoe.type(message)
        ira.type(text[number : number + 1])
    ira.await_rows("[+] In the room: Zoe, Max, Ira", *(f"Zoe: {one}" for one in said), f"> {text}|")
    ira.key("Enter")
    room.zoe.expect(f"Ira: {text}\n")


def test_search_goes_on_below_a_message(room: Room) -> None:
    ira = room.ira()
    ira.enter("first thing", "second thing")
    ira.await_rows("Ira: first thing", "Ira: second thing", "> |")
    ira.key("C-r")
    ira.type("fir")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "(reverse-i-search)`fir': |first thing")
    ira.type("s")
    ira.await_rows("Zoe: Hi", "(reverse-i-search)`firs': |first thing")
    ira.key("Enter")
    ira.await_rows("Zoe: Hi", "Ira: first thing", "> |")


def test_interrupt_ends_a_search(room: Room) -> None:
    ira = room.ira()
    ira.enter("first thing")
    ira.await_rows("Ira: first thing", "> |")
    ira.key("C-r")
    ira.type("fir")
    ira.await_rows("(reverse-i-search)`fir': |first thing")
    ira.key("C-c")
    ira.await_rows("Ira: first thing", "> |")
    ira.enter("on we go")
    ira.await_rows("Ira: first thing", "Ira: on we go", "> |")


def test_completion_goes_on_below_a_message(room: Room) -> None:
    ira = room.ira()
    ira.type("/")
    ira.key("Tab")
    ira.await_rows("> /help |")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> /help |")
    ira.key("Tab")
    ira.await_rows("Zoe: Hi", "> /who |")
    room.zoe.type("Ho")
    ira.await_rows("Zoe: Ho", "> /who |")
    ira.key("Tab")
    ira.await_rows("Zoe: Ho", "> /me |")


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
    ira.type("thought")
    room.zoe.type(words)
    ira.await_rows(
        "Zoe: one two three four five",
        "    six seven eight nine",
        "> half a thought|",
    )
    ira.type(" and another one")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> half a thought and another o", "ne|")
    resize(ira, 100, 24)
    room.zoe.type(words)
    ira.await_rows(f"Zoe: {words}", "> half a thought and another one|")
    ira.key("Enter")
    room.zoe.expect("Ira: half a thought and another one\n")


def test_long_line_stays_whole_when_the_window_grows(room: Room) -> None:
    ira = room.ira(columns=40)
    text = "x" * 60 + "y" * 30
    ira.type(text)
    ira.await_rows(*wrapped(text, 40)[:-1], f"{wrapped(text, 40)[-1]}|")
    ira.resize(70, 24)
    ira.await_rows(wrapped(text, 70)[0], f"{wrapped(text, 70)[1]}|")
    ira.key("Enter")
    room.zoe.expect(f"Ira: {text}\n")


def test_window_of_fewer_rows_goes_on(room: Room) -> None:
    ira = room.ira()
    ira.type("half")
    ira.await_rows("> half|")
    ira.resize(80, 4)
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> half|")


def test_narrowest_window_stands(room: Room) -> None:
    ira = room.ira()
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
    shell = room.shell(rows=40)
    settings = shell.settings()
    room.ira_in(shell)
    shell.await_rows("[+] In the room: Zoe, Max, Ira", "> |")
    assert shell.settings() != settings
    assert shell.pastes_in_brackets
    shell.type("half a ")
    shell.await_rows("> half a |")
    shell.key("C-z")
    shell.await_screen("Stopped")
    shell.await_rows("$ |")
    assert shell.settings() == settings
    assert not shell.pastes_in_brackets
    assert not any(row.startswith(">") for row in shell.lines())
    room.zoe.type("Hello Ira", "where are you?")
    room.max.expect("Zoe: where are you?\n")
    shell.enter("fg")
    shell.await_rows("Zoe: Hello Ira", "Zoe: where are you?", "> half a |")
    assert shell.pastes_in_brackets
    shell.type("thought\r")
    room.zoe.expect("Ira: half a thought\n")
    shell.await_rows("Zoe: where are you?", "Ira: half a thought", "> |")


def test_client_suspended_again_and_again_comes_back(room: Room) -> None:
    shell = room.shell(rows=60)
    settings = shell.settings()
    room.ira_in(shell)
    shell.await_rows("> |")
    for number in range(3):
        shell.type(str(number))
        shell.await_rows("> " + "012"[: number + 1] + "|")
        shell.key("C-z")
        shell.await_rows("$ |")
        assert shell.settings() == settings
        shell.enter("fg")
        shell.await_rows("> " + "012"[: number + 1] + "|")
    shell.key("Enter")
    room.zoe.expect("Ira: 012\n")


def test_client_that_was_stopped_from_outside_comes_back_with_its_line(room: Room) -> None:
    shell = room.shell(rows=40)
    room.ira_in(shell)
    shell.await_rows("> |")
    shell.type("half a ")
    shell.await_rows("> half a |")
    shell.signal_foreground(signal.SIGSTOP)
    shell.await_screen("Stopped")
    shell.await_screen("$ ")
    room.zoe.type("Hello Ira")
    room.max.expect("Zoe: Hello Ira\n")
    # Nobody could give the terminal back, where Enter is another character.
    shell.type("fg\n")
    shell.await_rows("Zoe: Hello Ira", "> half a |")
    shell.type("thought\r")
    room.zoe.expect("Ira: half a thought\n")
    shell.await_rows("Zoe: Hello Ira", "Ira: half a thought", "> |")


def test_stop_from_outside_costs_no_row_of_the_shell(room: Room) -> None:
    shell = room.shell(rows=40)
    room.ira_in(shell)
    shell.await_rows("> |")
    shell.type("x" * 200)
    shell.await_rows("x" * 42 + "|")
    shell.signal_foreground(signal.SIGSTOP)
    shell.await_screen("Stopped")
    shell.type("echo of the shell\n")
    shell.await_screen("of the shell")
    shell.type("fg\n")
    shell.await_rows("> " + "x" * 78, "x" * 80, "x" * 42 + "|")
    assert "of the shell" in "\n".join(shell.lines())


def test_client_started_in_the_background_takes_the_terminal_when_brought_to_the_front(
    room: Room,
) -> None:
    shell = room.shell(rows=40)
    settings = shell.settings()
    room.ira_in(shell, end=" &")
    shell.await_screen("[+] In the room: Zoe, Max, Ira")
    room.zoe.type("Hello Ira")
    shell.await_screen("Zoe: Hello Ira")
    assert shell.settings() == settings
    assert not shell.pastes_in_brackets
    shell.enter("fg")
    shell.await_rows("> |")
    shell.enter("Here I am")
    room.zoe.expect("Ira: Here I am\n")
    shell.await_rows("Ira: Here I am", "> |")
    shell.key("C-z")
    shell.await_rows("$ |")
    assert shell.settings() == settings


def test_client_sent_to_the_background_goes_on_showing(room: Room) -> None:
    shell = room.shell(rows=40)
    room.ira_in(shell)
    shell.await_rows("> |")
    shell.type("half")
    # A terminal throws away what was typed right before Ctrl-Z and is not yet read.
    shell.await_rows("> half|")
    shell.key("C-z")
    shell.await_screen("Stopped")
    shell.enter("bg")
    room.zoe.type("Hello Ira")
    shell.await_screen("Zoe: Hello Ira")
    shell.enter("fg")
    shell.await_rows("> half|")


# -- everything as it was found


def type_exit(window: Window) -> None:
    window.enter("EXIT")


def type_quit(window: Window) -> None:
    window.enter("/quit")


def press_control_d(window: Window) -> None:
    window.key("C-d")


def press_control_backslash(window: Window) -> None:
    window.key("C-\\")


def press_control_c_twice(window: Window) -> None:
    interrupt_until_it_ends(window)


def interrupt_until_it_ends(window: Window) -> None:
    """The second Ctrl-C has to come soon after the first. Where the machine is so busy that it does
    not, it is the first one once more, and says so."""
    while is_interrupted_and_goes_on(window):
        pass


def is_interrupted_and_goes_on(window: Window) -> bool:
    hint = b"Ctrl-C once more leaves"
    before = window.written.count(hint)

    def is_answered() -> bool:
        return window.written.count(hint) > before or window.rows()[-1:] == ["$ |"]

    window.key("C-c")
    # It ends, unless a shell has started it, which then asks for the next command.
    with contextlib.suppress(AssertionError):
        window.until(is_answered, "an answer")
    return window.written.count(hint) > before


def terminate(window: Window) -> None:
    window.signal_foreground(signal.SIGTERM)


def hang_up(window: Window) -> None:
    window.signal_foreground(signal.SIGHUP)


@pytest.mark.parametrize(
    "leave",
    [
        type_exit,
        type_quit,
        press_control_d,
        press_control_c_twice,
        press_control_backslash,
        terminate,
        hang_up,
    ],
)
def test_leaving_leaves_the_terminal_as_it_was_found(
    room: Room, leave: Callable[[Window], None]
) -> None:
    shell = room.shell()
    settings = shell.settings()
    room.ira_in(shell, end='; echo "status $?"')
    shell.await_rows("> |")
    leave(shell)
    shell.await_rows("status 0", "$ |")
    assert shell.settings() == settings
    assert not shell.pastes_in_brackets
    last = shell.lines()[-3]
    assert last in (
        "[+] In the room: Zoe, Max, Ira",
        "[+] Ctrl-C once more leaves, and so does Ctrl-D.",
    )
    room.zoe.expect("[+] Ira left the server.\n")


def test_half_a_line_is_gone_when_a_signal_ends_the_client(room: Room) -> None:
    shell = room.shell()
    room.ira_in(shell, end='; echo "status $?"')
    shell.await_rows("> |")
    shell.type("x" * 200)
    shell.await_screen("x" * 42)
    shell.signal_foreground(signal.SIGTERM)
    shell.await_rows(
        "[+] In the room: Zoe, Max, Ira",
        "[+] What you were typing is kept: the up key brings it back.",
        "status 0",
        "$ |",
    )


def test_refused_client_leaves_the_terminal_as_it_was_found(room: Room) -> None:
    shell = room.shell()
    settings = shell.settings()
    run_in(shell, room.command(room.house.port, name="zoe"), '; echo "status $?"')
    shell.await_screen("chat: error: the name zoe is taken: it has been in use for")
    shell.await_rows("status 3", "$ |")
    assert shell.settings() == settings
    assert not shell.pastes_in_brackets


def test_client_that_is_put_out_leaves_the_terminal_as_it_was_found(room: Room) -> None:
    shell = room.shell()
    settings = shell.settings()
    room.ira_in(shell, end='; echo "status $?"')
    shell.await_rows("> |")
    shell.type("half a thought")
    shell.await_rows("> half a thought|")
    room.server.type("KICK Ira")
    shell.await_rows(
        "[+] In the room: Zoe, Max, Ira",
        "[+] What you were typing is kept: the up key brings it back.",
        "chat: error: put out by the server's operator",
        "status 3",
        "$ |",
    )
    assert shell.settings() == settings
    assert not shell.pastes_in_brackets


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
    ira.paste("\n".join(LONG_PASTE))
    ira.key("Enter")
    ira.await_screen("Send these")
    ira.type("perha")
    ira.await_screen("perha")
    room.server.type("KICK Ira")
    assert ira.end() == 3
    assert "[+] What you were typing is kept: the up key brings it back." in ira.lines()
    assert history_of(room).read_text() == "\\n".join(LONG_PASTE) + "\n"


def changed(room: Room, change: str) -> list[str]:
    """Ira's client, in which something is otherwise."""
    script = room.home / "changed.py"
    script.write_text(f"import sys\nimport chat.__main__\n{change}sys.exit(chat.__main__.main())\n")
    arguments = room.command(room.house.port)[len(CHAT) :]
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, str(script), *arguments]


def test_client_that_fails_leaves_the_terminal_as_it_was_found(room: Room) -> None:
    shell = room.shell()
    settings = shell.settings()
    command = changed(
        room,
        "import chat.client.client\n"
        "def members(self):\n"
        "    raise RuntimeError('something unforeseen')\n"
        "chat.client.client.Client.members = members\n",
    )
    run_in(shell, command, '; echo "status $?"')
    shell.await_rows("> |")
    shell.enter("/who")
    shell.await_rows("RuntimeError: something unforeseen", "status 1", "$ |")
    assert shell.settings() == settings
    assert not shell.pastes_in_brackets
    assert ">" not in shell.lines()


def test_client_whose_server_shuts_down_leaves_the_terminal_as_it_was_found(
    stage: Stage, tmp_path: Path
) -> None:
    server, port = stage.server()
    home = tmp_path / "desk"
    home.mkdir()
    with contextlib.closing(Desk(stage, home)) as desk:
        shell = desk.window([shutil.which("dash") or "sh", "-i"], PS1="$ ", ENV="")
        shell.await_rows("$ |")
        settings = shell.settings()
        run_in(shell, desk.command(port), '; echo "status $?"')
        shell.await_rows("> |")
        shell.type("half a thought")
        server.type("TERMINATE")
        shell.await_rows(
            "[!] The server has shut down.",
            "[+] What you were typing is kept: the up key brings it back.",
            "status 0",
            "$ |",
        )
        assert shell.settings() == settings
        assert not shell.pastes_in_brackets


def test_client_whose_window_is_closed_ends(room: Room) -> None:
    ira = room.ira()
    ira.type("half a thought")
    ira.await_rows("> half a thought|")
    ira.close()
    room.zoe.expect("[+] Ira left the server.\n")


# -- history


def test_what_was_typed_is_there_in_the_next_run(room: Room) -> None:
    ira = room.ira()
    ira.enter("first thing", " secret thing", "second thing")
    ira.await_rows("Ira: first thing", "Ira:  secret thing", "Ira: second thing", "> |")
    ira.key("Up", "Up")
    ira.await_rows(">  secret thing|")
    ira.key("C-u")
    ira.enter("EXIT")
    assert ira.end() == 0
    assert history_of(room).read_text() == "first thing\nsecond thing\nEXIT\n"
    assert stat.S_IMODE(history_of(room).stat().st_mode) == 0o600
    again = room.ira()
    for line in ("EXIT", "second thing", "first thing", "first thing"):
        again.key("Up")
        again.await_rows(f"> {line}|")
    again.key("Enter")
    again.await_rows("Ira: first thing", "> |")


def test_what_was_pasted_is_one_entry_in_the_next_run(room: Room) -> None:
    ira = room.ira()
    ira.paste("one\ntwo \\n")
    ira.key("Enter")
    ira.await_rows("Ira: one", "    two \\n", "> |")
    ira.key("C-d")
    assert ira.end() == 0
    again = room.ira()
    again.key("Up")
    again.await_rows("> one", "two \\n|")


def test_without_history_nothing_is_kept(room: Room) -> None:
    ira = room.ira("--no-history")
    ira.enter("first thing")
    ira.await_rows("Ira: first thing", "> |")
    ira.key("Up")
    ira.await_rows("> first thing|")
    ira.key("C-u", "C-d")
    assert ira.end() == 0
    assert not history_of(room).parent.exists()


@pytest.mark.parametrize("why", ["Not a directory", "a FIFO, not a file"])
def test_history_that_cannot_be_kept_is_said_once(room: Room, why: str) -> None:
    if "FIFO" in why:
        history_of(room).parent.mkdir(parents=True)
        os.mkfifo(history_of(room))
    else:
        (room.home / ".local").write_text("this is no folder")
    ira = room.ira(columns=200)
    ira.enter("first thing", "second thing")
    ira.await_rows("Ira: first thing", "Ira: second thing", "> |")
    said = [line for line in ira.lines() if "not kept" in line]
    assert len(said) == 1
    assert said[0].startswith(f"[!] What you type is not kept: {room.home / '.local'}")
    assert said[0].endswith(f": {why}.")
    ira.key("Up")
    ira.await_rows("> second thing|")


# -- completion


def test_tab_completes_commands_and_cycles(room: Room) -> None:
    ira = room.ira()
    ira.type("/se")
    ira.key("Tab")
    ira.await_rows("> /security |")
    ira.key("C-u")
    ira.type("/q")
    ira.key("Tab")
    ira.await_rows("> /quit |")


def test_tab_completes_names_those_who_spoke_last_first(room: Room) -> None:
    ira = room.ira()
    room.max.type("I spoke")
    ira.await_rows("Max: I spoke", "> |")
    room.zoe.type("So did I")
    ira.await_rows("Zoe: So did I", "> |")
    ira.key("Tab")
    ira.await_rows("> Zoe: |")
    ira.key("Tab")
    ira.await_rows("> Max: |")
    room.max.type("Once more")
    ira.await_rows("Max: Once more", "> Max: |")
    ira.key("C-u", "Tab")
    ira.await_rows("> Max: |")
    ira.type("ask z")
    ira.key("Tab")
    ira.await_rows("> Max: ask Zoe |")
    ira.key("Enter")
    room.zoe.expect("Ira: Max: ask Zoe \n")


def test_tab_completes_the_names_that_a_command_takes(room: Room) -> None:
    ira = room.ira()
    ira.type("/ignore m")
    ira.key("Tab")
    ira.await_rows("> /ignore Max|")
    ira.key("Enter")
    ira.await_rows("[+] Ignored: Max", "> |")
    ira.type("/unignore ")
    ira.key("Tab")
    ira.await_rows("> /unignore Max|")


def test_tab_completes_a_name_of_other_letters(room: Room) -> None:
    other = room.house.stage.member(room.house.port, "Žofia", key="ira")
    ira = room.start()
    ira.await_rows("> |")
    ira.type("ž")
    ira.key("Tab")
    ira.await_rows("> Žofia: |")
    ira.key("Enter")
    room.zoe.expect("Ira: Žofia: \n")
    other.type("EXIT")
    other.wait()


def test_tab_that_finds_nothing_changes_nothing(room: Room) -> None:
    ira = room.ira()
    ira.type("/wib")
    ira.key("Tab")
    ira.type("ble")
    ira.await_rows("> /wibble|")


# -- pasting


def test_pasted_lines_are_one_message(room: Room) -> None:
    ira = room.ira()
    ira.paste("one\n  two\nthree")
    ira.await_rows("> one", "  two", "three|")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> one", "  two", "three|")
    ira.key("Enter")
    ira.await_rows("Zoe: Hi", "Ira: one", "      two", "    three", "> |")
    room.zoe.expect("Ira: one\n      two\n    three\n")


def test_pasted_line_end_does_not_send(room: Room) -> None:
    ira = room.ira()
    ira.type("see: ")
    ira.paste("rm -rf /\n")
    ira.await_rows("> see: rm -rf /", "|")
    ira.type("!")
    ira.await_rows("> see: rm -rf /", "!|")


@pytest.mark.parametrize(
    "text",
    ["// code", "/usr/bin/env python3", "/* why */", "/exit", "/quit", "/me waves", "//", "EXIT"],
)
def test_paste_is_said_whatever_it_begins_with(room: Room, text: str) -> None:
    ira = room.ira("--no-history")
    ira.paste(text)
    ira.await_rows(f"> {text}|")
    ira.key("Enter")
    ira.await_rows(f"Ira: {text}", "> |")
    room.zoe.expect(f"Ira: {text}\n")
    # Called back, it is not obeyed either.
    ira.key("Up", "Enter")
    if text != "EXIT":
        room.zoe.expect(f"Ira: {text}\n")
    ira.enter("/exit")
    assert ira.end() == 0


def test_long_paste_that_looks_like_a_command_is_said_when_that_is_meant(room: Room) -> None:
    ira = room.ira()
    ira.paste("\n".join(["/quit", *LONG_PASTE]))
    ira.key("Enter")
    ira.await_screen("Send these")
    ira.enter("y")
    room.zoe.expect("Ira: /quit\n    line 0\n    line 1\n")


def test_pasted_tab_completes_nothing(room: Room) -> None:
    ira = room.ira()
    ira.paste("z\tz\x04")
    ira.key("Enter")
    room.zoe.expect("Ira: z\tz\\x04\n")


LONG_PASTE = [f"line {number}" for number in range(PASTE_LINES + 1)]
ASKED = f"Send these {len(LONG_PASTE)} lines as one message? Type y or n, and Enter: "


def test_question_is_broken_between_words_and_stands_below_a_message(room: Room) -> None:
    ira = room.ira(columns=40)
    ira.paste("\n".join(LONG_PASTE))
    ira.key("Enter")
    asked = ["Send these 21 lines as one message?", "    Type y or n, and Enter: |"]
    ira.await_rows("[+] In the room: Zoe, Max, Ira", *asked)
    room.zoe.type("Hi")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "Zoe: Hi", *asked)
    ira.enter("n")
    ira.await_rows("Zoe: Hi", "[+] Not sent. The up key brings it back.", "> |")


@pytest.mark.parametrize("answer", ["y", "yes", "Y", " YES "])
def test_long_paste_is_sent_when_that_is_meant(room: Room, answer: str) -> None:
    ira = room.ira(rows=60)
    ira.paste("\n".join(LONG_PASTE))
    ira.key("Enter")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", f"{ASKED}|")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", f"{ASKED}|")
    ira.enter(answer)
    shown = [f"Ira: {LONG_PASTE[0]}", *(f"    {line}" for line in LONG_PASTE[1:])]
    ira.await_rows("Zoe: Hi", *shown, "> |")
    room.zoe.expect("\n".join(shown) + "\n")


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
    ira.await_rows("[+] Ctrl-C once more leaves, and so does Ctrl-D.", "> |")
    interrupt_until_it_ends(ira)
    assert ira.end() == 0


def test_line_after_line_of_the_history_is_sent_again(room: Room) -> None:
    ira = room.ira()
    ira.enter("one", "two", "three")
    ira.await_rows("Ira: three", "> |")
    ira.key("Up", "Up", "Up")
    ira.await_rows("> one|")
    ira.key("C-o")
    ira.await_rows("Ira: one", "> two|")
    ira.key("C-o")
    ira.await_rows("Ira: two", "> three|")


@pytest.mark.parametrize("answer", ["n", "", "EXIT", "perhaps"])
def test_long_paste_is_not_sent_when_that_is_not_meant(room: Room, answer: str) -> None:
    ira = room.ira(rows=60)
    ira.paste("\n".join(LONG_PASTE))
    ira.key("Enter")
    ira.await_rows(f"{ASKED}|")
    ira.enter(answer)
    ira.await_rows(
        "[+] In the room: Zoe, Max, Ira", "[+] Not sent. The up key brings it back.", "> |"
    )
    ira.key("Up")
    *first, last = LONG_PASTE
    ira.await_rows(f"> {first[0]}", *first[1:], f"{last}|")


def test_interrupt_answers_no_to_a_long_paste(room: Room) -> None:
    ira = room.ira(rows=60)
    ira.paste("\n".join(LONG_PASTE))
    ira.key("Enter")
    ira.await_rows(f"{ASKED}|")
    ira.key("C-c")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "> |")
    ira.enter("on we go")
    ira.await_rows("Ira: on we go", "> |")


def test_twenty_lines_are_sent_without_a_question(room: Room) -> None:
    ira = room.ira(rows=60)
    ira.paste("\n".join(LONG_PASTE[1:]))
    ira.key("Enter")
    ira.await_rows(
        "[+] In the room: Zoe, Max, Ira",
        f"Ira: {LONG_PASTE[1]}",
        *(f"    {line}" for line in LONG_PASTE[2:]),
        "> |",
    )


# -- keys


def test_interrupt_clears_the_line_and_a_second_one_leaves(room: Room) -> None:
    ira = room.ira()
    ira.type("half a thought")
    ira.await_rows("> half a thought|")
    ira.key("C-c")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "> |")
    interrupt_until_it_ends(ira)
    assert ira.end() == 0
    room.zoe.expect("[+] Ira left the server.\n")


def test_interrupts_with_typing_between_them_do_not_leave(room: Room) -> None:
    ira = room.ira()
    for text in ("one", "two", "three"):
        ira.type(text)
        ira.await_rows(f"> {text}|")
        ira.key("C-c")
        ira.await_rows("[+] In the room: Zoe, Max, Ira", "> |")
    ira.enter("still here")
    room.zoe.expect("Ira: still here\n")


def test_interrupt_of_an_empty_line_says_how_to_leave(room: Room) -> None:
    ira = room.ira()
    ira.key("C-c")
    ira.await_rows("[+] Ctrl-C once more leaves, and so does Ctrl-D.", "> |")


def test_interrupt_that_takes_away_what_was_typed_holds_up_nothing(room: Room) -> None:
    """A terminal throws away what was typed before Ctrl-C and is not yet read: here, what the loop
    has just been told of."""
    command = changed(
        room,
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
        "chat.reactor._noted = lambda *signal: interrupts.append(signal)\n",
    )
    ira = room.window(command)
    ira.await_rows("> |")
    ira.type("x")
    ira.await_screen("about to read")
    ira.key("C-c")
    room.zoe.type("Hi")
    ira.await_screen("Zoe: Hi")


def test_interrupt_ends_a_count(room: Room) -> None:
    ira = room.ira()
    ira.type("\x1b5")
    ira.await_rows("(arg: 5) |")
    ira.key("C-c")
    ira.await_rows("> |")


def test_end_of_input_in_a_line_that_is_not_empty_does_not_leave(room: Room) -> None:
    ira = room.ira()
    ira.type("half")
    ira.key("C-d")
    ira.type("!")
    ira.await_rows("> half!|")


def test_client_heeds_the_editing_mode_of_the_person(room: Room) -> None:
    inputrc(room, "set editing-mode vi")
    ira = room.ira()
    ira.type("world")
    ira.key("Escape")
    ira.await_rows("> worl|d")
    ira.type("0ihello ")
    ira.await_rows("> hello |world")
    ira.key("Escape", "Enter")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "Ira: hello world", "> |")


def test_client_heeds_the_keys_of_the_person(room: Room) -> None:
    inputrc(room, r'"\C-t": accept-line', r'"\C-xg": "Greetings"')
    ira = room.ira()
    ira.key("C-x")
    ira.type("g")
    ira.await_rows("> Greetings|")
    ira.key("C-t")
    room.zoe.expect("Ira: Greetings\n")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "Ira: Greetings", "> |")


def test_all_lines_of_a_key_that_types_several_are_sent(room: Room) -> None:
    inputrc(room, r'"\C-xg": "one\C-mtwo\C-m"')
    ira = room.ira()
    ira.key("C-x")
    ira.type("g")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "Ira: one", "Ira: two", "> |")


def test_line_that_is_sent_to_get_the_next_of_the_history_is_sent(room: Room) -> None:
    ira = room.ira()
    ira.enter("one", "two")
    ira.await_rows("Ira: two", "> |")
    ira.key("Up", "Up", "C-o")
    ira.await_rows("Ira: two", "Ira: one", "> two|")


def test_line_that_is_commented_out_is_sent_as_a_comment(room: Room) -> None:
    ira = room.ira()
    ira.type("one\x1b#")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "Ira: #one", "> |")


def test_keys_that_came_before_the_room_was_entered_are_not_lost(room: Room) -> None:
    with frozen(room.server):
        ira = room.start()
        ira.await_screen("Connected successfully")
        ira.enter("Hi")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "Ira: Hi", "> |")


def test_several_lines_at_once_are_several_messages(room: Room) -> None:
    ira = room.ira()
    ira.type("one\rtwo\rthree\rfo")
    ira.await_rows("Ira: one", "Ira: two", "Ira: three", "> fo|")


def test_dumb_terminal_gets_plain_lines_and_one_notice(room: Room) -> None:
    ira = room.start(TERM="dumb")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "|")
    ira.enter("Hi", "/wibble")
    ira.await_screen("Unknown command: /wibble")
    room.zoe.expect("Ira: Hi\n")
    room.zoe.type("Hello Ira")
    ira.await_rows("Zoe: Hello Ira", "|")
    notices = [line for line in ira.lines() if "Plain input" in line]
    assert notices == ["[+] Plain input: the terminal is a dumb one."]
    assert ira.lines()[0] == notices[0]
    assert b"\x1b" not in ira.written
    ira.enter("EXIT")
    assert ira.end() == 0


@pytest.mark.parametrize("module", ["readline", "ctypes"])
def test_python_without_a_module_gets_plain_lines_and_is_told_what_helps(
    room: Room, module: str
) -> None:
    # Cryptodome needs ctypes, too, where there is no cffi.
    script = (
        "import sys, Cryptodome.Util._raw_api; "
        "sys.modules.update(dict.fromkeys(['gnureadline', sys.argv.pop(1)])); "
        "from chat.__main__ import main; sys.exit(main())"
    )
    command = room.command(room.house.port)[len(CHAT) :]
    ira = room.window([sys.executable, "-c", script, module, *command])
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "|")
    ira.enter("Hi")
    room.zoe.expect("Ira: Hi\n")
    notice = " ".join(ira.lines()[:2])
    assert notice.startswith("[+] Plain input: this Python ")
    assert ("gnureadline" if module == "readline" else "ctypes") in notice
    ira.enter("EXIT")
    assert ira.end() == 0


# -- what is not sent


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/wibble", "Unknown command: /wibble; /help lists the commands; // sends a line with a"),
        ("/whoo", "Unknown command: /whoo; is it /who? // sends a line with a slash."),
    ],
)
def test_unknown_command_is_not_sent(room: Room, line: str, said: str) -> None:
    ira = room.ira()
    ira.enter(line)
    ira.await_screen(f"[!] {said}")
    ira.await_rows("> |")
    ira.enter("//wibble")
    ira.await_rows("Ira: /wibble", "> |")
    room.zoe.expect("Ira: /wibble\n")
    assert line not in room.zoe.out.rpartition("is over")[2].replace("/wibble\n", "", 1)


def test_text_that_is_too_long_is_not_sent_and_can_be_called_back(room: Room) -> None:
    ira = room.ira(columns=200)
    text = "x\n" * (MAX_TEXT_BYTES // 2)
    ira.paste(text + "yz")
    ira.key("Enter")
    ira.await_rows(
        "[!] A message of 16386 bytes is too long: a message has at most 16384 bytes; send it "
        "in parts.",
        "[+] Not sent. The up key brings it back.",
        "> |",
    )
    ira.key("Up", "Backspace", "Backspace", "Enter")
    ira.enter("y")
    room.zoe.expect("    x\n" * (MAX_TEXT_BYTES // 2 - 1))
    ira.await_rows("> |")


# -- what is under way


def test_own_message_is_marked_until_it_is_acknowledged(room: Room) -> None:
    ira = room.ira()
    with frozen(room.server):
        ira.enter("one", "two")
        ira.await_rows("[+] In the room: Zoe, Max, Ira", "... one", "... two", "> |")
        assert ira.look("... one") == DIM
        ira.type("three")
        ira.await_rows("... one", "... two", "> three|")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "Ira: one", "Ira: two", "> three|")


def test_own_message_stands_in_its_place_among_those_of_others(room: Room) -> None:
    ira = room.ira()
    with frozen(room.server):
        room.zoe.type("I was first")
        await_condition(lambda: room.zoe.unread_input() == 0)
        ira.enter("I was second")
        ira.await_rows("... I was second", "> |")
    ira.await_screen("Zoe: I was first")
    ira.await_screen("Ira: I was second")
    ira.await_rows("> |")
    assert not any(line.startswith("...") for line in ira.lines())


def test_of_many_messages_under_way_the_first_are_shown(room: Room) -> None:
    ira = room.ira()
    lines = [f"line {number}" for number in range(PENDING_ROWS + 2)]
    with frozen(room.server):
        ira.enter(*lines)
        shown = [f"... {line}" for line in lines[:PENDING_ROWS]]
        ira.await_rows("[+] In the room: Zoe, Max, Ira", *shown, "... and 2 more", "> |")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", *(f"Ira: {line}" for line in lines), "> |")


def test_message_under_way_takes_one_row(room: Room) -> None:
    ira = room.ira(columns=40)
    with frozen(room.server):
        ira.enter("/me " + "waves " * 10)
        ira.paste("one\ntwo")
        ira.key("Enter")
        ira.enter("日本語" * 10)
        ira.await_rows(
            "... * waves waves waves waves waves wa…",
            "... one\\ntwo",
            "... 日本語日本語日本語日本語日本語日本…",
            "> |",
        )
        ira.type("half")
        ira.await_rows("... one\\ntwo", "... 日本語日本語日本語日本語日本語日本…", "> half|")
    ira.until(lambda: not any(line.startswith("...") for line in ira.lines()))
    ira.await_rows("> half|")


def test_lost_connection_shows_in_the_prompt_until_it_is_back(desk: Desk, stage: Stage) -> None:
    server, port = stage.server()
    ira = desk.window(desk.command(port))
    ira.await_rows("[+] In the room: Ira", "> |")
    ira.type("half")
    ira.await_rows("> half|")
    server.signal(signal.SIGKILL)
    server.wait()
    ira.await_rows("(offline) > half|")
    assert ira.look("trying to get it back.") == Look("red")
    ira.enter(" a thought", "another")
    ira.await_rows("... half a thought", "... another", "(offline, 2 waiting) > |")
    ira.type("more")
    ira.await_rows("... another", "(offline, 2 waiting) > more|")
    stage.server("--port", str(port))
    ira.await_rows("Ira: half a thought", "Ira: another", "> more|")
    assert any(line.startswith("[+] The connection is back") for line in ira.lines())


def test_search_goes_on_when_the_connection_is_lost(desk: Desk, stage: Stage) -> None:
    server, port = stage.server()
    ira = desk.window(desk.command(port))
    ira.await_rows("> |")
    ira.enter("first thing", "second thing")
    ira.await_rows("Ira: first thing", "Ira: second thing", "> |")
    ira.key("C-r")
    ira.type("fir")
    ira.await_rows("(reverse-i-search)`fir': |first thing")
    server.signal(signal.SIGKILL)
    ira.await_screen("trying to get it back.")
    ira.await_rows("(reverse-i-search)`fir': |first thing")
    ira.type("s")
    ira.await_rows("(reverse-i-search)`firs': |first thing")
    ira.key("Enter")
    ira.await_rows("... first thing", "(offline, 1 waiting) > |")


def test_commands_are_obeyed_while_the_connection_is_lost(desk: Desk, stage: Stage) -> None:
    server, port = stage.server()
    ira = desk.window(desk.command(port))
    ira.await_rows("> |")
    server.signal(signal.SIGKILL)
    ira.await_rows("(offline) > |")
    ira.enter("/bell off")
    ira.await_rows("[+] The bell is silent.", "(offline) > |")
    ira.enter("EXIT")
    assert ira.end() == 0
    assert not any("offline" in line for line in ira.lines())


# -- colours


def test_same_name_has_the_same_colour(room: Room) -> None:
    ira = room.ira()
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> |")
    colour = ira.look("Zoe:")
    room.zoe.type("Ho")
    ira.await_rows("Zoe: Ho", "> |")
    assert ira.look("Zoe:") == colour
    assert ira.look("Ho") == PLAIN
    assert colour.colour not in ("default", "red")
    assert not colour.bold
    other = room.start(rows=100, name="Ana")
    other.await_rows("> |")
    room.zoe.type("Hi again")
    other.await_rows("Zoe: Hi again", "> |")
    assert other.look("Zoe:") == colour


def test_status_is_dim_and_trouble_is_red(room: Room) -> None:
    ira = room.ira()
    assert ira.look("[+] In the room: Zoe, Max, Ira") == DIM
    assert ira.look("> ") == PLAIN
    ira.enter("/wibble")
    ira.await_screen("[!] Unknown command")
    assert ira.look("[!] Unknown command: /wibble;") == Look("red")
    assert ira.look("slash.") == Look("red")


def test_time_is_dim(room: Room) -> None:
    ira = room.ira("--time", "at noon")
    room.zoe.type("Hi")
    ira.await_rows("at noon Zoe: Hi", "> |")
    assert ira.look("at noon") == DIM


def see_everything(room: Room, window: Window) -> None:
    room.zoe.type("Hi, Ira")
    window.await_screen("Zoe: Hi, Ira")
    with frozen(room.server):
        window.enter("/wibble", "Hi")
        window.await_rows("... Hi", "> |")


@pytest.mark.parametrize(
    ("when", "no_color"), [("auto", "1"), ("never", "")], ids=["NO_COLOR", "never"]
)
def test_without_colours_everything_is_plain(room: Room, when: str, no_color: str) -> None:
    ira = room.ira("--color", when, NO_COLOR=no_color)
    see_everything(room, ira)
    assert ira.all_looks() == {PLAIN}
    assert not re.search(rb"\x1b\[[0-9;]*m", ira.written)


def test_colours_can_be_had_against_the_setting(room: Room) -> None:
    ira = room.ira("--color", "always", NO_COLOR="1")
    see_everything(room, ira)
    assert ira.look("... Hi") == DIM
    assert ira.look("Hi, Ira").bold


def test_plain_pipe_has_colours_only_when_they_are_asked_for(room: Room) -> None:
    def seen(*arguments: str) -> str:
        piped = room.stage.client(room.house.port, "Pia", *arguments)
        piped.expect("In the room: ", "\n")
        piped.type("EXIT")
        return piped.end().out

    assert "\x1b" not in seen()
    assert "\x1b[2m" in seen("--color", "always")


# -- how messages look


def test_several_lines_of_one_message_are_indented(room: Room) -> None:
    ira = room.ira()
    other = room.start(rows=100, name="Ana")
    other.await_rows("> |")
    other.paste("one\nZoe: two\n[!] three")
    other.key("Enter")
    ira.await_rows("Ana: one", "    Zoe: two", "    [!] three", "> |")


def test_long_lines_are_wrapped_at_words(room: Room) -> None:
    ira = room.ira(columns=30)
    room.zoe.type("the quick brown fox jumps over the lazy dog and runs away")
    ira.await_rows(
        "Zoe: the quick brown fox jumps",
        "    over the lazy dog and runs",
        "    away",
        "> |",
    )


def test_line_that_just_fits_is_not_wrapped(room: Room) -> None:
    ira = room.ira(columns=30)
    room.zoe.type("1234567890 1234567890 1234")
    ira.await_rows("Zoe: 1234567890 1234567890", "    1234", "> |")
    room.zoe.type("1234567890 12345678901234")
    ira.await_rows("Zoe: 1234567890 12345678901234", "> |")


def test_word_longer_than_a_row_is_not_torn(room: Room) -> None:
    ira = room.ira(columns=40)
    link = "https://example.org/" + "x" * 50
    room.zoe.type(f"see {link} there")
    ira.await_rows("    there", "> |")
    ira.await_rows("> |")
    assert link in "".join(ira.lines())


def test_wide_characters_of_a_message_are_wrapped_where_they_end(room: Room) -> None:
    ira = room.ira(columns=40)
    room.zoe.type(" ".join(["日本語"] * 8))
    ira.await_rows("Zoe: 日本語 日本語 日本語 日本語 日本語", "    日本語 日本語 日本語", "> |")


@pytest.mark.parametrize(
    ("time_format", "pattern"),
    [
        ("%H:%M", r"[0-2][0-9]:[0-5][0-9] Zoe: Hi"),
        ("%Y-%m-%d %H:%M:%S", r"20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} Zoe: Hi"),
        ("", "Zoe: Hi"),
    ],
)
def test_time_is_shown_as_it_was_asked_for(room: Room, time_format: str, pattern: str) -> None:
    ira = room.ira("--time", time_format)
    room.zoe.type("Hi")
    ira.await_screen("Zoe: Hi")
    ira.await_rows("> |")
    assert re.fullmatch(pattern, ira.lines()[-2])


def test_control_characters_of_others_act_on_nothing(room: Room) -> None:
    ira = room.ira()
    room.zoe.type("\x1b[2J\x1b]2;gotcha\x07\x07")
    ira.await_rows(r"Zoe: \x1b[2J\x1b]2;gotcha\x07\x07", "> |")
    assert (ira.title, ira.bells) == (TITLE, 0)


# -- being spoken to


def test_mention_is_bold_rings_and_counts_in_the_title(room: Room) -> None:
    ira = room.ira()
    room.zoe.type("Hi, ira!")
    ira.await_rows("Zoe: Hi, ira!", "> |")
    assert ira.look("Hi, ira!") == Look(bold=True)
    assert (ira.title, ira.bells) == ("(1) chat: Ira", 1)
    room.zoe.type("Irate, are we?", "Ira")
    ira.await_rows("Zoe: Irate, are we?", "Zoe: Ira", "> |")
    assert ira.look("Irate, are we?") == PLAIN
    assert ira.title == "(2) chat: Ira"
    ira.type("x")
    ira.await_rows("> x|")
    assert ira.title == TITLE
    room.zoe.type("Ira?")
    ira.await_rows("Zoe: Ira?", "> x|")
    assert ira.title == "(1) chat: Ira"


def test_many_mentions_ring_once_a_second_and_change_the_title_once_a_turn() -> None:
    clock = FakeClock()
    mentions = Mentions(clock, has_title=True)

    def hear(count: int, *, bell: bool = True) -> bytes:
        for _ in range(count):
            mentions.add()
        return mentions.tell(lambda number: b"%d" % number, bell=bell)

    assert hear(0) == b""
    assert hear(2000) == b"\a\x1b[22;2t\x1b]2;2000\a"
    assert hear(0) == b""
    clock.advance(0.9)
    assert hear(1) == b"\x1b]2;2001\a"
    clock.advance(0.1)
    assert hear(1) == b"\a\x1b]2;2002\a"
    assert mentions.forget() == b"\x1b[23;2t"
    assert mentions.forget() == b""
    clock.advance(1.0)
    assert hear(1, bell=False) == b"\x1b[22;2t\x1b]2;1\a"


def test_message_of_very_many_rows_is_folded_until_it_is_asked_for(room: Room) -> None:
    ira = room.ira(rows=100)
    other = room.start(rows=100, name="Ana")
    other.await_rows("> |")
    lines = [str(number) for number in range(60)]
    other.paste("\n".join(lines))
    other.key("Enter")
    other.enter("y")
    fold = "[+] 40 more lines of this; /more 1 shows the whole."
    for window in (ira, other):
        window.await_rows("Ana: 0", *(f"    {line}" for line in lines[1:20]), fold, "> |")
    assert ira.look(fold) == DIM
    ira.enter("/more")
    ira.await_rows(fold, "Ana: 0", *(f"    {line}" for line in lines[1:]), "> |")


@pytest.mark.parametrize("blanks", ["\t", " ", "\u00a0", "\u0301\u0316"])
def test_message_that_is_dear_to_break_holds_up_nothing(room: Room, blanks: str) -> None:
    ira = room.ira()
    room.zoe.type("a" + blanks * (16_000 // len(blanks.encode())), "Hi")
    ira.await_screen("Zoe: Hi")
    ira.type("x")
    ira.await_rows("Zoe: Hi", "> x|")


def test_title_is_given_back_at_the_end(room: Room) -> None:
    ira = room.ira()
    room.zoe.type("Ira", "Ira")
    ira.await_rows("Zoe: Ira", "Zoe: Ira", "> |")
    assert ira.title == "(2) chat: Ira"
    ira.signal(signal.SIGTERM)
    assert ira.end() == 0
    assert ira.title == TITLE


def test_title_is_given_back_while_suspended(room: Room) -> None:
    shell = room.shell(rows=40)
    room.ira_in(shell)
    shell.await_rows("> |")
    room.zoe.type("Ira")
    shell.await_rows("Zoe: Ira", "> |")
    shell.key("C-z")
    shell.await_rows("$ |")
    assert shell.title == TITLE


def test_own_message_with_the_own_name_does_not_ring(room: Room) -> None:
    ira = room.ira()
    ira.enter("I am Ira")
    ira.await_rows("Ira: I am Ira", "> |")
    assert (ira.title, ira.bells) == (TITLE, 0)
    assert ira.look("I am Ira") == PLAIN


def test_terminal_without_a_title_gets_none(room: Room) -> None:
    ira = room.ira(TERM="linux")
    room.zoe.type("Ira")
    ira.await_rows("Zoe: Ira", "> |")
    assert (ira.title, ira.bells) == (TITLE, 1)
    assert b"\x1b]" not in ira.written


def test_bell_can_be_silenced(room: Room) -> None:
    ira = room.ira()
    ira.enter("/bell off")
    ira.await_rows("[+] The bell is silent.", "> |")
    room.zoe.type("Ira")
    ira.await_rows("Zoe: Ira", "> |")
    assert (ira.title, ira.bells) == ("(1) chat: Ira", 0)
    ira.enter("/bell on")
    ira.await_rows("[+] The bell rings when your name is said.", "> |")
    room.zoe.type("Ira")
    ira.await_rows("Zoe: Ira", "> |")
    assert ira.bells == 1
    ira.enter("/bell")
    ira.await_rows("[+] The bell is on; /bell off silences it.", "> |")


# -- commands


def test_what_one_does_is_told(room: Room) -> None:
    ira = room.ira()
    ira.enter("/me waves")
    ira.await_rows("[+] In the room: Zoe, Max, Ira", "* Ira waves", "> |")
    room.zoe.expect("* Ira waves\n")
    ira.enter("/me")
    ira.await_rows("[!] /me needs a text.", "> |")


def test_ignored_member_is_not_shown(room: Room) -> None:
    ira = room.ira()
    ira.enter("/ignore zoe")
    ira.await_rows("[+] Ignored: Zoe", "> |")
    room.zoe.type("Ira, can you hear me?")
    room.max.expect("Zoe: Ira, can you hear me?\n")
    room.max.type("I can")
    ira.await_rows("[+] Ignored: Zoe", "Max: I can", "> |")
    assert (ira.title, ira.bells) == (TITLE, 0)
    ira.enter("/ignore")
    ira.await_rows("[+] Ignored: Zoe", "> |")
    ira.enter("/unignore ZOE")
    ira.await_rows("[+] Nobody is ignored.", "> |")
    room.zoe.type("And now?")
    ira.await_rows("Zoe: And now?", "> |")


def test_who_lists_the_members(room: Room) -> None:
    ira = room.ira(columns=120)
    ira.enter("/who")
    ira.await_rows("> |")
    ira.await_screen(FINGERPRINTS["Ira"])
    count, *members = ira.lines()[-5:-1]
    assert count == "[+] In the room: 3"
    time = r"[0-9-]{10} [0-9:]{8}"
    for line, name in zip(members, ("Zoe", "Max", "Ira (you)"), strict=True):
        assert re.fullmatch(rf"\[\+\] {re.escape(name)}, since {time}, SHA256:.{{43}}", line)
    assert members[0].endswith(FINGERPRINTS["Zoe"])
    assert members[2].endswith(FINGERPRINTS["Ira"])


def test_security_holds_the_fingerprints(room: Room) -> None:
    ira = room.ira(columns=120)
    ira.enter("/security")
    ira.await_screen(f"[+] {FINGERPRINTS['Ira']} Ira (you)")
    assert f"[+] {FINGERPRINTS['server']} the server" in ira.lines()
    assert f"[+] {FINGERPRINTS['Zoe']} Zoe" in ira.lines()


def test_clear_leaves_the_prompt_alone_at_the_top(room: Room) -> None:
    ira = room.ira()
    ira.enter("/clear")
    ira.until(lambda: ira.rows() == ["> |"])
    assert ira.cursor == (2, 0)
    room.zoe.type("Hi")
    ira.until(lambda: ira.rows() == ["Zoe: Hi", "> |"])


def test_clear_of_the_editor_leaves_the_line_alone_at_the_top(room: Room) -> None:
    ira = room.ira()
    ira.type("half")
    ira.key("C-l")
    ira.until(lambda: ira.rows() == ["> half|"])
    room.zoe.type("Hi")
    ira.until(lambda: ira.rows() == ["Zoe: Hi", "> half|"])


def test_clear_keeps_what_is_under_way(room: Room) -> None:
    ira = room.ira()
    with frozen(room.server):
        ira.enter("one", "/clear")
        ira.until(lambda: ira.rows() == ["... one", "> |"])
    ira.until(lambda: ira.rows() == ["Ira: one", "> |"])


def test_clear_of_the_editor_keeps_what_is_under_way(room: Room) -> None:
    ira = room.ira()
    with frozen(room.server):
        ira.enter("one")
        ira.await_rows("... one", "> |")
        ira.key("C-l")
        ira.type("x")
        ira.await_rows("> x|")
    ira.until(lambda: ira.rows() == ["Ira: one", "> x|"])


def test_help_lists_the_commands(room: Room) -> None:
    ira = room.ira()
    ira.enter("/help")
    ira.await_screen("[+] /quit            leave")
    ira.await_rows("> |")


def test_list_of_all_completions_stands_above_the_line(room: Room) -> None:
    ira = room.ira()
    ira.type("/\x1b?")
    ira.await_screen("/security")
    ira.await_rows("> /|")
    room.zoe.type("Hi")
    ira.await_rows("Zoe: Hi", "> /|")
    assert any("/security" in line for line in ira.lines())


def test_exit_leaves_nothing_of_the_prompt(room: Room) -> None:
    ira = room.ira()
    ira.enter("Hi")
    ira.await_rows("Ira: Hi", "> |")
    ira.enter("EXIT")
    assert ira.end() == 0
    assert ira.rows()[-2:] == ["Ira: Hi", "|"]
    assert not any(line.startswith(">") for line in ira.lines())


def test_exit_right_after_a_message_leaves_when_it_is_acknowledged(room: Room) -> None:
    ira = room.ira()
    with frozen(room.server):
        ira.enter("one", "EXIT")
        ira.await_screen("... one")
    assert ira.end() == 0
    assert ira.rows()[-3:] == ["[+] In the room: Zoe, Max, Ira", "Ira: one", "|"]


def pending_left_behind(ira: Window, marked: str) -> None:
    """What was under way stands there at the end, whole, and once."""
    rows = ira.rows()
    first = rows.index(f"[!] {marked}: {'x' * 40}")
    assert rows[first + 1 : first + 4] == [f"[!] {marked}: one", "    two", rows[-2]]
    assert rows[-2:] == ["chat: error: 2 messages were not acknowledged", "|"]


@pytest.mark.parametrize("key", ["C-c", "C-d"])
def test_what_was_not_acknowledged_stays_on_the_screen(room: Room, key: str) -> None:
    ira = room.ira()
    with frozen(room.server):
        ira.enter("x" * 40)
        ira.paste("one\ntwo")
        ira.key("Enter")
        ira.await_screen("... one")
        ira.key(key)
        if key == "C-c":
            ira.await_screen("once more leaves")
            ira.key(key)
        ira.await_screen("leaves at once")
        ira.key("C-c")
        assert ira.end() == 1
    pending_left_behind(ira, "Not acknowledged")
    room.server.expect("Ira left the server")


def test_what_was_not_sent_stays_on_the_screen(desk: Desk, stage: Stage) -> None:
    server, port = stage.server()
    ira = desk.window(desk.command(port))
    ira.await_rows("[+] In the room: Ira", "> |")
    server.signal(signal.SIGKILL)
    server.wait()
    ira.await_rows("(offline) > |")
    ira.enter("x" * 40)
    ira.paste("one\ntwo")
    ira.key("Enter")
    ira.await_rows("... one\\ntwo", "(offline, 2 waiting) > |")
    ira.enter("/quit")
    assert ira.end() == 1
    pending_left_behind(ira, "Not sent")


# -- what takes its time


@contextlib.contextmanager
def silent_server(backlog: int) -> Iterator[int]:
    """The port of a server that never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as listener:
        yield int(listener.getsockname()[1])


@contextlib.contextmanager
def full_server() -> Iterator[int]:
    """The port of a server that takes no connection any more, and refuses none."""
    with silent_server(0) as port, contextlib.ExitStack() as waiting:
        for _ in range(3):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port


def await_turning_spinner(window: Window, activity: str = "") -> None:
    seen: set[str] = set()

    def has_turned() -> bool:
        seen.update(line for line in window.lines() if SPINNER.match(line) and activity in line)
        return len(seen) > 2

    window.until(has_turned, f"a spinner with {activity!r}")


def test_spinner_turns_while_the_connection_is_awaited(desk: Desk) -> None:
    with full_server() as port:
        ira = desk.window(desk.command(port))
        await_turning_spinner(ira, f"Connecting to 127.0.0.1, port {port}")
        assert len(ira.lines()) == 1
        ira.signal(signal.SIGTERM)
        assert ira.end() == 1
        assert ira.rows() == ["chat: error: interrupted", "|"]


def test_interrupt_leaves_nothing_of_the_spinner(desk: Desk) -> None:
    with full_server() as port:
        ira = desk.window(desk.command(port))
        await_turning_spinner(ira, "Connecting")
        ira.key("C-c")
        assert ira.end() == 1
        assert not any(SPINNER.search(line) for line in ira.lines())


def test_spinner_stays_at_the_left_when_something_is_typed_too_early(desk: Desk) -> None:
    with full_server() as port:
        ira = desk.window(desk.command(port))
        await_turning_spinner(ira, "Connecting")
        ira.type("abc")
        ira.await_screen("abc")
        await_turning_spinner(ira, "Connecting")
        assert len([line for line in ira.lines() if SPINNER.search(line)]) == 1


def test_spinner_turns_while_the_server_says_nothing(desk: Desk) -> None:
    with silent_server(5) as port:
        ira = desk.window(desk.command(port))
        ira.await_screen("Getting public key from the server")
        await_turning_spinner(ira)


def test_no_spinner_turns_in_a_pipe(desk: Desk, stage: Stage) -> None:
    with full_server() as port:
        piped = stage.client(port, "Pia")
        ira = desk.window(desk.command(port))
        # By the time that it turns here, it would in the pipe.
        await_turning_spinner(ira, "Connecting")
        await_turning_spinner(ira, "Connecting")
        piped.signal(signal.SIGTERM)
        assert piped.end() == (1, "", "chat: error: interrupted\n")


def test_spinner_of_a_terminal_without_unicode_is_plain(desk: Desk) -> None:
    with full_server() as port:
        ira = desk.window(
            desk.command(port), LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
        )
        ira.until(lambda: any(re.match(r"[|/\\-] Connecting", line) for line in ira.lines()))


def test_name_server_that_is_silent_is_shown_and_left_at_once(desk: Desk) -> None:
    names = NameServer(desk.home, "silence")
    keys = desk.stage.keys("client", "ira")
    ira = desk.window([*names.chat, "client", "chat.example", "9443", "Ira", *keys])
    await_turning_spinner(ira, "Looking up chat.example")
    ira.key("C-c")
    ira.end()
    assert not any(SPINNER.search(line) for line in ira.lines())
    with pytest.raises(ProcessLookupError):
        os.kill(names.asked_by, 0)


def test_person_types_while_the_name_server_is_silent(desk: Desk) -> None:
    """What is typed is drawn, and leaving takes no time either."""
    server, port = desk.stage.server()
    names = NameServer(desk.home, "127.0.0.1")
    keys = desk.stage.keys("client", "ira")
    ira = desk.window([*names.chat, "client", "chat.example", str(port), "Ira", *keys])
    ira.await_screen("[+] In the room: Ira")
    asked_by = names.asked_by
    names.answer("silence")
    server.kill()
    await_condition(lambda: names.asked_by != asked_by)
    ira.type("Hello")
    ira.key("Enter")
    ira.await_rows("... Hello", "(offline, 1 waiting) > |")
    ira.key("C-c")
    ira.await_screen("Ctrl-C once more leaves")
    ira.key("C-c")
    assert ira.end() == 1
