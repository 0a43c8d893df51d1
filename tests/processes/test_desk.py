"""The operator at a real terminal: what stands on the screen when commands are typed, and when
things happen.

What commands do is tested without a terminal (`tests/server/test_console.py`), and what any
terminal needs with a client (`test_screen.py`).
"""

import os
import re
import shlex
import signal
import stat
import sys
import termios
from collections.abc import Callable
from functools import partial

import pytest

from tests.processes.test_screen import Desk, desk, interrupt_until_it_ends, resize
from tests.support.processes import CHAT, ROOT, Stage
from tests.support.terminals import Window

__all__ = ["desk"]

READY = "[+] For a private room: "
NOBODY = "[+] Nobody is here."
AGAIN = "[+] Ctrl-C once more ends the server, and so does TERMINATE."
CTRL_D = "[+] Ctrl-D does not end the server; TERMINATE or Ctrl-C does."
ENDED = ["[+] All connections had been terminated", "[+] Server is shut down"]


def command(stage: Stage, *arguments: str) -> list[str]:
    return [*CHAT, "server", "--port", "0", *stage.keys("server", "server"), *arguments]


def operator(desk: Desk, *arguments: str, columns: int = 80, rows: int = 24) -> tuple[Window, int]:
    """The operator's window, when the server is ready; and its port."""
    window = desk.window(command(desk.stage, *arguments), columns, rows)
    port = port_of(window)
    window.until(lambda: window.rows()[-1:] == ["> |"])
    return window, port


def port_of(window: Window) -> int:
    ready = re.compile(rb"port: (\d+)\r?\n.*" + re.escape(READY.encode()), re.S)
    window.until(lambda: ready.search(window.written), "a server")
    found = ready.search(window.written)
    assert found
    return int(found[1])


def shows(window: Window, text: str, times: int) -> bool:
    return str(window).count(text) == times


def stand_last(window: Window, text: str, line: str) -> bool:
    """Whether `line` is the last row, and `text` ends the row above it."""
    *_, above, last = window.rows()
    return above.endswith(text) and last == line


def is_cleared(window: Window) -> bool:
    return window.rows() == ["$ |"]


# -- typing while things happen


def test_what_happens_stands_above_the_command_that_is_typed(desk: Desk) -> None:
    window, port = operator(desk)
    member = desk.stage.member(port, "Jean Luc")
    window.await_rows("[+] Secret key had been sent to the client", "> |")
    text = "kick jean"
    for typed, char in enumerate(text, 1):
        member.type(char)
        window.type(char)
        window.until(partial(shows, window, "Message exchanged", typed))
        window.until(partial(stand_last, window, "Message exchanged", f"> {text[:typed]}|"))
    window.type(" l")
    window.key("Tab", "Tab")
    window.await_rows("> kick Jean Luc|")
    window.key("Enter")
    window.await_rows(
        "> kick Jean Luc", "[!] Jean Luc left the server: put out by the server's operator.", "> |"
    )
    assert member.end().status == 3
    window.enter("terminate")
    assert window.end() == 0
    assert window.rows()[-4:] == ["> terminate", *ENDED, "|"]


def test_commands_are_completed_called_back_and_pasted(desk: Desk) -> None:
    window, _ = operator(desk)
    window.type("roo")
    window.key("Tab", "Enter")
    window.await_rows("> ROOMS", "[+] The open room: 0", "> |")
    window.paste("who\n\nbans", "Enter")
    window.await_rows("> who", NOBODY, "> bans", "[+] Nobody is banned.", "> |")
    window.key("Up", "Up", "Enter")
    window.await_rows("> ROOMS", "[+] The open room: 0", "> |")
    window.type("\x16\x1b[2J")
    window.key("Enter")
    window.await_rows(
        r"> \x1b[2J", r"[!] Unknown command: \x1b[2J. HELP lists the commands.", "> |"
    )
    window.enter("help")
    window.await_rows("[+] Ctrl-Z             stop the server, for everybody, until fg", "> |")


def test_lines_are_broken_at_blanks_and_commands_to_copy_are_not(desk: Desk) -> None:
    window, port = operator(desk)
    guest = desk.stage.member(port, "A name of many words")
    window.await_rows("[+] Secret key had been sent to the client", "> |")
    window.enter("who")
    fingerprint = re.compile(r"    SHA256:[\w+/]{43}, from 127\.0\.0\.1:\d+")
    window.until(lambda: any(map(fingerprint.fullmatch, window.lines())))
    assert b" --fingerprint SHA256:" in window.written
    guest.kill()


def test_key_for_an_editor_does_nothing_here(desk: Desk) -> None:
    window, _ = operator(desk)
    window.type("who")
    window.key("C-x", "C-e")
    window.type(" ")
    window.await_rows("> who |")
    window.key("Enter")
    window.await_rows("> who", NOBODY, "> |")


def test_ctrl_d_and_a_first_ctrl_c_end_nothing(desk: Desk) -> None:
    window, _ = operator(desk)
    window.key("C-d")
    window.await_rows(CTRL_D, "> |")
    window.type("half")
    window.await_rows("> half|")
    window.key("C-c")
    window.await_rows(CTRL_D, "> |")
    for _ in range(2):
        window.key("C-d")
        window.enter("WHO")
        window.await_rows(CTRL_D, "> WHO", NOBODY, "> |")
    window.type("x")
    window.await_rows("> x|")
    # One that drops a command has told nothing, so the next one does not end the server either.
    window.key("C-c")
    window.await_rows("> |")
    window.key("C-c")
    window.await_rows(AGAIN, "> |")
    interrupt_until_it_ends(window)
    assert window.end() == 0
    assert window.rows()[-3:] == [*ENDED, "|"]


@pytest.mark.parametrize(("columns", "rows"), [(10, 3), (20, 4)])
def test_small_window_that_changes_its_size_leaves_the_line_whole(
    desk: Desk, columns: int, rows: int
) -> None:
    window, port = operator(desk)
    window.resize(columns, rows)
    guest = desk.stage.member(port, "Zoe")
    window.type("say 12345")
    guest.type(*["Hi"] * 30)
    # Where the rows of it break goes by how many messages were counted together.
    window.until(lambda: b"exchanged" in re.sub(rb"\x1b\[[\d;?]*[A-Za-z]|\s", b"", window.written))
    window.resize(80, 24)
    window.await_rows("> say 12345|")
    window.resize(columns, rows)
    guest.type("Ho")
    window.key("Enter")
    guest.expect("The server says: 12345\n")
    window.await_rows("> |")
    resize(window, 80, 24)
    window.enter("who")
    window.await_screen("[+] In the room: 1")


# -- an output that nobody takes


def test_output_that_is_held_stops_neither_the_server_nor_its_end(desk: Desk) -> None:
    window, port = operator(desk)
    assert window.settings()[0] & termios.IXON
    window.key("C-s")
    guests = [desk.stage.member(port, name) for name in ("Zoe", "Max")]
    guests[0].type("Can you hear me?")
    guests[1].expect("Can you hear me?\n")
    window.key("C-q")
    window.await_screen("Message exchanged")
    window.await_rows("> |")
    window.key("C-s")
    # SIGTERM would have the guests wait for the server.
    window.signal(signal.SIGQUIT)
    for guest in guests:
        guest.end()
    assert window.end() == 0


# -- the terminal


def terminate(window: Window) -> None:
    window.enter("TERMINATE")


WAYS_TO_END: dict[str, Callable[[Window], None]] = {
    "TERMINATE": terminate,
    "SIGTERM, half a line": lambda window: window.signal_foreground(signal.SIGTERM),
    "Ctrl-C": interrupt_until_it_ends,
    "Ctrl-backslash": lambda window: window.key("C-\\"),
}


def test_end_leaves_the_terminal_as_it_was_found(desk: Desk) -> None:
    shell = desk.shell()
    for name, end in WAYS_TO_END.items():
        window = shell.run(command(desk.stage))
        window.await_screen(READY)
        window.await_rows("> |")
        if "half" in name:
            window.type("half ")
            # What the server has not read is the shell's, which shows it.
            window.await_rows("> half |")
        end(window)
        window.await_rows(*ENDED, "status 0", "$ |")
        window.enter("clear")
        window.until(partial(is_cleared, window))
        shell.assert_terminal_is_as_it_was()


def test_fault_that_ends_the_server_leaves_the_terminal_as_it_was_found(desk: Desk) -> None:
    shell = desk.shell()
    window = shell.run(
        changed(
            desk,
            "import chat.server.server\n"
            "def on_fault(self, answering, fault):\n"
            "    raise fault\n"
            "chat.server.server.Server.on_fault = on_fault\n"
            "chat.server.server.Server.say = None\n",
        )
    )
    window.await_rows("> |")
    window.enter("say it")
    window.await_rows("TypeError: 'NoneType' object is not callable", "status 1", "$ |")
    shell.assert_terminal_is_as_it_was()


def changed(desk: Desk, change: str) -> list[str]:
    """The server, in which something is otherwise."""
    script = desk.home / "changed.py"
    main = "import sys, chat.__main__\nsys.exit(chat.__main__.main())\n"
    script.write_text(f"{change}\n{main}")
    arguments = command(desk.stage)[len(CHAT) :]
    return ["env", f"PYTHONPATH={ROOT}", sys.executable, str(script), *arguments]


def test_suspended_server_comes_back_with_its_line(desk: Desk) -> None:
    shell = desk.shell()
    window = shell.run(command(desk.stage), end="")
    port = port_of(window)
    window.await_rows("> |")
    for round_ in range(2):
        window.type("w")
        window.await_rows(f"> {'w' * (round_ + 1)}|")
        window.key("C-z")
        window.await_rows("$ |")
        shell.assert_terminal_is_as_it_was()
        window.enter("fg")
        window.await_rows(f"> {'w' * (round_ + 1)}|")
    desk.stage.member(port, "Zoe")
    window.await_rows("[+] Secret key had been sent to the client", "> ww|")


def test_server_whose_window_is_closed_in_the_background_serves_on(desk: Desk) -> None:
    window = desk.window(["bash", "--norc", "--noprofile", "-i"])
    window.type(f"{shlex.join(command(desk.stage))} & disown; echo pid $! .\n")
    port = port_of(window)
    found = re.search(r"pid (\d+) \.", str(window))
    assert found
    pid = int(found[1])
    desk.stage.at_the_end(lambda: os.kill(pid, signal.SIGKILL))
    window.close()
    guest = desk.stage.member(port, "Zoe")
    caller = desk.stage.start(
        *("send", "127.0.0.1", str(port), "Max", "Anybody?", *desk.stage.keys("client", "other"))
    )
    assert caller.end().status == 0
    guest.expect("Max: Anybody?\n")
    os.kill(pid, signal.SIGINT)
    assert "[!] The server has shut down." in guest.end().out


# -- the history


def test_commands_are_there_in_the_next_run(desk: Desk) -> None:
    history = desk.home / ".local/state/chat/server_history"
    for rows in (["> |"], ["> who|"]):
        window, _ = operator(desk)
        window.key("Up")
        window.await_rows(*rows)
        window.key("C-u")
        window.enter("bans", " rooms", "who")
        window.await_rows("> who", NOBODY, "> |")
        window.signal(signal.SIGTERM)
        assert window.end() == 0
    assert history.read_text().splitlines() == ["bans", "who"] * 2
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert not desk.history.exists()


def test_without_history_no_command_is_kept(desk: Desk) -> None:
    window, _ = operator(desk, "--no-history")
    window.enter("who")
    window.key("Up")
    window.await_rows("> who|")
    window.signal(signal.SIGTERM)
    assert window.end() == 0
    assert not desk.history.parent.exists()


# -- terminals that can less, and none


def test_python_without_readline_gets_plain_lines_and_is_told_what_helps(desk: Desk) -> None:
    missing = "import sys\nsys.modules.update(dict.fromkeys(['gnureadline', 'readline']))"
    window = desk.window(changed(desk, missing), columns=200)
    window.await_screen(READY)
    assert window.lines()[0] == (
        "[+] Plain input: this Python has no GNU readline: "
        f"{sys.executable} -m pip install gnureadline brings one."
    )
    window.enter("who")
    window.await_rows("who", NOBODY, "|")
    window.key("C-c")
    assert window.end() == 0


def test_server_without_a_terminal_loads_no_editor(desk: Desk) -> None:
    look = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*(one for one in sys.modules if 'chat.ui' in one), "
        "'readline' in sys.modules))\n"
    )
    server = desk.stage.run(changed(desk, look))
    server.expect(READY)
    server.type("TERMINATE")
    assert server.end().out.endswith(f"{ENDED[-1]}\nFalse\n")
