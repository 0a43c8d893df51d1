"""A real Redis for a test: on a socket in a folder of its own, or on the loopback with TLS."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.helpers import output_of
from tests.support.processes import DEADLINE_SECONDS, hold_port

needs_redis = pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")


class Redis:
    """A Redis that is started at once, and killed at the end. `url` leads to it. With
    `network` it can be reached at `port` of this machine as well."""

    def __init__(
        self, folder: Path, *options: str, tls: bool = False, network: bool = False
    ) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"redis+unix://{self.socket}"
        self.authority = folder / "authority.pem"
        self._options = ["--unixsocket", str(self.socket), "--dir", str(folder), "--save", ""]
        self._held, self.port = hold_port()
        self._options += ["--bind", "127.0.0.1", "--port", str(self.port if network else 0)]
        self._options += options
        if tls:
            self._with_tls()
        self.process = self._start()

    def _with_tls(self) -> None:
        key = self.folder / "key.pem"
        output_of(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", self.authority),
        )
        self._options += ["--tls-port", str(self.port)]
        self._options += ["--tls-cert-file", str(self.authority), "--tls-key-file", str(key)]
        self._options += ["--tls-auth-clients", "no"]
        self.url = f"rediss://localhost:{self.port}"

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                ["redis-server", *self._options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # SIGXFSZ stays ignored, as Python has it: see `fill_disk`.
                restore_signals=False,
            )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._answers():
            assert process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline
            os.sched_yield()
        return process

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asking:
            try:
                asking.connect(str(self.socket))
                asking.sendall(b"PING\r\n")
                return bool(asking.recv(1))
            except OSError:
                return False

    def do(self, *words: str | bytes) -> bytes:
        """What `redis-cli` answers to a command."""
        return output_of("redis-cli", "-s", str(self.socket), *map(os.fsdecode, words)).strip()

    def streams(self) -> list[bytes]:
        """The names of its streams, the longest one first."""
        names = self.do("KEYS", "*").splitlines()
        streams = [name for name in names if self.do("TYPE", name) == b"stream"]
        return sorted(streams, key=lambda name: -self.count("XLEN", name))

    def count(self, *words: str | bytes) -> int:
        """The number that it answers to a command."""
        return int(self.do(*words))

    def everything(self) -> bytes:
        """All that it holds: names and values."""
        held = []
        for name in self.do("KEYS", "*").splitlines():
            kind = self.do("TYPE", name)
            read = ("GET", name) if kind == b"string" else ("XRANGE", name, "-", "+")
            held += [name, self.do(*read)]
        return b"\n".join(held)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        """Let its log on the disk grow by some bytes, and then no more: the next write is cut short
        there, and those after it fail."""
        (log,) = self.folder.rglob("*.incr.aof")
        self._limit_files(log.stat().st_size + 100)

    def empty_disk(self) -> None:
        """Let there be room again."""
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        limits = (size, resource.RLIM_INFINITY)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, limits)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """After `kill`: with what it has on its disk."""
        self.process = self._start()

    def follow(self, primary: "Redis") -> None:
        """Become a replica of that one."""
        self.do("REPLICAOF", "127.0.0.1", str(primary.port))

    def take_over(self, other: "Redis") -> None:
        """Be reached where that one was, which is dead."""
        self.socket.rename(other.socket)
        self.socket = other.socket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.kill()
        self._held.close()
