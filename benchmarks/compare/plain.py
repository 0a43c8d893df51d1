"""What passes on lines as they come, without encryption: a textbook's server, and the bare loop in
C, the floor under all of them. In the bare loop nobody comes in; it has its connections."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from benchmarks.compare.lines import LineRoom, lacks, version_of
from benchmarks.compare.room import TEXT_BYTES, Contender, Room
from benchmarks.load import Program

_TEXTBOOK = Path(__file__).with_name("textbook_server.py")
_BARE_LOOP = Path(__file__).parent.parent / "bare_loop.c"


class Lines:
    """A line for each message, which comes back as it was sent."""

    hears_itself = True
    noise_bytes = 0
    line_by_line = False

    def hello(self, number: int) -> bytes:
        """Nothing: to be connected is to be in."""
        return b""

    def is_in(self, heard: bytes) -> bool:
        """At once."""
        return True

    def say(self, texts: list[str]) -> bytes:
        """A line for each."""
        return b"".join(b"%b\n" % text.encode() for text in texts)

    def texts(self, heard: bytes) -> list[str]:
        """Whole lines."""
        return [line.decode() for line in heard.split(b"\n")[:-1]]


class NamedLines(Lines):
    """The same, when one first says a name that all are told."""

    def hello(self, number: int) -> bytes:
        """The name."""
        return b"m%05d\n" % number

    def is_in(self, heard: bytes) -> bool:
        """We are told of ourselves."""
        return heard.endswith(b"\n")


def _as_it_is(dialled: socket.socket) -> socket.socket:
    return dialled


class Textbook(Contender):
    """Threads, as in a textbook."""

    name = "textbook"
    title = "threads as in a textbook (Python, no encryption)"
    short = "textbook"
    encrypts = False

    def lacks(self) -> str:
        """Nothing: Python is here."""
        return ""

    def version(self) -> str:
        """Python's."""
        return sys.version.partition(" ")[0]

    def start(self, directory: Path, members: int) -> Room:
        """In the Python that runs this."""
        program = Program([sys.executable, str(_TEXTBOOK)], directory)
        return LineRoom(program, NamedLines(), _as_it_is)


class BareLoop(Contender):
    """A loop in C that sends all that it has read in one `send` to each."""

    name = "bare"
    title = "bare loop in C, coalesced (no encryption)"
    short = "bare loop"
    encrypts = False
    joins = False

    def lacks(self) -> str:
        """A compiler."""
        return "" if os.environ.get("CC") else lacks("cc")

    def version(self) -> str:
        """The compiler's."""
        return version_of([os.environ.get("CC", "cc"), "--version"])

    def start(self, directory: Path, members: int) -> Room:
        """Compile it, and run it for so many connections."""
        compiled = directory / "bare_loop"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-o", str(compiled), str(_BARE_LOOP)], check=True)
        program = Program([str(compiled), str(members), *self._more()], directory)
        return LineRoom(program, Lines(), _as_it_is)

    def _more(self) -> list[str]:
        return []


class BareLoopAlone(BareLoop):
    """The same with a `send` for each message."""

    name = "bare-alone"
    title = "bare loop in C, a `send` a message (no encryption)"
    short = "bare, one by one"

    def _more(self) -> list[str]:
        return [str(TEXT_BYTES + 1)]
