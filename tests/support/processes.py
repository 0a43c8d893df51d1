"""Drives real `python -m chat` processes through pipes (`terminals` has those at a terminal).

Nothing here sleeps: what a process shows is waited for, with a deadline that only a failure meets.
"""

import contextlib
import fcntl
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, NamedTuple, Self, TypedDict, Unpack

from tests.support.helpers import KEYS

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 300.0
"""For whatever is waited for. It is there to end what hangs, and is no measure of how long a thing
takes: a machine that is ten times as slow, or as busy, must not meet it."""

CHAT = [sys.executable, "-m", "chat"]
"""The command; what coverage needs to follow it is in the environment."""


def environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process: its own home, and little else."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "VIRTUAL_ENV") or name.startswith("COVERAGE_")
    }
    return {**kept, "HOME": str(home), "LANG": "C.UTF-8", "TZ": "UTC0", **extra}


def place_key(folder: Path, role: str, name: str) -> Path:
    """Put one of the fixed keys where `--keys folder` finds it, so that none has to be made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{role}_private_key.pem"
    path.touch(mode=0o600)
    path.write_bytes((KEYS / f"{name}.pem").read_bytes())
    return path


def await_condition(condition: Callable[[], object]) -> None:
    """Wait for something that nothing but asking again can tell."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        # The other process may need this core.
        os.sched_yield()


def without_times(text: str) -> str:
    """What was shown, with "<time>" for every time."""
    return re.sub(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} ", "<time> ", text, flags=re.M
    )


class NameServer:
    """What names mean to the processes that run `chat` as it says here: a file holds it."""

    _MAIN = (
        "import sys, chat.resolver; chat.resolver._CHILD = sys.argv.pop(1); "
        "from chat.__main__ import main; sys.exit(main())"
    )
    _CHILD = """
import _signal, marshal, posix, sys
open({asked!r}, "w").write(str(posix.getpid()))
hosts = open({hosts!r}).read().split()
if hosts == ["silence"]:
    _signal.pause()
answer = [(2, 1, 6, "", (host, int(sys.argv[2]))) for host in hosts]
sys.stdout.buffer.write(marshal.dumps(answer))
"""

    def __init__(self, folder: Path, *hosts: str) -> None:
        self._hosts = folder / "hosts"
        self._asked = folder / "asked"
        child = self._CHILD.format(asked=str(self._asked), hosts=str(self._hosts))
        self.chat = [sys.executable, "-c", self._MAIN, child]
        self.answer(*hosts)

    def answer(self, *hosts: str) -> None:
        """Tell these addresses from now on, or nothing when it is `silence`."""
        self._hosts.write_text(" ".join(hosts))

    @property
    def asked_by(self) -> int:
        """The process that asked last; 0 if none has."""
        return int(self._asked.read_text() or 0) if self._asked.exists() else 0


def zone_file(seconds: int) -> bytes:
    """A file of the zone database (RFC 8536, version 1): this far ahead of UTC, always."""
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    return b"TZif" + bytes(16) + counts + struct.pack(">lbb", seconds, 0, 0) + b"ZZZ\0"


class Result(NamedTuple):
    """How a process ended."""

    status: int
    out: str
    err: str


def _unread(pipe: IO[bytes]) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


class Piped:
    """A process with pipes for its standard streams, or with what it is given."""

    def __init__(
        self, command: list[str], env: Mapping[str, str], stdin: int | IO[bytes] = subprocess.PIPE
    ) -> None:
        self.popen = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        self._seen = {
            self.popen.stdout.fileno(): bytearray(),
            self.popen.stderr.fileno(): bytearray(),
        }
        self._out, self._err = self._seen.values()
        self._expected = 0
        self._selector = selectors.DefaultSelector()
        for stream in (self.popen.stdout, self.popen.stderr):
            self._selector.register(stream, selectors.EVENT_READ)

    @property
    def out(self) -> str:
        """What was shown so far, as far as it was read."""
        return self._out.decode()

    def expect(self, *texts: str) -> None:
        """Wait until these are shown, in this order, behind what was expected before."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        for text in texts:
            sought = text.encode()
            while (at := self._out.find(sought, self._expected)) < 0:
                assert self._selector.get_map(), f"it ended without {text!r}:\n{self}"
                self._read(deadline)
            self._expected = at + len(sought)

    def fileno(self) -> int:
        """Readable when there is something to `take`: for `select`."""
        return self._selector.fileno()

    def take(self) -> None:
        """Read what it has shown since."""
        self._read_ready(self._selector.select(0))

    def _read(self, deadline: float) -> None:
        ready = self._selector.select(max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more came:\n{self}"
        self._read_ready(ready)

    def _read_ready(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        for found, _ in ready:
            data = os.read(found.fd, 1 << 16)
            if data:
                self._seen[found.fd] += data
            else:
                self._selector.unregister(found.fileobj)

    def type(self, *lines: str) -> None:
        """Write lines to its standard input."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.popen.stdin.flush()

    def end_input(self) -> None:
        """Close its standard input."""
        assert self.popen.stdin is not None
        self.popen.stdin.close()

    def wait(self) -> int:
        """Wait for its end, reading nothing; its status."""
        return self.popen.wait(DEADLINE_SECONDS)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def unread_input(self) -> int:
        """How many bytes of its standard input it has not read."""
        assert self.popen.stdin is not None
        return _unread(self.popen.stdin)

    def has_done_its_input(self) -> bool:
        """Whether it has read its standard input, and done all that it does about it."""
        # Looked at in this order: what has read does not wait again before it is done.
        return self.unread_input() == 0 and self._state() == "S"

    def freeze(self) -> None:
        """Stop it while it waits, until SIGCONT. In the middle of a turn the kernel would still
        remember whom it has just heard, and name that connection first, whatever comes meanwhile.
        """
        await_condition(lambda: self._state() == "S")
        self.signal(signal.SIGSTOP)
        await_condition(lambda: self._state() == "T")

    def _state(self) -> str:
        """S: it waits, T: it is stopped (proc(5))."""
        return Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(") ")[2][0]

    def unread_output(self) -> int:
        """How many bytes of its standard output we have not read."""
        assert self.popen.stdout is not None
        return _unread(self.popen.stdout)

    def shrink_output(self) -> int:
        """Read nothing more, and let its standard output hold little; how many bytes that is."""
        assert self.popen.stdout is not None
        return fcntl.fcntl(self.popen.stdout, fcntl.F_SETPIPE_SZ, 1)

    def stop_reading(self, number: int = 1) -> None:
        """Close our end of its standard output, or (2) its standard error."""
        stream = self.popen.stdout if number == 1 else self.popen.stderr
        assert stream is not None
        self._selector.unregister(stream)
        stream.close()

    def end(self) -> Result:
        """Wait for its end; how it was."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._selector.get_map():
            self._read(deadline)
        status = self.popen.wait(max(0.0, deadline - time.monotonic()))
        return Result(status, self.out, self._err.decode())

    def kill(self) -> None:
        """End it for certain, and let go of everything."""
        self.popen.kill()
        self.popen.wait()
        self._selector.close()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __str__(self) -> str:
        return f"…{self.out[-1000:]}\n--- standard error\n{self._err.decode(errors='replace')}"


class Streams(TypedDict, total=False):
    """What a process is given beside its command."""

    stdin: int | IO[bytes]
    redirect: str
    """What a shell understands."""
    env: Mapping[str, str]


def hold_port() -> tuple[socket.socket, int]:
    """A port on which nobody listens, and which nobody else is given while this socket is open: it
    is held, but a server may take it (SO_REUSEADDR)."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held, int(held.getsockname()[1])


class Stage:
    """The processes of one test and the folder they live in; all end when the test does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self._kill: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for kill in reversed(self._kill):
            kill()

    def at_the_end(self, end: Callable[[], None]) -> None:
        """Do this when the test is over."""
        self._kill.append(end)

    def keys(self, role: str, name: str) -> list[str]:
        """The option for a folder that has one of the fixed keys for this role."""
        folder = self.folder / f"{role} {name}"
        if not folder.exists():
            place_key(folder, role, name)
        return ["--keys", str(folder)]

    def free_port(self) -> int:
        """A port as `hold_port` gives it, for as long as the test runs."""
        held, port = hold_port()
        self._kill.append(held.close)
        return port

    def start(self, *arguments: str, **streams: Unpack[Streams]) -> Piped:
        """Start `chat` with these arguments."""
        return self.run([*CHAT, *arguments], **streams)

    def run(self, command: list[str], **streams: Unpack[Streams]) -> Piped:
        """Start any command."""
        if redirect := streams.get("redirect"):
            command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *command]
        env = environment(self.home, streams.get("env", {}))
        process = Piped(command, env, streams.get("stdin", subprocess.PIPE))
        self._kill.append(process.kill)
        return process

    def server(
        self,
        *arguments: str,
        chat: list[str] = CHAT,
        keys: list[str] | None = None,
        **streams: Unpack[Streams],
    ) -> tuple[Piped, int]:
        """A server on a free port that is ready, and the port."""
        keys = self.keys("server", "server") if keys is None else keys
        server = self.run([*chat, "server", "--port", "0", *keys, *arguments], **streams)
        server.expect("[+] Running on port: ", "[+] Fingerprint: ", "\n")
        found = re.search("port: ([0-9]+)", server.out)
        assert found is not None
        return server, int(found[1])

    def client(
        self,
        port: int,
        name: str,
        *arguments: str,
        chat: list[str] = CHAT,
        host: str = "127.0.0.1",
        key: str = "ira",
        **streams: Unpack[Streams],
    ) -> Piped:
        """A client of the server on this port."""
        keys = self.keys("client", key)
        return self.run([*chat, "client", host, str(port), name, *keys, *arguments], **streams)

    def member(self, port: int, name: str, *arguments: str, key: str = "ira") -> Piped:
        """A client that is in the room."""
        client = self.client(port, name, *arguments, key=key)
        client.expect("[+] In the room: ", "\n")
        return client
