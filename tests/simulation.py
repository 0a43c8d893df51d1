"""Whole servers in memory, with one room or two and up to eight people, over links that do
everything wrong.

    python -m tests.simulation --seeds 20000 --first 1 --enemy present_member

The real `Server`, `Client`, `Console`, `Dialer` and `Reactor` run on the machine of `simulated`, in
virtual time. A seed makes the conditions (limits, latency, how bytes are torn apart) and a
schedule: a list of actions, each at its time. The schedule is carried out; then everything is
healed, time goes on until all is quiet, everybody leaves, and the laws of `laws` are checked. When
one does not hold, the seed is printed with the shortest schedule that was found to break it.
"""

import argparse
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import chat.client.client
import chat.client.outbox
import chat.client.redial
import chat.resolver
import chat.server.cluster.cluster
import chat.server.cluster.room
import chat.server.cluster.sequence
import chat.server.cluster.stream
import chat.server.connection
import chat.server.console
import chat.server.doorman
import chat.server.hosted
import chat.server.server
import chat.sockets
import chat.stdio
import chat.transport
from chat.client.events import MessageReceived
from chat.errors import Reason, RefusedError, TransportError, UnacknowledgedError
from chat.frozen import frozen, replace
from chat.kex import RoomKey
from chat.limits import (
    MAX_CONNECTIONS_OF_KEY,
    MAX_EPOCH_BYTES,
    NAMES_SAVE_SECONDS,
    PATIENCE_SECONDS,
    ROOM_KEY_BYTES,
    SNAPSHOT_BYTES,
)
from chat.place import Endpoint
from chat.reactor import Reactor
from chat.server.cluster.shared import SharedLists
from chat.server.company import Company
from chat.server.connection import Connection
from chat.server.console import Console
from chat.server.desk import PlainDesk
from chat.server.greeting import Greeting
from chat.server.hosted import HostedRoom
from chat.server.server import Server
from chat.server.words import room_name
from chat.several import SeveralServers
from chat.sockets import Dialer
from chat.stdio import LineOutput
from chat.text import fingerprint_of as fingerprint_of_key
from chat.ui.plain import LineView
from chat.ui.style import Painter
from tests import laws
from tests.laws import LIAR, Told
from tests.laws_of_keys import require
from tests.support.cheap_keys import cheap_key, fingerprint_of, patch_keys
from tests.support.enemy import TRICKS, TRICKS_WITH_KEYS, Enemy
from tests.support.simulated import (
    START,
    Input,
    Listener,
    Output,
    Process,
    Socket,
    Stream,
    ViolationError,
    World,
)
from tests.support.simulated_cluster import Replica
from tests.support.simulated_liar import LIES, SWAPS, LyingHome, LyingRoom
from tests.support.simulated_record import (
    Doors,
    Life,
    Membership,
    Private,
    PrivateTexts,
    RecordedAccess,
    RecordedClient,
    RecordedContacts,
    RecordedMembers,
    RecordedParticipant,
    Secrets,
    SharedLines,
)

SETTLE_SECONDS = 1_200
"""By then everything must be quiet: the silence, the grace, the retries and the waiting, in a row,
and the backlog of somebody who is held to a low rate, or to a part of a small window."""

MAX_HELD_SECONDS = 15
"""Nobody holds a cable for longer at a time: a member that cannot come back within the grace has
lost its place."""

SMALL_WINDOW = 3_000
"""Bytes: room for a dozen or two of short messages, so that those who come back have missed more
than the log still has."""

LEAVE_SECONDS = 60
NOT_ACKNOWLEDGED = re.compile(r"(\d+) messages? (?:was|were) not acknowledged")


@frozen
class Action:
    """Something that happens: when, what, to whom (a person's number), and how much of it."""

    at: float
    kind: str
    who: int = 0
    value: float = 0.0
    size: int = 0

    def __str__(self) -> str:
        return f"Action({self.at:.3f}, {self.kind!r}, {self.who}, {self.value:.3f}, {self.size})"


@frozen
class Conditions:
    """What stays the same during one simulation."""

    people: int = 3
    seconds: float = 30.0
    terminals: int = 0
    """Bits: who sits at a terminal. The others are scripts."""
    grace: float = 60.0
    rate: float = 500.0
    window: int = 8 * 1024 * 1024
    read_bytes: int = 256 * 1024
    send_bytes: int = 256 * 1024
    outbox: int = 1024
    capacity: int = 65_536
    latency: float = 0.02
    shred: float = 0.1
    sealed: int = 0
    """Bits: who has the key of the sealed room. The others are in the open room."""
    names: bool = False
    """Whether the server keeps names."""
    listed: int = 0
    """Bits: who is on the server's list of those that may come in; 0: there is no list."""
    servers: int = 1
    """How many carry the rooms together."""
    entries: int = SNAPSHOT_BYTES
    """Bytes of a stream between two snapshots."""
    epoch: int = MAX_EPOCH_BYTES
    """Bytes of the log that may be of one epoch, where there are several servers."""
    redis_latency: float = 0.0
    """How long a way to Redis takes at the most."""


def conditions_of(seed: int, enemy: str = "", servers: int = 0) -> Conditions:
    """What a seed makes; `servers`: so many; 0: in most worlds one."""
    random = Random(f"conditions {seed}")
    conditions = Conditions(
        people=random.choice((2, 3, 3, 4, 4, 5, 6, 8)),
        seconds=random.choice((10.0, 30.0, 60.0, 150.0)),
        terminals=random.getrandbits(8),
        grace=random.choice((60.0, 60.0, 60.0, 8.0, 0.0)),
        rate=random.choice((500.0, 500.0, 0.0, 5.0)),
        window=random.choice((8 * 1024 * 1024, 8 * 1024 * 1024, 20_000, SMALL_WINDOW)),
        read_bytes=random.choice((256 * 1024, 256 * 1024, 300)),
        send_bytes=random.choice((256 * 1024, 256 * 1024, 1000, 100)),
        outbox=random.choice((1024, 1024, 20, 3)),
        capacity=random.choice((65_536, 65_536, 4000, 500)),
        latency=random.choice((0.0, 0.001, 0.05, 0.4)),
        shred=random.choice((0.0, 0.1, 0.1, 0.6)),
        sealed=_sealed(seed),
    )
    doors = Random(f"doors {seed}")
    conditions = replace(conditions, names=doors.random() < 0.3)
    if doors.random() < 0.2:
        conditions = replace(conditions, listed=doors.getrandbits(8) | doors.getrandbits(8))
    # One run of messages is larger than anybody's share of so small a window, and the real window
    # never is so small: a SUBMIT that is read for longer than a client waits would come again and
    # again. And what a member says at once may be more than the window, so that it is too slow for
    # its own messages: with no place to come back to, it would say them again for ever.
    if conditions.window == SMALL_WINDOW:
        conditions = replace(conditions, rate=0.0, grace=max(conditions.grace, 8.0))
    cluster = Random(f"servers of {seed}")
    drawn = cluster.choice((1, 1, 1, 1, 1, 1, 2, 3)) if not enemy else 1
    return _with_servers(conditions, servers or drawn, cluster)


def _with_servers(conditions: Conditions, servers: int, random: Random) -> Conditions:
    """So many servers carry the rooms. Which keys may come in, and whose a name is, each of them
    has on its own list, if there are several."""
    if servers == 1:
        return conditions
    return replace(
        conditions,
        servers=servers,
        names=False,
        listed=0,
        entries=random.choice((SNAPSHOT_BYTES, 20_000, 4_000)),
        # A run of messages is read as slowly as one server alone lets a member fill its window, and
        # nobody is that patient with so small a one.
        rate=0.0 if conditions.window <= 20_000 else conditions.rate,
        epoch=min(random.choice((MAX_EPOCH_BYTES, 3_000)), conditions.window // 2),
        redis_latency=random.choice((0.0005, 0.01, 0.05, 0.5)),
    )


def _sealed(seed: int) -> int:
    """In every third world there is a sealed room, too."""
    random = Random(f"rooms {seed}")
    return random.getrandbits(8) | random.getrandbits(8) if random.random() < 0.33 else 0


def schedule_of(seed: int, conditions: Conditions, enemy: str = "") -> list[Action]:
    """The server starts, people join, and then anything happens. `enemy`: one of ENEMIES, or
    nobody."""
    random = Random(f"schedule {seed}")
    actions = [Action(0.0, "serve")]
    for who in range(conditions.people):
        early = random.random() < 0.7
        actions.append(
            Action(random.uniform(0.1, 2 if early else conditions.seconds), "start", who)
        )
    kinds = random.sample(sorted(WEIGHTS), random.randint(4, len(WEIGHTS)))
    weights = [WEIGHTS[kind] for kind in kinds]
    now = 1.0
    count = random.randint(10, 40)
    for _ in range(count):
        now += random.expovariate(count / conditions.seconds)
        kind = "say" if random.random() < 0.4 else random.choices(kinds, weights)[0]
        who = random.randrange(conditions.people)
        actions += _some(kind, now, who, random)
        if enemy and enemy != LIAR and random.random() < 0.5:
            who, size = random.randrange(conditions.people), random.randrange(100)
            seconds = random.choice((0.3, 2.0, 10.0))
            actions.append(Action(now + random.uniform(0, 1), enemy, who, seconds, size))
    actions += _private(seed, now, conditions.people)
    if enemy == LIAR:
        actions += _lies(seed, now, conditions.people)
        actions += _swaps(seed, now, conditions.people)
    if enemy in ("", LIAR):
        # Whoever is on the cables has nothing to do with bans and with what people think.
        actions += _bans(seed, now, conditions.people)
        actions += _returns(seed, now, conditions.people)
        actions += _opinions(seed, now, conditions.people)
        actions += _doors(seed, now, conditions)
    if conditions.servers > 1:
        from tests.simulation_of_servers import actions_of_servers

        actions += actions_of_servers(seed, now, conditions.servers)
    if any(action.kind == "swap_roster" for action in actions):
        # Nobody could be shown how names change their keys who takes them for others' names.
        actions = [action for action in actions if action.kind != "impostor"]
    # What is printed must be what was run.
    rounded = [
        replace(action, at=round(action.at, 3), value=round(action.value, 3)) for action in actions
    ]
    return sorted(rounded, key=lambda action: action.at)


def _private(seed: int, until: float, people: int) -> Iterator[Action]:
    """In every other room somebody says something to one other alone, now and then."""
    random = Random(f"private {seed}")
    for _ in range(random.choice((0, 10))):
        who, whom = random.randrange(people), random.randrange(people)
        yield Action(random.uniform(1.0, until), "msg", who, size=whom)


def _lies(seed: int, until: float, people: int) -> Iterator[Action]:
    """The server begins to lie to somebody, and people talk. It lies once in each room, so what
    comes after the first lie is for the next room."""
    random = Random(f"lies {seed}")
    for _ in range(random.choice((1, 2, 4))):
        at, who = random.uniform(2.0, until), random.randrange(people)
        yield Action(at, LIAR, who, size=random.randrange(len(LIES)))
        for _ in range(6):
            at += random.expovariate(1.0)
            yield Action(at, "say", random.randrange(people), 1)


def _swaps(seed: int, until: float, people: int) -> Iterator[Action]:
    """The server swaps two others in the roster of somebody who comes, and people talk."""
    random = Random(f"swaps {seed}")
    for _ in range(random.choice((0, 1, 2))):
        at, fields = random.uniform(1.0, until), random.randrange(len(SWAPS) - 1)
        yield Action(at, "swap_roster", size=fields)
        yield Action(at + 0.1, "start", random.randrange(people))
        for _ in range(6):
            at += random.expovariate(1.0)
            yield Action(
                at + 1.0, random.choice(("say", "say", "msg")), random.randrange(people), 1
            )


def _bans(seed: int, until: float, people: int) -> Iterator[Action]:
    """In some worlds somebody is banned for a while, and comes all the same."""
    random = Random(f"bans {seed}")
    for _ in range(random.choice((0, 0, 1, 2))):
        at, who = random.uniform(0.5, until), random.randrange(people)
        yield Action(at, "ban", who, size=random.randrange(2))
        seconds = random.choice((2.0, 10.0, 90.0))
        yield Action(at + seconds, "unban", who)
        for later in (-0.1, 0.5 * seconds, 1.5 * seconds):
            yield Action(at + later, "start", who)


def _returns(seed: int, until: float, people: int) -> Iterator[Action]:
    """In some worlds somebody goes whom perhaps one ignores, another key comes under the name and
    talks, and goes again."""
    random = Random(f"returns {seed}")
    for _ in range(random.choice((0, 1, 1, 2))):
        at, who = random.uniform(2.0, until), random.randrange(people)
        if random.random() < 0.5:
            yield Action(at - 0.5, "ignore", random.randrange(people), size=who)
        for step in range(2):
            yield from (Action(at + each, "exit", who) for each in (0.0, 0.001, 0.002))
            at += random.choice((1.0, 5.0))
            calls = random.random() < 0.3
            yield Action(at, "start" if step else "impostor", who, size=0 if step else calls)
            for _ in range(2):
                at += random.expovariate(1.0)
                yield Action(at, "say", who, 1)
                yield Action(at + 0.5, "trust", random.randrange(people), size=who)


def _doors(seed: int, until: float, conditions: Conditions) -> Iterator[Action]:
    """Now and then the operator frees a name, or lets somebody in who was refused."""
    random = Random(f"doors of {seed}")
    kinds = ["forget"] * conditions.names + ["allow", "allow"] * bool(conditions.listed)
    for kind in kinds:
        at, who = random.uniform(1.0, until), random.randrange(conditions.people)
        yield Action(at, kind, who, size=int(random.random() < 0.3))
        yield Action(at + 1.0, "start", who)
    if conditions.names:
        # The name is written down when the server dies.
        at, who = random.uniform(1.0, until), random.randrange(conditions.people)
        yield from (Action(at + each, "exit", who) for each in (0.0, 0.001, 0.002))
        at += NAMES_SAVE_SECONDS + 5.0
        yield from (
            Action(at, "kill"),
            Action(at + 0.5, "serve"),
            Action(at + 1.0, "impostor", who),
        )


def _opinions(seed: int, until: float, people: int) -> Iterator[Action]:
    """In some worlds people ignore others, and hear them again."""
    random = Random(f"opinions {seed}")
    for _ in range(random.choice((0, 0, 2, 5))):
        at, who, whom = (
            random.uniform(1.0, until),
            random.randrange(people),
            random.randrange(people),
        )
        yield Action(at, "ignore", who, size=whom)
        yield Action(at + 0.5, "say", whom, 3)
        yield Action(at + random.choice((2.0, 20.0)), "unignore", who, size=whom)
        yield Action(at + random.choice((2.5, 21.0)), "say", whom, 3)


ENEMIES = ("enemy", "former_member", "present_member", LIAR)
"""Somebody on the cables without keys, with those of former members, with those of present ones;
and the server, which lies to one member."""

WEIGHTS = {
    "start": 6,
    "call": 6,
    "impostor": 1,
    "exit": 2,
    "crash": 2,
    "vanish": 2,
    "reset": 6,
    "eof": 4,
    "reset_client": 4,
    "reset_server": 4,
    "blackhole": 4,
    "stall_up": 3,
    "stall_down": 3,
    "throttle": 2,
    "offline": 4,
    "freeze": 3,
    "slow_reader": 3,
    "kick": 1,
    "notice": 1,
    "kill": 4,
    "power_off": 2,
    "terminate": 1,
    "freeze_server": 2,
    "out_of_descriptors": 1,
    "jump": 1,
}
"""What can happen beside talk, and how often."""


def _some(kind: str, now: float, who: int, random: Random) -> Iterator[Action]:
    seconds = random.choice((0.3, 2.0, 10.0, 40.0, 90.0)) * random.uniform(0.5, 1.5)
    if kind == "say":
        # Now and then a flood, and a long message.
        lines = random.choice((1, 1, 2, 5, 5, 30))
        size = random.choice((0, 0, 0, 0, 100, 900)) if lines < 30 else 0
        yield Action(now, kind, who, lines, size)
    elif kind == "call":
        yield Action(now, kind, who, random.choice((0, 0, 0, 2, 9)))
    elif kind in ("kill", "power_off", "terminate"):
        yield Action(now, kind, who)
        yield Action(now + random.choice((0.1, 1.0, 5.0, 30.0)), "serve", who)
    elif kind in ("crash", "vanish"):
        yield Action(now, kind, who)
        yield Action(now + random.choice((0.1, 3.0, 20.0)), "start", who)
    elif kind == "throttle":
        yield Action(now, kind, who, random.choice((200.0, 2000.0)))
    elif kind == "jump":
        yield Action(now, kind, who, random.uniform(-1500, 1500))
    else:
        yield Action(now, kind, who, seconds)


# -- who takes part ----------------------------------------------------------------------------


class ReusableDialer(Dialer):
    """The real one, until its process has ended."""

    retired = False

    def dial(self, *callbacks: Any) -> None:
        if not self.retired:
            super().dial(*callbacks)


class ReusableSeveral(SeveralServers):
    """The same, to several servers."""

    retired = False

    def dial(self, *callbacks: Any) -> None:
        if not self.retired:
            super().dial(*callbacks)


def _way_to(reactor: Reactor, servers: Sequence[Endpoint]) -> ReusableDialer | ReusableSeveral:
    if len(servers) == 1:
        return ReusableDialer(reactor, *servers[0])
    return ReusableSeveral(reactor, servers, lambda each: Dialer(reactor, *each))


class OrderedConnection(Connection):
    """The server keeps its connections in sets, which are ordered by where objects lie in memory:
    chance that no seed rules, but for this."""

    __slots__ = ("_number",)
    _count = 0

    def __init__(self, *args: Any) -> None:
        type(self)._count += 1
        self._number = self._count
        super().__init__(*args)

    def __hash__(self) -> int:
        return self._number


SEALED = RoomKey(b"K" * ROOM_KEY_BYTES)
"""The key of the sealed room."""


SERVER_KEY = "server"
TAG = SEALED.at(fingerprint_of(SERVER_KEY)).tag
"""By what the server knows it."""


class Run(Told):
    """One process of a client."""

    def __init__(
        self,
        world: World,
        name: str,
        key_name: str,
        number: int,
        *,
        terminal: bool = False,
        caller: bool = False,
        room_key: RoomKey | None = None,
        known: SharedLines,
        servers: Sequence[Endpoint],
    ) -> None:
        """`known`: the list of known members that all runs of this key have."""
        self.name = name
        self.key_name = key_name
        self.process = Process(world, f"{name} ({number})")
        self.is_terminal = terminal
        self.input = Input(self.process, is_terminal=terminal)
        self.output = Output(self.process)
        self.ended = self.kicked = self.refusable = False
        self.stuck_since = float("inf")
        reactor = self.process.reactor
        self._dialer = _way_to(reactor, servers)
        output = LineOutput(reactor, self.output.fileno(), "utf-8")
        self.patience = None if terminal else float(PATIENCE_SECONDS)
        self.view = LineView(reactor, self.input.fileno(), output, Painter(name))
        client = RecordedClient(
            reactor,
            self._dialer,
            name,
            cheap_key(key_name),
            lambda _key: "",
            self.view,
            self.patience,
            room_key=room_key,
            caller=caller,
            members=RecordedMembers(known, world.clock),
        )
        self.is_caller, self.keeps = caller, not caller
        self.began = world.now
        self.room_key = room_key
        client.recorded.server = self.server
        tag = b"" if room_key is None else TAG
        super().__init__(self.process.name, fingerprint_of(key_name), client, tag)

    def main(self) -> None:
        self._dialer.retired = self.process.reactor.stopped
        self.client.run()

    def type(self, count: int, size: int) -> None:
        lines: list[str] = []
        for _ in range(count):
            text = f"<{self.title} says {len(self.typed) + len(lines) + 1}>".ljust(size, ".")
            lines.append(text)
        self.typed += lines
        self.input.feed("".join(line + "\n" for line in lines).encode())

    def tell(self, private: PrivateTexts, whom: int) -> None:
        """Say something to one other member alone, if there is one and nothing waits to be read."""
        client = self.client
        ours = [one for one in client.members() if one.name == self.name]
        others = [one for one in client.members() if one.name != self.name and not one.unproved]
        waiting = self.input.unread or self.view.input._lines
        if not self.accepts or waiting or client.full or not others:
            return
        person = others[whom % len(others)]
        shares = client.recorded.shares_of(person)
        own = frozenset[bytes]().union(*map(client.recorded.shares_of, ours))
        text = f"<{self.title} says {len(self.typed) + 1}>"
        self.typed.append(text)
        number = client.say_direct(person, text).number
        private[self.story.origin, number] = Private(
            person.name, person.fingerprint, shares, text, own
        )

    def leave(self, now: float) -> None:
        """The person types EXIT; the script has nothing more to say."""
        if self.leaving_at == float("inf"):
            self.leaving_at = now
            if self.is_terminal:
                self.input.feed(b"EXIT\n")
            else:
                self.input.end()

    @property
    def member(self) -> int:
        """The number that it has in its room; 0 if it has none."""
        here = self.client.recorded._membership
        return 0 if here is None else here.id

    def server(self) -> str:
        """The process to which it is connected."""
        connection = self.client._connection
        if connection is None:
            return ""
        near = cast(Socket, connection._transport._socket)
        return near.outgoing.target.process.name

    @property
    def accepts(self) -> bool:
        return self.process.alive and self.leaving_at == float("inf")

    @property
    def sockets(self) -> list[Socket]:
        found = [item for item in self.process.descriptors if isinstance(item, Socket)]
        return [item for item in found if item.connected]


class Site:
    """Where a server runs: one process after the other."""

    process: Process
    input: Input
    listener: Listener
    server: Server

    def __init__(self, host: str, name: str) -> None:
        self.host = host
        self.name = name
        self.began = False

    @property
    def alive(self) -> bool:
        """Whether its process is running."""
        return self.began and self.process.alive

    def operate(self, line: str) -> None:
        """Type this at the console."""
        if self.began and not self.input.closed:
            self.input.feed(line.encode() + b"\n")


class Simulation:
    """One world, its schedule, and what came of it."""

    def __init__(self, seed: int, conditions: Conditions, enemy: str = "") -> None:
        self.conditions = conditions
        self.enemy = enemy
        self.world = World(seed)
        self.world.shred = conditions.shred
        self.world.latency = conditions.latency
        self.world.capacity = conditions.capacity
        self.world.is_offline = self._is_offline
        self.runs: list[Run] = []
        self.lives: list[Life] = []
        self.doors = self._doors_of(conditions)
        self._secrets: Secrets = {}
        self._private: PrivateTexts = {}
        self._known: dict[str, SharedLines] = {}
        self._rooms_now: list[Life] = []
        """The rooms of the server that was started last."""
        self._servers = 0
        self.sites = self._make_sites()
        self._offline_until: dict[str, float] = {}

    def _make_sites(self) -> list[Site]:
        return [Site("chat.example", "server")]

    @property
    def server(self) -> Server | None:
        """The one that was started last at the first site."""
        return self.sites[0].server if self.sites[0].began else None

    @staticmethod
    def _doors_of(conditions: Conditions) -> Doors:
        doors = Doors(conditions.names)
        if conditions.listed:
            numbers = (number for number in range(8) if conditions.listed >> number & 1)
            keys = [cheap_key(f"p{number}").public for number in numbers]
            doors.listed = dict.fromkeys((key.fingerprint for key in keys), 0.0)
            doors.key_lines = [key.openssh for key in keys]
        return doors

    # -- the whole of it

    def run(self, schedule: Sequence[Action]) -> None:
        """Raises ViolationError if a law does not hold."""
        for action in schedule:
            self.world.at(START + action.at, partial(self._carry_out, action))
        end = max((action.at for action in schedule), default=0.0)
        self.world.run(START + end + 0.001)
        self._heal()
        self._settle()
        require(self._settled(), "it does not settle: " + "; ".join(self._unsettled()))
        self._part()
        self._check()

    def _heal(self) -> None:
        self._offline_until.clear()
        for process in self.world.processes:
            process.thaw()
            for descriptor in process.descriptors:
                if isinstance(descriptor, Output):
                    descriptor.resume()
                elif isinstance(descriptor, Listener):
                    descriptor.run_out(0.0)
                    process.poke()
                elif isinstance(descriptor, Socket) and descriptor.connected:
                    descriptor.outgoing.bytes_per_second = float("inf")
                    descriptor.outgoing.stalled_until = 0.0
        if any(life.terminated for life in self._rooms_now):
            server = self.sites[0]
            self.world.run(self.world.now + LEAVE_SECONDS, lambda: not server.alive)
        self._on_serve(Action(0.0, "serve"))
        if self.enemy == LIAR:
            # So that no message is held back any longer that was to be swapped.
            self._operate("SAY something to everybody")

    def _settle(self) -> None:
        self.world.run(self.world.now + SETTLE_SECONDS, self._settled)

    def _settled(self) -> bool:
        return next(self._unsettled(), None) is None

    def _unsettled(self) -> Iterator[str]:
        server = self.server
        assert server is not None
        homes = {home.tag: home for home in server.rooms}
        for run in self._alive():
            if run.tag not in homes:
                yield f"{run.title} is nowhere"
                return
        for home in homes.values():
            yield from self._unsettled_in(home)

    def _unsettled_in(self, home: HostedRoom) -> Iterator[str]:
        assert isinstance(home, LyingHome)
        room = home.room
        here = [run for run in self._alive() if run.tag == home.tag]
        if room.members.keys() != home._members.keys() or len(room.members) != len(here):
            yield f"{len(here)} run, {len(room.members)} are members, {len(home._members)} there"
        for run in here:
            yield from self._unsettled_run(run, room.id, home.end_for(run.member))

    def _unsettled_run(self, run: Run, room: bytes, end: int) -> Iterator[str]:
        participant = run.client.recorded
        if run.leaving_at < float("inf"):
            yield f"{run.title} does not leave"
        if run.input.unread or run.view.input._lines:
            yield f"{run.title} has lines left to read"
        if not participant.can_send:
            yield f"{run.title} is not current"
        elif participant.unacknowledged:
            yield f"{run.title} has {participant.unacknowledged} messages under way"
        elif (participant.room, participant.offset) != (room, end):
            yield f"{run.title} is behind"
        elif not participant.all_checked:
            yield f"{run.title} waits for a CHECK"

    def _alive(self) -> list[Run]:
        return [run for run in self.runs if run.process.alive]

    def _part(self) -> None:
        """Everybody leaves in order; then the server does."""
        for run in self._alive():
            run.endured = True
        for run in self._alive():
            run.leave(self.world.now)
        self.world.run(self.world.now + LEAVE_SECONDS, lambda: not self._alive())
        for run in self.runs:
            require(not run.process.alive, f"{run.title} does not leave")
            if run.endured:
                require(run.process.error is None, f"{run.title} ends with {run.process.error!r}")
        for site in self.sites:
            site.operate("TERMINATE")
        self.world.run(self.world.now + LEAVE_SECONDS, lambda: not self._serving())
        require(not self._serving(), "a server does not end")

    def _serving(self) -> bool:
        return any(site.alive for site in self.sites)

    def _branches(self) -> laws.Branches:
        """What each server made of a room, where they do not agree."""
        return {}

    def _check(self) -> None:
        grace, branches = self.conditions.grace, self._branches()
        laws.check(self.runs, self.lives, self.doors, grace, self.enemy, branches)
        logged = {life.text(entry) for life in self.lives for entry in life.messages()}
        for run in self.runs:
            if run.ended:
                self._check_exit(run, logged)

    def _check_exit(self, run: Run, logged: set[str]) -> None:
        """What the end of a run says about its messages is true (law 8)."""
        text = str(run.process.error or "")
        claimed = NOT_ACKNOWLEDGED.search(text)
        unread = run.input.unread.count(b"<")
        taken = run.typed[: len(run.typed) - unread]
        given = taken if run.is_terminal or run.process.error else run.typed
        lacking = [line for line in given if line not in logged]
        if claimed is None:
            require(not lacking, f"{run.title} ends with {text!r}, and lacks {lacking[:1]}")
        else:
            count = int(claimed[1])
            truth = f"where {len(lacking)} of {len(taken)} are"
            require(len(lacking) <= count <= len(taken), f"{run.title} ends with {text!r} {truth}")
        shown = [
            item.text
            for item in run.client.story.stream
            if isinstance(item, MessageReceived) and not item.own
        ]
        written = re.findall(r": (<.*>\.*)", run.output.written.decode())
        require(shown == written, f"{run.title} has not written all that it shows")

    def _stays_of_key(self, run: Run) -> Iterator[int]:
        """How many of its key are in each of the rooms, by the log."""
        for life in self.lives:
            stays = life.memberships.values()
            yield sum(one.fingerprint == run.fingerprint and one.left is None for one in stays)

    def _on_end(self, run: Run) -> None:
        """Whether a run has ended for a reason (law 8)."""
        run.ended, run.ended_at = True, self.world.now
        error = run.process.error
        was_asked = run.leaving_at < float("inf")
        has_closed = self._was_terminated()
        match error:
            case None:
                fair = was_asked or has_closed
            case RefusedError(reason=Reason.KICKED):
                fair = run.kicked or self._was_banned(run)
            case RefusedError(reason=Reason.NOT_ALLOWED):
                fingerprint = fingerprint_of_key(run.fingerprint)
                fair = not self.doors.is_listed(fingerprint, run.began) or self._was_banned(run)
            case RefusedError(reason=Reason.NAME_TAKEN):
                fair = run.refusable
            case RefusedError(reason=Reason.FULL):
                of_key = [each for each in self._in_room_of(run) if each.key_name == run.key_name]
                # Where several servers carry a room, those count as well that are gone with a
                # server of which nobody knows yet that it is.
                stays = max(self._stays_of_key(run)) if self.conditions.servers > 1 else 0
                fair = max(len(of_key), stays + 1) > MAX_CONNECTIONS_OF_KEY and not run.is_caller
            case UnacknowledgedError():
                fair = was_asked or has_closed
            case TransportError() if not run.client.recorded.has_joined:
                fair = bool(self.enemy) or "protocol" not in str(error)
            case TransportError():
                fair = has_closed or self._was_patient(run)
                fair &= "protocol" not in str(error) and "out of place" not in str(error)
            case _:
                fair = False
        require(fair, f"{run.title} ends with {error!r}")

    def _in_room_of(self, run: Run) -> list[Run]:
        return [each for each in self.runs if each.tag == run.tag]

    def _was_patient(self, run: Run) -> bool:
        return run.patience is not None and self.world.now >= run.stuck_since + run.patience

    def _was_terminated(self) -> bool:
        return any(life.terminated for life in self.lives)

    # -- what happens

    def _carry_out(self, action: Action) -> None:
        name = f"_on_{action.kind}"
        getattr(self, name)(action)

    def _is_offline(self, process: Process) -> bool:
        return self.world.now < self._offline_until.get(process.name.split(" ")[0], 0.0)

    def stand_ins(self) -> tuple[object, type[HostedRoom]]:
        """What is made where the server makes a `Room` and a `HostedRoom`."""
        return partial(LyingRoom, self.life_of, self.world.clock), LyingHome

    def life_of(self, room: bytes) -> Life:
        """A room begins."""
        life = Life(room, self._secrets, self._private, {TAG: SEALED})
        life.server = self._servers
        self.lives.append(life)
        self._rooms_now.append(life)
        return life

    def _site_of(self, action: Action) -> Site:
        return self.sites[action.who % len(self.sites)]

    def _on_serve(self, action: Action) -> None:
        site = self._site_of(action)
        if not site.alive:
            self._servers += 1
            self._rooms_now.clear()
            self._serve(site, Process(self.world, f"{site.name} {self._servers}"))

    def _serve(self, site: Site, process: Process) -> None:
        world, conditions = self.world, self.conditions
        site.began, site.process = True, process
        site.input = Input(process, is_terminal=False)
        output = LineOutput(process.reactor, Output(process).fileno(), "utf-8")
        desk = PlainDesk(process.reactor, site.input.fileno(), output)
        console = Console(process.reactor, desk)
        site.listener = world.listeners[site.host] = Listener(process)
        access = RecordedAccess(self.doors, self._servers, world.clock)
        greeting = Greeting()
        server = site.server = Server(
            process.reactor,
            [cast(socket.socket, site.listener)],
            cheap_key(SERVER_KEY),
            console,
            conditions.grace,
            conditions.rate,
            access=access,
            greeting=greeting,
            company=self._company(site, SharedLists(access, greeting, console)),
        )
        console.obey(server)

        def main() -> None:
            server.run()
            console.close()

        process.on_end = partial(self._note_end, site)
        process.reactor.look = partial(self._look, site)
        process.start(main)

    def _company(self, _site: Site, _shared: SharedLists) -> Company | None:
        """The other servers."""
        return None

    def _look(self, site: Site) -> None:
        """A server waits: is it as it has to be?"""
        server = site.server
        for home in server.rooms:
            assert isinstance(home, LyingHome)
            log, window = home.log, self.conditions.window
            # After CLOSING nothing is appended, and slow members still read what is there.
            bounded = server._terminating or log.end - log.start <= window * (1 + home.spare)
            require(bounded, "the log is larger than its window")
            require(log.end - log.start == len(log._bytes), "the log is not what it says")
            closed = not (home.tag and home.ordering.is_over)
            require(closed or server._terminating, "a sealed room is kept for nobody")
            if not server._terminating:
                # After CLOSING nobody is put out: all go, and only read what is there.
                self._look_for_banned(server, home)
            kept = log.start <= home.life.start_of_window(window, log.end)
            require(kept, "the log has forgotten what is in its window")
        for connection in server.connections:
            sent = connection.cursor.idle or connection.transport.writing
            require(sent, "something could be sent, and waits for nothing")

    def _look_for_banned(self, server: Server, home: HostedRoom) -> None:
        for ban in server.access.bans():
            everybody = (*home.room.members.values(), *home.room._members.pending)
            keys = {fingerprint_of_key(one.fingerprint) for one in everybody}
            require(ban.fingerprint not in keys, "somebody is in whose key is banned")

    def _start(self, who: int, key_name: str, *, caller: bool = False) -> Run:
        name, number = f"p{who}", len(self.runs) + 1
        terminal = bool(self.conditions.terminals >> who & 1) and not caller
        room_key = self._room_key(who)
        run = Run(
            self.world,
            name,
            key_name,
            number,
            terminal=terminal,
            caller=caller,
            room_key=room_key,
            # `send` keeps nothing.
            known=SharedLines() if caller else self._known.setdefault(key_name, SharedLines()),
            servers=self._servers_for(who),
        )
        for other in self._in_room_of(run):
            if other.name == name and other.key_name != key_name:
                other.refusable = run.refusable = True
        self.runs.append(run)

        def look() -> None:
            require(not run.client.lingers, f"{run.title} could send, and waits for nothing")
            run.stuck_since = run.client.recorded.stuck_since

        run.process.reactor.look = look
        run.process.on_end = partial(self._on_end, run)
        run.process.start(run.main)
        return run

    def _room_key(self, who: int) -> RoomKey | None:
        """Of the room that somebody comes into now. Who has the key of the sealed room comes into
        the open one as well: with every fourth process."""
        has_key = self.conditions.sealed >> who & 1
        before = sum(run.name == f"p{who}" for run in self.runs)
        return SEALED if has_key and before % 4 < 3 else None

    def _servers_for(self, _who: int) -> list[Endpoint]:
        """In the order in which somebody knows them."""
        return [Endpoint(site.host, 9443) for site in self.sites]

    def _note_end(self, _site: Site) -> None:
        """A server dies, or has died."""
        self._note_death()

    def _note_death(self) -> None:
        for life in self._rooms_now:
            life.died_at = min(life.died_at, self.world.now)

    def _current(self, action: Action) -> list[Run]:
        """One of the processes of this person that are running, if there is one."""
        name = f"p{action.who}"
        running = [run for run in self.runs if run.name == name and run.process.alive]
        return [running[round(action.at * 1000) % len(running)]] if running else []

    def _on_start(self, action: Action) -> None:
        self._start(action.who, f"p{action.who}")

    def _on_call(self, action: Action) -> None:
        """A person's script says one thing, and some others at the same moment."""
        for _ in range(1 + round(action.value)):
            self._call(action, f"p{action.who}")

    def _call(self, action: Action, key_name: str) -> None:
        run = self._start(action.who, key_name, caller=True)
        run.type(1, action.size)
        run.leave(self.world.now)

    def _on_impostor(self, action: Action) -> None:
        """Somebody of this name with another key; perhaps only to call."""
        if action.size:
            self._call(action, f"not p{action.who}")
        else:
            self._start(action.who, f"not p{action.who}")

    def _decide(self, action: Action) -> None:
        for run in self._current(action):
            if run.accepts and run.client.in_room:
                decide = partial(run.client.decide, action.kind, f"p{action.size}")
                run.process.reactor.defer(decide)
                run.process.poke()

    _on_trust = _on_ignore = _on_unignore = _decide

    def _on_say(self, action: Action) -> None:
        for run in self._current(action):
            if run.accepts:
                run.type(int(action.value), action.size)

    def _on_msg(self, action: Action) -> None:
        for run in self._current(action):
            if run.accepts and run.client.has_joined:
                run.process.reactor.defer(partial(run.tell, self._private, action.size))
                run.process.poke()

    def _on_exit(self, action: Action) -> None:
        for run in self._current(action):
            run.leave(self.world.now)

    def _on_crash(self, action: Action) -> None:
        for run in self._current(action):
            run.process.kill()

    def _on_vanish(self, action: Action) -> None:
        for run in self._current(action):
            run.process.vanish()

    def _links(self, action: Action) -> list[tuple[Socket, Socket]]:
        """The client's and the server's end."""
        return [
            (near, near.outgoing.target) for run in self._current(action) for near in run.sockets
        ]

    def _on_reset(self, action: Action) -> None:
        for near, far in self._links(action):
            near.break_down()
            far.break_down()

    def _on_eof(self, action: Action) -> None:
        for near, far in self._links(action):
            near.end_incoming()
            far.end_incoming()

    def _on_reset_client(self, action: Action) -> None:
        for near, _ in self._links(action):
            near.break_down()

    def _on_reset_server(self, action: Action) -> None:
        for _, far in self._links(action):
            far.break_down()

    def _on_blackhole(self, action: Action) -> None:
        for near, _ in self._links(action):
            near.sever()

    def _on_stall_up(self, action: Action) -> None:
        for near, _ in self._links(action):
            near.outgoing.stalled_until = self.world.now + action.value

    def _on_stall_down(self, action: Action) -> None:
        for _, far in self._links(action):
            far.outgoing.stalled_until = self.world.now + action.value

    def _on_throttle(self, action: Action) -> None:
        for near, _ in self._links(action):
            near.incoming.bytes_per_second = near.outgoing.bytes_per_second = action.value

    def _on_offline(self, action: Action) -> None:
        self._offline_until[f"p{action.who}"] = self.world.now + action.value
        self._on_blackhole(action)

    def _on_freeze(self, action: Action) -> None:
        for run in self._current(action):
            run.process.freeze(action.value)

    def _on_slow_reader(self, action: Action) -> None:
        for run in self._current(action):
            run.output.stall(action.value)

    def _on_kick(self, action: Action) -> None:
        name = f"p{action.who}"
        of_name = [run for run in self.runs if run.name == name]
        tag = of_name[-1].tag if of_name else b""
        self._operate(f"KICK {name} {room_name(tag)}")
        for run in of_name:
            run.kicked = True

    def _on_ban(self, action: Action) -> None:
        name = f"p{action.who}"
        self._operate(f"BAN {cheap_key(name).public.fingerprint if action.size else name}")

    def _on_unban(self, action: Action) -> None:
        self._operate(f"UNBAN {cheap_key(f'p{action.who}').public.fingerprint}")

    def _on_allow(self, action: Action) -> None:
        key = f"not p{action.who}" if action.size else f"p{action.who}"
        self._operate(f"ALLOW {cheap_key(key).public.fingerprint}")

    def _on_forget(self, action: Action) -> None:
        self._operate(f"FORGET p{action.who}")

    def _was_banned(self, run: Run) -> bool:
        fingerprint = fingerprint_of_key(run.fingerprint)
        return any(
            ban.fingerprint == fingerprint and run.began <= ban.until for ban in self.doors.bans
        )

    def _on_notice(self, _action: Action) -> None:
        self._operate("SAY something to everybody")

    def _operate(self, line: str) -> None:
        # With several, whichever it is by now.
        self.sites[int(self.world.now * 1000) % len(self.sites)].operate(line)

    def _on_kill(self, action: Action) -> None:
        for site in self._running(action):
            self._note_end(site)
            site.process.kill()

    def _on_power_off(self, action: Action) -> None:
        for site in self._running(action):
            self._note_end(site)
            site.process.vanish()

    def _on_terminate(self, action: Action) -> None:
        for site in self._running(action):
            self._note_death()
            for life in self._rooms_now:
                life.terminated = True
            site.operate("TERMINATE")

    def _running(self, action: Action) -> Iterator[Site]:
        """The server that is meant, if it is running."""
        site = self._site_of(action)
        if site.alive:
            yield site

    def _on_freeze_server(self, action: Action) -> None:
        for site in self._running(action):
            site.process.freeze(action.value)

    def _on_out_of_descriptors(self, action: Action) -> None:
        for site in self._running(action):
            site.listener.run_out(min(action.value, 10.0))

    def _on_enemy(self, action: Action) -> None:
        self._hold_cable(action, TRICKS, lambda _: False)

    def _on_lying_server(self, action: Action) -> None:
        """The server begins to show this member another conversation than the others."""
        if not self.sites[0].alive:
            return
        server, process = self.sites[0].server, self.sites[0].process
        for run in self._current(action):
            for home in server.rooms:
                if isinstance(home, LyingHome) and home.room.id == run.client.recorded.room:
                    process.reactor.defer(partial(self._lie, home, run.member, LIES[action.size]))
                    process.poke()

    def _on_swap_roster(self, action: Action) -> None:
        """In each room, show two members swapped to the next one who comes to two others."""
        for home in self.server.rooms if self.server is not None else ():
            assert isinstance(home, LyingHome)
            home.room.swap = SWAPS[action.size]

    def _lie(self, home: LyingHome, member: int, trick: str) -> None:
        # Nothing may be appended after CLOSING.
        if self.server is not None and not self.server._terminating:
            home.deceive(member, trick)

    def _on_former_member(self, action: Action) -> None:
        self._hold_cable(action, TRICKS_WITH_KEYS, lambda stay: stay.left is not None)

    def _on_present_member(self, action: Action) -> None:
        self._hold_cable(action, TRICKS_WITH_KEYS, lambda _: True)

    def _hold_cable(
        self, action: Action, tricks: Sequence[str], knows: Callable[[Membership], bool]
    ) -> None:
        """Somebody holds the cable of one member for a while, with the secrets of those others of
        whom `knows` says so."""
        trick = tricks[action.size % len(tricks)]

        def secrets(tag: bytes) -> dict[int, bytes]:
            lives = [life for life in self.lives if life.tag == tag]
            return {
                epoch: secret
                for life in lives[-1:]
                for epoch, secret in life.secrets.items()
                for stay in life.memberships.values()
                if stay.name != f"p{action.who}"
                and knows(stay)
                and stay.first_epoch <= epoch <= stay.last_epoch
            }

        def proof_of(tag: bytes, member: int) -> bytes:
            lives = [life for life in self.lives if life.tag == tag]
            return lives[-1].proof_of(member) if lives else b""

        for run in self._current(action):
            known = partial(secrets, run.tag)
            for stream in (way for near in run.sockets for way in (near.incoming, near.outgoing)):
                if stream.passing is None:
                    enemy = Enemy(
                        trick,
                        self.world.random,
                        self.world.urandom,
                        known,
                        run.room_key,
                        partial(proof_of, run.tag),
                    )
                    stream.passing = enemy.pass_on
                    until = self.world.now + min(action.value, MAX_HELD_SECONDS)
                    self.world.at(until, partial(self._let_go, stream, enemy))

    def _let_go(self, stream: Stream, enemy: Enemy) -> None:
        stream.passing = None
        stream.arrived += enemy.let_go()
        stream.target.process.poke()

    def _on_jump(self, action: Action) -> None:
        self.world.wall_offset += action.value


# -- running, shrinking, printing --------------------------------------------------------------


@contextmanager
def patched(simulation: Simulation) -> Iterator[None]:
    """The program's modules see the world in the place of the system."""
    world, conditions = simulation.world, simulation.conditions
    room, home = simulation.stand_ins()
    participant = partial(RecordedParticipant, world.clock)
    signals = SimpleNamespace(signal=lambda *_: None, SIGTTIN=0, SIG_IGN=0, SIGCONT=0)
    with ExitStack() as stack:
        patch_keys(stack)
        for module, names in (
            (chat.client.client, ("os", "time")),
            (chat.client.redial, ("random",)),
            (chat.server.hosted, ("os", "time")),
            (chat.server.doorman, ("os", "time")),
            (chat.server.connection, ("os",)),
            (chat.server.server, ("time",)),
            (chat.server.console, ("time",)),
            (chat.stdio, ("os", "select", "time")),
            (chat.resolver, ("socket",)),
            (chat.sockets, ("os", "socket")),
            (chat.transport, ("socket",)),
        ):
            for name in names:
                stack.enter_context(mock.patch.object(module, name, world))
        stand_ins: list[tuple[object, str, object]] = [
            (chat.stdio, "signal", signals),
            (chat.client.client, "Participant", participant),
            (chat.client.client, "Contacts", RecordedContacts),
            (chat.server.doorman, "Connection", OrderedConnection),
            (OrderedConnection, "_count", 0),
            (chat.server.hosted, "Room", room),
            (chat.server.server, "HostedRoom", home),
            (chat.server.cluster.cluster, "OrderedRoom", Replica),
            (chat.server.cluster.room, "MAX_EPOCH_BYTES", conditions.epoch),
            (chat.server.cluster.sequence, "SNAPSHOT_BYTES", conditions.entries),
            (chat.server.cluster.stream, "SNAPSHOT_BYTES", conditions.entries),
            (chat.server.server, "WINDOW_BYTES", conditions.window),
            (chat.server.hosted, "WINDOW_BYTES", conditions.window),
            (chat.transport, "READ_BYTES", conditions.read_bytes),
            (chat.transport, "SEND_BYTES", conditions.send_bytes),
            (chat.client.outbox, "OUTBOX_MESSAGES", conditions.outbox),
        ]
        for target, name, stand_in in stand_ins:
            stack.enter_context(mock.patch.object(target, name, stand_in))
        yield


def _simulation_of(seed: int, conditions: Conditions, enemy: str) -> Simulation:
    if conditions.servers == 1:
        return Simulation(seed, conditions, enemy)
    from tests.simulation_of_servers import ClusterSimulation

    return ClusterSimulation(seed, conditions, enemy)


def simulate(
    seed: int, conditions: Conditions, schedule: Sequence[Action], enemy: str = ""
) -> Simulation:
    """Run one schedule; returns what came of it.

    Raises:
        ViolationError: a law does not hold.
    """
    simulation = _simulation_of(seed, conditions, enemy)
    with patched(simulation):
        simulation.run(schedule)
    return simulation


def violation_of(
    seed: int, conditions: Conditions, schedule: Sequence[Action], enemy: str = ""
) -> ViolationError | None:
    try:
        simulate(seed, conditions, schedule, enemy)
    except ViolationError as violation:
        return violation
    return None


def shrink(
    seed: int,
    conditions: Conditions,
    schedule: Sequence[Action],
    violation: ViolationError,
    enemy: str = "",
) -> list[Action]:
    """A short schedule that breaks a law in the same way: actions are left out as long as it does,
    many at first, then one by one."""
    shortest = list(schedule)
    kind = _kind_of(violation)
    size = len(shortest) // 2
    while size:
        start, before = 0, len(shortest)
        while start < len(shortest):
            candidate = shortest[:start] + shortest[start + size :]
            found = violation_of(seed, conditions, candidate, enemy)
            if found is not None and _kind_of(found) == kind:
                shortest = candidate
            else:
                start += size
        if size > 1 or len(shortest) == before:
            size //= 2
    return shortest


def _kind_of(violation: ViolationError) -> str:
    """What is left of its text without what changes from schedule to schedule."""
    return re.sub(r"[0-9]+|<.*|;.*|\.\.+", "", str(violation))[:60]


def report(seed: int, conditions: Conditions, schedule: Sequence[Action], enemy: str = "") -> str:
    """What is printed of a schedule that breaks a law."""
    violation = violation_of(seed, conditions, schedule, enemy)
    assert violation is not None
    shortest = shrink(seed, conditions, schedule, violation, enemy)
    violation = violation_of(seed, conditions, shortest, enemy)
    lines = [f"seed {seed}: {violation}", f"  {conditions}", *(f"  {step}" for step in shortest)]
    return "\n".join(lines)


def check_seed(seed: int, enemy: str = "", servers: int = 0) -> Simulation:
    """Run what a seed makes; returns what came of it. `enemy`: one of ENEMIES, or nobody.
    `servers`: see `conditions_of`.

    Raises:
        ViolationError: a law does not hold; with the seed and the shortest schedule.
    """
    conditions = conditions_of(seed, enemy, servers)
    schedule = schedule_of(seed, conditions, enemy)
    try:
        return simulate(seed, conditions, schedule, enemy)
    except ViolationError as violation:
        raise ViolationError(report(seed, conditions, schedule, enemy)) from violation


def _show_progress(text: str) -> None:
    """In the row of a terminal that is written again and again; an empty text clears it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--enemy", choices=["", *ENEMIES], default="", help="who it is")
    parser.add_argument("--servers", type=int, default=0, help="how many; 0: as the seed says")
    options = parser.parse_args(arguments)
    if options.enemy and options.servers > 1:
        parser.error("an enemy is known for one server alone")
    turns = failures = 0
    for done in range(options.seeds):
        rate = turns / (time.monotonic() - began)
        _show_progress(
            f"{done} of {options.seeds} seeds, {failures} failed, {rate:.0f} turns a second"
        )
        try:
            seed = options.first + done
            turns += check_seed(seed, options.enemy, options.servers).world.turns
        except ViolationError as violation:
            failures += 1
            _show_progress("")
            print(violation, flush=True)
    _show_progress("")
    seconds = time.monotonic() - began
    print(
        f"{options.seeds} seeds against {options.enemy or 'nobody'}, {failures} failed, "
        f"{turns} turns of the loop in {seconds:.1f} s ({turns / seconds:.0f} a second)"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    # As a module that others can import, so that there is one of it.
    from tests import simulation

    sys.exit(simulation.main())
