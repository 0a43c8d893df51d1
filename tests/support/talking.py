"""Several servers with a real Redis, and members of them who talk all the while.

Each member says numbered lines, as fast as they are acknowledged, and its program tells as JSON
what it got. Whatever is done to the servers and to Redis meanwhile, everybody must have all lines
of everybody, once, and in the same order (`Cluster.check`).
"""

import json
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tests.support.processes import CHAT, DEADLINE_SECONDS, Piped, Stage, place_key
from tests.support.redis import Redis

UNDER_WAY = 3
"""So many lines of a member are not acknowledged at a time."""

KEYS = ("ira", "other", "sahnawaz")

HASTY = {
    "NEXT_PING_SECONDS": 1,
    "NEXT_PONG_SECONDS": 1.5,
    "AWAKE_PONG_SECONDS": 1.5,
    "ASLEEP_SECONDS": 60,
    "HANDSHAKE_SECONDS": 3,
    "REDIS_PING_SECONDS": 0.5,
    "REDIS_SILENCE_SECONDS": 1.5,
    "STREAM_BLOCK_SECONDS": 1.0,
    "BEAT_SECONDS": 0.5,
    "SERVER_GONE_SECONDS": 3.0,
}
"""Limits of programs that soon give up who is silent, so that a test need not wait for long."""


def chat_with(limits: dict[str, float]) -> list[str]:
    """The command `chat`, with other limits."""
    if not limits:
        return CHAT
    main = "import sys, chat.limits; vars(chat.limits).update({!r}); "
    main += "from chat.__main__ import main; sys.exit(main())"
    return [sys.executable, "-c", main.format(limits)]


class Member:
    """A client that tells as JSON what happens. `seen`: what was said, by whom, and when that was
    known here."""

    def __init__(self, process: Piped, name: str) -> None:
        self.process = process
        self.name = name
        self.said = self.acknowledged = 0
        self.seen: list[tuple[str, str]] = []
        self.seen_at: list[float] = []
        self.events: list[dict[str, Any]] = []
        self._read_up_to = 0

    def talk(self) -> None:
        """Say the next lines, if what was said before is acknowledged."""
        while self.said - self.acknowledged < UNDER_WAY:
            self.said += 1
            self.process.type(f"line {self.said}")

    def take(self) -> None:
        """Take what was told."""
        self.process.take()
        *lines, _ = self.process.out[self._read_up_to :].split("\n")
        for line in lines:
            self._read_up_to += len(line) + 1
            self._on_event(json.loads(line))

    def _on_event(self, event: dict[str, Any]) -> None:
        if event["event"] not in ("message", "acknowledged"):
            self.events.append(event)
            return
        self.acknowledged += event["event"] == "acknowledged"
        self.seen.append((event["name"], event["text"]))
        self.seen_at.append(time.monotonic())

    def told(self, kind: str, since: int = 0) -> list[dict[str, Any]]:
        """The events of this kind, from the one with this number on."""
        return [event for event in self.events[since:] if event["event"] == kind]

    @property
    def is_in(self) -> bool:
        """Whether it is in the room, as far as it has told."""
        changes = ("entered", "disconnected", "reconnected")
        last = [event["event"] for event in self.events if event["event"] in changes][-1:]
        return last in (["entered"], ["reconnected"])

    @property
    def summary(self) -> str:
        """What it has said, and how many lines it has of whom, for who looks into a failure."""
        got = Counter(name for name, _ in self.seen)
        return f"said {self.said}, acknowledged {self.acknowledged}, has {dict(got)}"

    def longest_silence(self, since: float) -> float:
        """The longest time in which nothing was heard here, since then, in seconds."""
        times = [since, *(at for at in self.seen_at if at > since)]
        return max((after - at for at, after in pairwise(times)), default=0.0)


class Cluster:
    """See the module's text. `limits` are those of all programs, where they are not the usual."""

    def __init__(self, stage: Stage, redis: Redis, limits: dict[str, float] | None = None) -> None:
        self.redis = redis
        self.members: list[Member] = []
        self.servers: list[Piped] = []
        self.ports = [stage.free_port() for _ in range(3)]
        self._stage = stage
        self._chat = chat_with(limits or {})
        self.key = stage.folder / "cluster.key"

    # -- who takes part

    def serve(self, *arguments: str, url: str = "", place: int | None = None) -> Piped:
        """Start a server; `place` is that of the server whose port it takes over."""
        if place is None:
            place = len(self.servers)
            self.servers.append(self._start(place, url, arguments))
        else:
            self.servers[place] = self._start(place, url, arguments)
        return self.servers[place]

    def _start(self, place: int, url: str, arguments: tuple[str, ...]) -> Piped:
        folder = self._stage.folder / f"server {place}"
        place_key(folder, "server", "server")
        options = ["--port", str(self.ports[place]), "--rate", "0", "--quiet"]
        options += ["--cluster", url or self.redis.url, "--cluster-key", str(self.key)]
        keys = ["--keys", str(folder)]
        return self._stage.server(*options, *arguments, chat=self._chat, keys=keys)[0]

    def join(
        self,
        name: str,
        *places: int,
        through: dict[int, int] | None = None,
        invite: str = "",
        limits: dict[str, float] | None = None,
    ) -> Member:
        """Somebody who knows these servers, and comes in at the first of them. `through`: other
        ports that lead to some of them. `limits` are others than those of all."""
        folder = self._stage.folder / f"client {name}"
        place_key(folder, "client", KEYS[len(self.members) % len(KEYS)])
        ports = {**dict(enumerate(self.ports)), **(through or {})}
        servers = invite or ",".join(f"127.0.0.1:{ports[place]}" for place in places)
        options = ["--json", "--keys", str(folder)]
        chat = self._chat if limits is None else chat_with(limits)
        process = self._stage.run([*chat, "client", servers, name, *options])
        member = Member(process, name)
        self.members.append(member)
        self.until(lambda: member.is_in and self._all_know(member), talking=False)
        return member

    def _all_know(self, member: Member) -> bool:
        """Whether all who are in a room with this one have heard of it. What they say before that
        is not for it."""
        name, room = member.name, member.told("entered")[0]["tag"]
        others = [one for one in self.members if one.told("entered")[0]["tag"] == room]
        return all(
            one is member or any(told["name"] == name for told in one.told("joined"))
            for one in others
        )

    def kill(self, *places: int) -> None:
        """Kill servers, all at once."""
        for place in places:
            self.servers[place].popen.kill()
        for place in places:
            self.servers[place].wait()

    # -- what happens

    def until(self, condition: Callable[[], object], *, talking: bool = True) -> None:
        """Let everybody talk until this is so."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self._state
            if talking:
                for member in self.members:
                    member.talk()
            self._take()

    def _take(self) -> None:
        members = {member.process: member for member in self.members}
        for process in select.select([*members, *self.servers], [], [], 0.05)[0]:
            if process in members:
                members[process].take()
            else:
                process.take()

    @property
    def _state(self) -> str:
        """How it is, for who looks into a failure."""
        members = (f"{one.name}: {one.summary}\n{one.process}" for one in self.members)
        servers = (f"server {place}\n{one}" for place, one in enumerate(self.servers))
        return "\n".join((*members, *servers))

    def talk(self, lines: int = 10) -> None:
        """Let everybody talk until so many more lines of each are acknowledged."""
        goals = [(member, member.acknowledged + lines) for member in self.members]
        self.until(lambda: all(member.acknowledged >= goal for member, goal in goals))

    def survive(self, what: str, harm: Callable[[], object], lines: int = 10) -> None:
        """While everybody has something under way, do some harm; then let them go on until so many
        more lines of each are acknowledged. Prints for how long who heard nothing."""
        for member in self.members:
            member.talk()
        since = time.monotonic()
        harm()
        self.talk(lines)
        away = (f"{one.name} {one.longest_silence(since):.1f} s" for one in self.members)
        print(f"{what}: heard nothing for at most: {', '.join(away)}")

    def all_is_said(self) -> bool:
        """Whether everything that was said is acknowledged."""
        return all(member.said == member.acknowledged for member in self.members)

    def ask(self, place: int, command: str, answer: str) -> str:
        """Type a command at a server; what it has shown when this is in it."""
        server = self.servers[place]
        server.take()
        before = len(server.out)
        server.type(command)
        self.until(lambda: answer in server.out[before:])
        return server.out[before:]

    # -- what must be

    def check(self, *, new_rooms: int = 0, unconfirmed: bool = False) -> None:
        """End the talk, and check that everybody has everything once, and in the same order; and
        that so many new rooms have begun meanwhile. After one, each has all in the order of whoever
        said it: what some have seen already is said again for the others. `unconfirmed`: servers
        died, and nobody took their members' places over; so nobody may have vouched for the last
        that was shown."""
        said = {member.name: member.said for member in self.members}
        total = sum(said.values())
        self.until(lambda: all(len(one.seen) >= total for one in self.members), talking=False)
        # Whatever came twice would stand before the answer.
        answered = [len(member.told("members")) for member in self.members]
        for member in self.members:
            member.process.type('{"who": true}')
        self.until(
            lambda: all(
                len(member.told("members")) > before
                for member, before in zip(self.members, answered, strict=True)
            ),
            talking=False,
        )
        for member in self.members:
            for name, count in said.items():
                got = [text for speaker, text in member.seen if speaker == name]
                assert got == [f"line {number}" for number in range(1, count + 1)], member.name
            trouble = [event for event in member.events if event["event"] in TROUBLE]
            assert all(unconfirmed and one.get("certain") is False for one in trouble), member.name
            came = member.told("reconnected")
            assert not any(event["missed"] for event in came), member.name
            assert sum(event["new_room"] for event in came) == new_rooms, member.name
        if not new_rooms:
            first, *others = (member.seen for member in self.members)
            assert all(other == first for other in others)
        print(f"{total} lines, each at {len(said)} members: lost 0, doubled 0, disordered 0")

        self._leave()

    def _leave(self) -> None:
        for member in self.members:
            member.process.end_input()
        for member in self.members:
            assert member.process.end().status == 0, member.name


TROUBLE = ("tampered", "not-for-you", "warning", "error", "closed")
"""Events that must not happen, whatever befalls servers and Redis."""
