"""Three servers carry one room, and one of them is killed, told as it happens: `make cluster-demo`.

A real Redis, three servers and six clients run on this machine. Everybody talks all the while; the
server is killed that three of them are at, and later Redis is stopped, and started again. At the
end it is checked that everybody was shown every line of everybody else, once, and in one order. Of
what is said only what the last of the six is shown is printed. Exits with 1 when something expected
does not happen.
"""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from itertools import combinations, count
from pathlib import Path

from chat.reactor import Reactor
from tools.demo import SMALL_KEYS, Actor, UnexpectedError, main, tell, until

PEOPLE = {"Ira": 0, "Boris": 0, "Zoë": 0, "Ada": 1, "Max": 1, "李雷": 2}
"""Who comes in at which server."""

LINES = 2
"""So many each says in each act."""


class Member(Actor):
    """Somebody in the room. Only what happens to them is told, and for one what is said."""

    def __init__(
        self, reactor: Reactor, name: str, servers: list[str], *, tells_all: bool = False
    ) -> None:
        super().__init__(reactor, name, ["client", ",".join(servers), name, *SMALL_KEYS])
        self.name = name
        self._tells_all = tells_all
        self._numbers = count(1)
        self.said: list[str] = []
        self._reactor = reactor

    def _tell(self, line: str) -> None:
        if self._tells_all or line.startswith(("[!]", "[+] Connected to")):
            tell(self.name, line)

    def says(self, lines: int) -> None:
        """Say so many numbered lines."""
        for _ in range(lines):
            text = f"line {next(self._numbers)}."
            self.said.append(f"{self.name}: {text}")
            self._input.write(text.encode() + b"\n")
        self._input.flush()

    @property
    def heard(self) -> list[str]:
        """What others have said, each as name and text."""
        shown = (line.split(" ", 2)[2:] for line in self.lines if not line.startswith("["))
        return [said for rest in shown for said in rest if ": line " in said]


class Redis:
    """A Redis on a socket in the temporary folder, which keeps on its disk what it is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "redis.sock"
        self.url = f"redis+unix://{self._socket}"
        self.start()

    def start(self) -> None:
        """Start it, with what is on its disk."""
        options = ["--unixsocket", str(self._socket), "--port", "0", "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            ["redis-server", *options, "--save", "", "--appendonly", "yes"],
            stdout=subprocess.DEVNULL,
        )

    @property
    def is_there(self) -> bool:
        """Whether its socket is there."""
        return self._socket.exists()

    def stop(self) -> None:
        """Have it end in order."""
        self._process.terminate()
        self._process.wait()


class Play:
    """The demo: its Redis, its servers and its people."""

    def __init__(self, reactor: Reactor, actors: list[Actor], redis: Redis, folder: Path) -> None:
        self._reactor = reactor
        self._actors = actors
        self._redis = redis
        self._folder = folder
        self.servers = [self._serve(name) for name in "ABC"]
        self.ports = [server.shows("port: ").rpartition(" ")[2] for server in self.servers]
        self.people = [self._join(name, at) for name, at in PEOPLE.items()]
        # What somebody says before they know of a newcomer is not for that one.
        until(reactor, self._all_know_all, "that everybody knows of everybody")

    def _serve(self, name: str) -> Actor:
        keys, first = self._folder / name, self._folder / "A"
        if keys != first:
            # All servers of a cluster have the same keys.
            shutil.copytree(first, keys, ignore=shutil.ignore_patterns("*sock*", "*lock*"))
        options = ["--port", "0", "--quiet", "--bits", "2048", "--keys", str(keys)]
        cluster = ["--cluster", self._redis.url, "--cluster-key", str(keys / "cluster.key")]
        server = Actor(self._reactor, f"server {name}", ["server", *options, *cluster])
        self._actors.append(server)
        server.shows("Running on host: ")
        return server

    def _join(self, name: str, at: int) -> Member:
        addresses = [f"127.0.0.1:{port}" for port in self.ports]
        is_last = name == list(PEOPLE)[-1]
        servers = [*addresses[at:], *addresses[:at]]
        member = Member(self._reactor, name, servers, tells_all=is_last)
        self._actors.append(member)
        return member

    def _all_know_all(self) -> bool:
        shown = ("\n".join(member.lines).partition("Now you can start") for member in self.people)
        return all(name in after for _, _, after in shown for name in PEOPLE)

    def talk(self, lines: int = LINES) -> None:
        """Let everybody say some lines; nobody waits for them."""
        for member in self.people:
            member.says(lines)

    def until_all_is_heard(self) -> None:
        """Wait until everybody has heard all the others."""
        total = sum(len(member.said) for member in self.people)

        def all_is_heard() -> bool:
            return all(len(one.heard) + len(one.said) >= total for one in self.people)

        until(self._reactor, all_is_heard, "every line at everybody")

    def check(self) -> None:
        """Check that nothing was lost or came twice, and that there is one order."""
        for member in self.people:
            for other in self.people:
                heard = [line for line in member.heard if line.startswith(f"{other.name}: ")]
                if heard != (other.said if other is not member else []):
                    raise UnexpectedError(f"{member.name} has heard of {other.name}: {heard}")
        for one, other in combinations(self.people, 2):
            own = (f"{one.name}: ", f"{other.name}: ")
            first, second = (
                [line for line in member.heard if not line.startswith(own)]
                for member in (one, other)
            )
            if first != second:
                raise UnexpectedError(f"{one.name} and {other.name} have heard another order")

    def end(self) -> None:
        """Everybody leaves, and the servers that are left end."""
        for member in self.people:
            member.closes_its_input()
            member.ends()
        for server in self.servers[1:]:
            server.types("TERMINATE")
            server.ends()


def play(reactor: Reactor, actors: list[Actor]) -> None:
    """What happens in the demo."""
    if not shutil.which("redis-server"):
        raise UnexpectedError("redis-server is not installed (apt install redis-server)")
    folder = Path(os.environ["XDG_CONFIG_HOME"])
    redis = Redis(folder)
    with ExitStack() as ends:
        ends.callback(redis.stop)
        until(reactor, lambda: redis.is_there, "the socket of Redis")
        stage = Play(reactor, actors, redis, folder)
        tell("demo", "Six people are in one room, at three servers. They talk.")
        stage.talk()
        stage.until_all_is_heard()

        tell("demo", "They go on, and amid that the server of three of them is killed.")
        stage.talk()
        stage.servers[0].process.kill()
        stage.talk()
        stage.until_all_is_heard()
        tell("demo", "All have heard all. Now Redis is stopped amid the talk, and started again.")

        stage.talk()
        redis.stop()
        stage.talk()
        redis.start()
        stage.until_all_is_heard()

        stage.check()
        total = sum(len(member.said) for member in stage.people)
        tell("demo", f"{total} lines, each heard by five: none lost, none twice, in one order.")
        stage.end()


if __name__ == "__main__":
    sys.exit(main(play))
