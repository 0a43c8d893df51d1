"""What a client costs: to take in a message and show it in a pipe or at a terminal, to say one, and
to send a long input, from its first line to its last acknowledgement.

The server has the first core, the client under test the second. There this process only waits for
it, and passes on what was sealed beforehand.
"""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import (
    DEADLINE_SECONDS,
    HOST,
    KEYS,
    Crowd,
    Keys,
    Member,
    Program,
    Row,
    chat_server,
    cpu_seconds,
    environment,
    join_speakers,
    spread,
)
from benchmarks.terminal import PROMPT, Typist

ROUNDS = 5
HEARD = 20_000
SAID = 1_000
"""How many messages are said at once when saying is measured."""

TEXT = ("the quick brown fox jumps over the lazy dog, " * 3)[:100]


class _Flow:
    """A speaker's messages on their way, while what comes back is thrown away."""

    def __init__(self, speaker: Member, count: int, text: str) -> None:
        self._socket = speaker.socket
        self._unsent = memoryview(speaker.seal(*[text] * count).up)

    def until(self, output: int, enough: Callable[[bytes], bool]) -> None:
        """Send, and read this output until it has brought enough.

        Raises:
            RuntimeError: nothing came for long, or the output ended.
        """
        while True:
            own = self._socket.fileno()
            writing = [own] if self._unsent else []
            ready, writable, _ = select.select([own, output], writing, [], DEADLINE_SECONDS)
            if not ready and not writable:
                raise RuntimeError(f"nothing arrived for {DEADLINE_SECONDS:.0f} s")
            if writable:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            if own in ready:
                self._socket.recv(1 << 20)
            if output in ready:
                data = os.read(output, 1 << 20)
                if not data:
                    raise RuntimeError("the client has ended")
                if enough(data):
                    return


class _Counted:
    """Whether so many lines have been shown that have this in them."""

    def __init__(self, sought: bytes, count: int) -> None:
        self._sought = sought
        self._missing = count
        self._rest = b""

    def __call__(self, data: bytes) -> bool:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._missing -= sum(self._sought in line for line in lines)
        return self._missing <= 0


def measure(lines: int, keys: Keys, directory: Path) -> list[Row]:
    """All of it, in rounds of which the first warms up; `lines` are those of the long input."""
    with chat_server(directory) as server:
        client = ["-m", "chat", "client", HOST, str(server.port), "Ira"]
        client += ["--keys", str(directory)]
        shutil.copyfile(KEYS / "ira.pem", key := directory / "client_private_key.pem")
        key.chmod(0o600)
        said = _time_saying(server, keys)
        heard = _time_pipe_out([*client, "--listen"], server, keys)
        shown = _time_terminal(client, directory, server, keys)
        # Nobody else is in, and so hears the long input, but its sender.
        sent = [_time_pipe_in(client, server, lines) for _ in range(ROUNDS)]
    alone = spread([each.alone for each in sent], "lines/s")
    return [
        Row("to take in a message", spread(heard[1:], "µs"), "15 µs"),
        Row("to say a message", spread(said[1:], "µs"), "15 µs"),
        Row(f"an input of {lines:,} lines", spread([each.rate for each in sent], "lines/s")),
        Row("  without waiting for the core", alone, "25,000"),
        Row("  CPU of the client, a line", spread([each.client for each in sent], "µs")),
        Row("  CPU of the server, a line", spread([each.server for each in sent], "µs")),
        Row("at a terminal", spread(shown[1:], "messages/s"), "20,000"),
    ]


@contextmanager
def _speaker(server: Program, keys: Keys, name: str) -> Iterator[Member]:
    """A member who has come last, and so knows the latest key without reading on."""
    with Crowd(server) as crowd:
        (speaker,) = join_speakers(crowd, server.port, [name], keys)
        yield speaker


def _time_saying(server: Program, keys: Keys) -> list[float]:
    """Microseconds to take a text, seal it for the room, and seal that for the link."""
    took = []
    with _speaker(server, keys, "Ada") as speaker:
        for _ in range(1 + ROUNDS):
            began = time.process_time()
            speaker.seal(*[TEXT] * SAID)
            took.append((time.process_time() - began) / SAID * 1e6)
    return took


def _time_pipe_out(client: list[str], server: Program, keys: Keys) -> list[float]:
    """Microseconds of CPU for each message that a client takes in and shows in a pipe."""
    process = subprocess.Popen(
        [sys.executable, *client],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    output, took = process.stdout.fileno(), []
    try:
        _await_line(output, b"exchange messages")
        with _speaker(server, keys, "Ola") as speaker:
            for _ in range(1 + ROUNDS):
                flow = _Flow(speaker, HEARD, TEXT)
                began = cpu_seconds(process.pid)
                flow.until(output, _Counted(TEXT.encode(), HEARD))
                took.append((cpu_seconds(process.pid) - began) / HEARD * 1e6)
    finally:
        process.terminate()
        process.communicate()
    return took


def _await_line(output: int, sought: bytes) -> None:
    while sought not in (data := os.read(output, 65_536)):
        if not data:
            raise RuntimeError("the client has ended")


def _time_terminal(client: list[str], home: Path, server: Program, keys: Keys) -> list[float]:
    """How many messages a second of its CPU a client shows at a terminal."""
    rates = []
    typist = Typist(client, home)
    typist.await_text(PROMPT)
    with _speaker(server, keys, "Eve") as speaker:
        for turn in range(1 + ROUNDS):
            flow = _Flow(speaker, HEARD, f"turn {turn}: {TEXT}"[: len(TEXT)])
            began = cpu_seconds(typist.process)
            flow.until(typist.terminal, _Counted(b"turn %d:" % turn, HEARD))
            rates.append(HEARD / (cpu_seconds(typist.process) - began))
    typist.end()
    return rates


class _Sent(NamedTuple):
    """Lines a second as they were, and without the time in which the client could have run and the
    core was another's; and microseconds of CPU for a line."""

    rate: float
    alone: float
    client: float
    server: float


def _time_pipe_in(client: list[str], server: Program, lines: int) -> _Sent:
    """From the start of a client to the last acknowledgement of its input, and its end."""
    text = f"{TEXT}\n".encode() * lines
    at_server = server.cpu_seconds
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *client],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.close()
    # Ended, but still to be asked.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    took = time.perf_counter() - began
    # Nanoseconds on the core, and nanoseconds of waiting for it (proc_pid_schedstat(5)).
    schedule = Path(f"/proc/{process.pid}/schedstat").read_text().split()
    cpu, waited = (int(each) / 1e9 for each in schedule[:2])
    if process.wait():
        raise RuntimeError(f"the client has ended with {process.returncode}")
    at_server = server.cpu_seconds - at_server
    alone = lines / (took - waited)
    return _Sent(lines / took, alone, cpu / lines * 1e6, at_server / lines * 1e6)
