"""The person's own editor, to which a draft is given, and which has the terminal while it runs.

Here: which program that is, the file with the draft, the child process, and what comes back. What
the line editor makes of the text is not known here. It is imported only when somebody asks for it.

The child is in our process group, as with git: the keys that send signals reach both of us. We
ignore them (`Screen`), and do what the child does: when it stops, we stop, and so the shell has the
terminal again. The loop goes on meanwhile, and SIGCHLD tells it of the child.
"""

import os
import shlex
import shutil
import signal
import stat
import tempfile
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from chat.errors import UsageError, cause_of
from chat.limits import EDITED_BYTES, LINGER_SECONDS
from chat.reactor import Reactor
from chat.ui.live import LiveRows
from chat.ui.terminal import stop_unless

_FILE = "message.txt"

_KILLED = (
    # Out of the second screen; the cursor, colours, mouse and keys as they were; below all rows.
    b"\x1b[?1047l\x1b[?25h\x1b[m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[>4m\x1b[9999;1H\n"
)
"""For the terminal after an editor that was killed, and gave nothing back (XTerm's sequences)."""


class Edited(NamedTuple):
    """What became of a draft."""

    text: str | None
    """The text from now on; None: the one that was given."""
    saved: str = ""
    """A text that was saved before the editor failed."""
    trouble: str = ""


def command_of(environ: Mapping[str, str]) -> list[str]:
    """The person's editor, and its arguments: `$VISUAL`, or else `$EDITOR`, or else vi.

    Raises:
        UsageError: there is none, or the variable cannot be understood.
    """
    for name in ("VISUAL", "EDITOR"):
        try:
            if words := shlex.split(environ.get(name, "")):
                return words
        except ValueError as exc:
            why = str(exc).lower()
            raise UsageError(f"the variable {name} cannot be understood: {why}") from exc
    if shutil.which("vi", path=environ.get("PATH")):
        return ["vi"]
    raise UsageError("there is no editor", "name one in VISUAL or EDITOR")


class ExternalEditor:
    """Gives the terminal to an editor, and takes it back when that has ended."""

    def __init__(
        self, reactor: Reactor, live: LiveRows, terminal: int, on_edited: Callable[[Edited], None]
    ) -> None:
        """`on_edited` is called when the editor has ended and the terminal is ours again."""
        self._reactor = reactor
        self._live = live
        self._terminal = terminal
        self._on_edited = on_edited
        self._draft: _Draft | None = None
        self._settings: list[Any] = []
        """Those of the terminal before the editor had it."""
        self._child = 0
        # Where it is ignored, the system would not tell how a child has ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        reactor.on_signals([signal.SIGCHLD], self._look)

    @property
    def running(self) -> bool:
        """Whether an editor has the terminal."""
        return self._draft is not None

    def begin(self, text: str, environ: Mapping[str, str]) -> None:
        """Let the person edit this text. The terminal must be ours.

        Raises:
            UsageError: no editor can be started; the terminal is still ours.
        """
        command = command_of(environ)
        try:
            draft = _Draft(command[0], text)
        except OSError as exc:
            raise UsageError(f"the text cannot be given to an editor: {cause_of(exc)}") from exc
        self._live.hand_over()
        self._settings = termios.tcgetattr(self._terminal)
        try:
            self._child = _spawn([*command, str(draft.path)], environ)
        except (OSError, ValueError) as exc:
            draft.remove()
            self._live.take_back()
            text = f"the editor {command[0]} cannot be started: {cause_of(exc)}"
            raise UsageError(text) from exc
        self._draft = draft

    def go_on(self) -> None:
        """We go on after a stop: so does the child, if only we were told to."""
        self._tell(signal.SIGCONT)

    def finish(self, *, hurried: bool) -> None:
        """It is over: wait for the editor, however long that takes, since somebody may be writing;
        or, `hurried`, end it."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, lambda number, _: self._hang_up())
        if hurried:
            self._hang_up()
        while self._draft is not None:
            self._wait(0)

    def _hang_up(self) -> None:
        """Do what a terminal does that goes away; whoever does not heed it is killed."""
        signal.signal(signal.SIGALRM, lambda number, _: self._tell(signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, LINGER_SECONDS)
        self._tell(signal.SIGHUP)
        self._tell(signal.SIGCONT)

    def _tell(self, number: int) -> None:
        if self._draft is not None:
            with suppress(ProcessLookupError):
                os.kill(self._child, number)

    def _look(self) -> None:
        """A child of ours has ended or stopped; perhaps another one."""
        if self._draft is not None:
            self._wait(os.WNOHANG)

    def _wait(self, how: int) -> None:
        """Learn what has become of the child."""
        child, status = os.waitpid(self._child, how | os.WUNTRACED)
        if not child:
            return
        if os.WIFSTOPPED(status):
            self._stop()
        else:
            self._end(os.waitstatus_to_exitcode(status))

    def _stop(self) -> None:
        """Stop as the editor did, and with us the program that started us. That has perhaps been
        stopped before us, and told to go on since."""
        stop_unless(lambda: self._reactor.has_arrived(signal.SIGCONT), 0)
        # Where no shell could wake us, the kernel has not stopped us.
        self.go_on()

    def _end(self, status: int) -> None:
        draft, self._draft = self._draft, None
        assert draft is not None
        signal.setitimer(signal.ITIMER_REAL, 0)
        with suppress(termios.error):
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._settings)
        edited = draft.result(status)
        self._live.take_back(_KILLED if status < 0 else b"\r")
        self._on_edited(edited)


class _Draft:
    """The file with the text, in a folder of its own, where the editor's other files go as well.
    Only we can read them."""

    def __init__(self, program: str, text: str) -> None:
        """Raises OSError if it cannot be made."""
        self._program = os.path.basename(program)
        self._folder = Path(tempfile.mkdtemp(prefix="chat-"))
        self.path = self._folder / _FILE
        self._given = text
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.fsencode(text + "\n" if text else ""))
        except OSError:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove it, and all that the editor has put beside it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def result(self, status: int) -> Edited:
        """What the editor has made of the text. What cannot be taken is kept where it is."""
        try:
            text = self._read()
        except OSError as error:
            self._remove_if_empty()
            return Edited(None, trouble=f"what the editor wrote {error.strerror}")
        if status == 0:
            self.remove()
            return Edited(text)
        saved = "" if text == self._given else text
        trouble = f"the editor {self._program} {_ending(status)}"
        if status < 0 and len(list(self._folder.iterdir())) > 1:
            # As with vim, what was not saved may be in them.
            return Edited(None, saved, f"{trouble}; its files are in {self._folder}")
        self.remove()
        return Edited(None, saved, trouble)

    def _read(self) -> str:
        """The text in the file; raises OSError, with what is wrong for `strerror`."""
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
            descriptor = os.open(self.path, flags)
        except OSError as exc:
            raise OSError(exc.errno, f"cannot be read: {cause_of(exc)}") from exc
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, f"is no file: {self.path}")
            data = file.read(EDITED_BYTES + 1)
        if len(data) > EDITED_BYTES:
            size = f"{status.st_size:,} bytes"
            most = f"{EDITED_BYTES:,}"
            raise OSError(0, f"has {size}, and a line takes {most}; it is in {self.path}")
        data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\0", b"")
        return os.fsdecode(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")).rstrip("\n")

    def _remove_if_empty(self) -> None:
        with suppress(OSError):
            self._folder.rmdir()


def _ending(status: int) -> str:
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            # Most of the real-time signals have none.
            name = f"signal {-status}"
        return f"was ended by {name}"
    return f"ended with status {status}"


def _spawn(command: list[str], environ: Mapping[str, str]) -> int:
    """Start the editor; raises OSError, or ValueError for a zero byte."""
    return os.posix_spawnp(
        command[0],
        command,
        dict(environ),
        setsigmask=(),
        # Python ignores these.
        setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
    )
