"""The person's own editor: it has the terminal, the room goes on, and nothing is lost."""

import os
import re
import shlex
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chat.limits import CONSOLE_QUEUE_BYTES, EDITED_BYTES
from tests.processes import test_screen
from tests.support.processes import Stage, await_condition
from tests.support.terminals import Window

KEPT = "[+] What you were typing is kept: the up key brings it back."
AS_IT_WAS = "[+] The line is as it was."


class House:
    """A server, and Zoe, who talks."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.server, self.port = stage.server("--grace", "0.1")
        self.zoe = stage.member(self.port, "Zoe", "--time", "", key="other")


class Desk(test_screen.Desk):
    """Ira at a terminal, whose editor is a script."""

    def __init__(self, house: House, folder: Path) -> None:
        super().__init__(house.stage, folder)
        self.server, self.zoe, self.port = house.server, house.zoe, house.port
        self.drafts = folder / "drafts"
        self.drafts.mkdir()
        self.gate = folder / "gate"
        os.mkfifo(self.gate)

    def ira(
        self,
        script: str = "",
        *,
        columns: int = 80,
        shell: bool = False,
        command: list[str] | None = None,
        **env: str,
    ) -> Window:
        """Ira's window, when she is in; `script` is a Python program that gets the file's name.
        `shell`: a shell has started her client. `command`: what starts it."""
        path = self.home / "editor.py"
        wait = f"def wait(): open({str(self.gate)!r}).read()"
        path.write_text(f"import os, signal, sys\n{wait}\npath = sys.argv[-1]\n{script}\n")
        env = {"EDITOR": shlex.join([sys.executable, str(path)]), **env}
        env = {"TMPDIR": str(self.drafts), "PS1": "$ ", "ENV": "", **env}
        command = command or self.command(self.port)
        start = [shutil.which("dash") or "sh", "-i"] if shell else command
        window = self.window(start, columns, 24, **env)
        if shell:
            window.await_rows("$ |")
            window.enter(shlex.join(command))
        window.await_rows("[+] In the room: Zoe, Ira", "> |")
        return window

    def go(self) -> None:
        """Let an editor go on that waits."""
        self.gate.write_bytes(b"")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Stage(tmp_path_factory.mktemp("house")) as stage:
        yield House(stage)


@pytest.fixture
def desk(house: House, tmp_path: Path) -> Iterator[Desk]:
    with closing(Desk(house, tmp_path)) as desk:
        yield desk


TELL = "text = open(path).read(); print(repr(text), flush=True)\n"


def test_line_is_edited_elsewhere_while_the_room_goes_on(desk: Desk) -> None:
    ira = desk.ira(TELL + "wait(); open(path, 'w').write('one\\r\\ntwo\\0\\n\\n')")
    settings = ira.settings()
    ira.type("Grüße")
    ira.key("C-x", "C-e")
    ira.await_screen("'Grüße\\n'")
    assert ira.settings() != settings
    assert not ira.pastes_in_brackets
    (path,) = desk.drafts.glob("*/message.txt")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    desk.zoe.type("Hello Ira", "are you there?")
    desk.server.type("WHO")
    desk.server.expect("Ira, since")
    assert "Hello" not in str(ira)
    desk.go()
    ira.await_rows("Zoe: Hello Ira", "Zoe: are you there?", "> one", "two|")
    assert ira.pastes_in_brackets
    assert list(desk.drafts.iterdir()) == []
    ira.key("Enter")
    desk.zoe.expect("Ira: one\n    two\n")


def test_terminal_tells_the_editor_nothing_and_the_desktop_waits_for_its_end(desk: Desk) -> None:
    ira = desk.ira("os.write(1, b'begun'); wait(); os.write(1, b'done')", TERM_PROGRAM="WezTerm")
    ira.key("C-x", "C-e")
    ira.await_screen("begun")
    desk.zoe.type("Hello Ira")
    desk.server.type("WHO")
    desk.server.expect("Ira, since")
    desk.go()
    ira.await_rows("Zoe: Hello Ira", "> |")
    ira.until(lambda: b"\x1b]777" in ira.written)
    on, off = b"\x1b[?1004h", b"\x1b[?1004l"
    codes = re.findall(rb"begun|done|\x1b\[\?1004.|\x1b\]777", ira.written)
    assert codes == [on, off, b"begun", b"done", on, b"\x1b]777"]


@pytest.mark.parametrize("last", ["/edit a text", "\x1bv"])
def test_editor_is_asked_for_by_a_command_and_in_vi_mode(desk: Desk, last: str) -> None:
    if last == "\x1bv":
        (desk.home / ".inputrc").write_text("set editing-mode vi\n")
    ira = desk.ira(TELL + "open(path, 'a').write('x')")
    ira.type(f"{last}\r" if last.startswith("/") else f"a text{last}")
    ira.await_rows("'a text\\n'", "> a text", "x|")


@pytest.mark.parametrize(
    ("editor", "why"),
    [
        ("no-such-editor -w", "the editor no-such-editor cannot be started: no such file"),
        ("/", "The editor / cannot be started: permission denied."),
        ("'", "The variable VISUAL cannot be understood: no closing quotation."),
    ],
)
def test_editor_that_cannot_be_started_is_told(desk: Desk, editor: str, why: str) -> None:
    ira = desk.ira(VISUAL=editor)
    ira.type("half")
    ira.key("C-x", "C-e")
    ira.await_screen(f"[!] {why[0].upper()}{why[1:]}")
    ira.await_rows("> half|")
    ira.enter(" a thought")
    desk.zoe.expect("Ira: half a thought\n")
    assert list(desk.drafts.iterdir()) == []


FAILURES = {
    "sys.exit(3)": "[!] The editor {} ended with status 3.",
    "os.kill(os.getpid(), 9)": "[!] The editor {} was ended by SIGKILL.",
    "os.kill(os.getpid(), 40)": "[!] The editor {} was ended by signal 40.",
    "os.remove(path)": "[!] What the editor wrote cannot be read: no such file or directory.",
    "os.remove(path); os.mkfifo(path)": "[!] What the editor wrote is no file: ",
    f"open(path, 'w').write('x' * {10**7})": f"[!] What the editor wrote has 10,000,000 bytes, "
    f"and a line takes {EDITED_BYTES:,}; it is in ",
}


@pytest.mark.parametrize("script", FAILURES)
def test_line_and_terminal_are_as_they_were_when_the_editor_fails(desk: Desk, script: str) -> None:
    ira = desk.ira(f"import tty; tty.setraw(0); {script}", columns=200)
    ira.type("half")
    ira.await_rows("> half|")
    settings = ira.settings()
    ira.key("C-x", "C-e")
    ira.await_rows(AS_IT_WAS, "> half|")
    (told,) = (line for line in ira.lines() if line.startswith("[!]"))
    assert told.startswith(FAILURES[script].format(os.path.basename(sys.executable)))
    assert ira.settings() == settings
    kept = list(desk.drafts.glob("*/*"))
    assert [told.endswith(f"{path}.") for path in kept] == [True] * told.count("message.txt")
    ira.enter(" a thought")
    desk.zoe.expect("Ira: half a thought\n")


def test_what_an_editor_saved_before_it_failed_can_be_called_back(desk: Desk) -> None:
    ira = desk.ira(
        "open(path, 'w').write('saved'); open(path + '.swp', 'w'); os.kill(os.getpid(), 1)"
    )
    ira.enter("/edit half")
    ira.await_screen("was ended by SIGHUP; its files are in")
    (folder,) = desk.drafts.iterdir()
    assert str(folder) in "".join(line.removeprefix("    ") for line in ira.lines())
    ira.await_rows(f"{AS_IT_WAS} What it saved can be called back with the up key.", "> |")
    ira.key("Up")
    ira.await_rows("> saved|")


@pytest.mark.parametrize(
    ("written", "line"),
    [(b"", ""), (b"\n\n", ""), (b"gr\xfc\xdfe\n", "gr\ufffd\ufffde"), (b"\xef\xbb\xbfx", "x")],
)
def test_whatever_comes_back_is_in_the_line(desk: Desk, written: bytes, line: str) -> None:
    ira = desk.ira(f"open(path, 'wb').write({written!r})")
    ira.type("half")
    ira.await_rows("> half|")
    ira.key("C-x", "C-e")
    ira.await_rows(f"> {line}|")
    if line.startswith("g"):
        ira.key("Enter")
        ira.await_screen("[+] Not sent. The up key brings it back.")
    assert list(desk.drafts.iterdir()) == []


def test_command_that_comes_back_is_obeyed_and_not_said(desk: Desk) -> None:
    ira = desk.ira("open(path, 'w').write('/msg Zoe one\\ntwo')")
    ira.key("C-x", "C-e")
    ira.await_rows("> /msg Zoe one", "two|")
    ira.key("Enter")
    desk.zoe.expect("Ira → you [private]: one\n    two\n")


# -- keys that send signals, and the end


@pytest.mark.parametrize("stop", ["os.kill(os.getpid(), signal.SIGSTOP)", "wait()"])
def test_stopping_the_editor_stops_the_client_and_both_come_back(desk: Desk, stop: str) -> None:
    """The first editor stops by itself, the second by the key."""
    ira = desk.ira(f"{TELL}{stop}\nopen(path, 'w').write('back')", shell=True)
    ira.enter("/edit half")
    ira.await_screen("'half\\n'")
    if stop == "wait()":
        ira.key("C-z")
    ira.until(lambda: ira.rows()[-1].endswith("$ |"))
    desk.zoe.type("Hello Ira")
    ira.enter("fg")
    if stop == "wait()":
        desk.go()
    ira.await_rows("Zoe: Hello Ira", "> back|")


def test_client_that_is_told_to_go_on_before_it_stops_comes_back_with_its_editor(
    desk: Desk,
) -> None:
    """The program that started it has stopped before: so the shell can give back the terminal."""
    client = desk.changed(
        "import os, signal\n"
        "from chat.ui.external import ExternalEditor\n"
        "stop = ExternalEditor._stop\n"
        "def late(self):\n"
        "    ExternalEditor._stop = stop\n"
        "    os.write(1, b'too late')\n"
        "    while not self._reactor.has_arrived(signal.SIGCONT):\n"
        # Fails where the terminal is gone.
        "        os.tcgetpgrp(0)\n"
        "    stop(self)\n"
        "ExternalEditor._stop = late\n"
    )
    command = ["sh", "-c", f"{shlex.join(client)}; true"]
    wait = "signal.sigwait([signal.SIGCONT])\nopen(path, 'w').write('back')"
    script = f"signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])\n{TELL}{wait}"
    ira = desk.ira(script, shell=True, command=command)
    ira.enter("/edit half")
    ira.await_screen("'half\\n'")
    ira.key("C-z")
    for told in ("too late", "Stopped"):
        ira.await_screen(told)
    ira.enter("fg")
    ira.await_rows("> back|")
    ira.key("Enter")
    desk.zoe.expect("Ira: back\n")


def test_client_that_is_put_out_waits_for_the_editor_and_keeps_the_draft(desk: Desk) -> None:
    ira = desk.ira(TELL + "wait(); open(path, 'w').write('saved')")
    ira.key("C-x", "C-e")
    ira.await_screen("'")
    desk.server.type("KICK Ira")
    desk.zoe.expect("Ira left the server")
    assert "put out" not in str(ira)
    desk.go()
    assert ira.end() == 3
    ira.await_rows(KEPT, "chat: error: put out by the server's operator", "|")


@pytest.mark.parametrize("heeds", [True, False])
def test_signal_that_ends_the_client_ends_the_editor(desk: Desk, heeds: bool) -> None:
    """Vim keeps what was not saved, nano saves it elsewhere, and some do not listen."""
    save = "open(path, 'w').write('saved'); sys.exit(1)"
    listen = (
        f"signal.signal(1, lambda *_: exec({save!r}))"
        if heeds
        else "signal.signal(1, signal.SIG_IGN)"
    )
    ira = desk.ira(f"signal.signal(2, signal.SIG_IGN)\n{listen}\n{TELL}while True: signal.pause()")
    ira.enter("/edit half")
    ira.await_screen("'half\\n'")
    ira.key("C-c")
    ira.signal(signal.SIGTERM)
    assert ira.end() == 0
    assert ("What it saved" in str(ira)) is heeds
    assert "half" in desk.history.read_text()
    assert ("saved" in desk.history.read_text()) is heeds


def test_flood_while_one_writes_is_shown_afterwards(desk: Desk) -> None:
    """More than is kept here waits at the server, and the connection stands."""
    ira = desk.ira(TELL + "wait()", NO_COLOR="1")
    ira.key("C-x", "C-e")
    ira.await_screen("'")
    texts = [f"{number}-" + "x" * 1_500 for number in range(1_000)]
    assert sum(map(len, texts)) > CONSOLE_QUEUE_BYTES
    desk.zoe.type(*texts, "last")
    await_condition(desk.zoe.has_done_its_input)
    desk.go()
    ira.await_rows("Zoe: last", "> |")
    shown = ira.written.replace(b"\r\n", b"")
    assert [shown.count(f"Zoe: {text}".encode()) for text in texts] == [1] * 1_000
    assert b"lost" not in shown


def test_nothing_of_it_and_no_guessing_is_imported_before_it_is_needed(stage: Stage) -> None:
    late = {"chat.ui.external", "tempfile", "difflib"}
    look = f"import chat.ui.screen, sys; print({late} & {{*sys.modules}})"
    assert stage.run([sys.executable, "-c", look]).end().out == "set()\n"
