"""The simulation of `simulation`, with several servers that carry the rooms together.

They have one Redis between them, in memory. Beside what can happen to one server they are cut from
it, and from the clients, and the way to it gets slow for one or for all; it is down or full, loses
its last writes or all, or the snapshots; and somebody writes there once more what stands there
already. All laws hold as they stand, and so do 19 and 20.
"""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random

from chat.limits import CLUSTER_KEY_BYTES
from chat.place import Endpoint
from chat.server.cluster.cluster import Cluster
from chat.server.cluster.clusterkey import ClusterKey
from chat.server.cluster.shared import SharedLists
from chat.server.company import Company
from chat.server.hosted import HostedRoom
from chat.server.server import Server
from chat.text import fingerprint_of
from tests import laws
from tests.laws_of_keys import require
from tests.simulation import (
    LEAVE_SECONDS,
    SEALED,
    TAG,
    Action,
    Conditions,
    Run,
    Simulation,
    Site,
)
from tests.support.simulated import Process, Socket
from tests.support.simulated_cluster import (
    Branch,
    Chronicle,
    Replica,
    ReplicaHome,
    ReplicaMaker,
    SimulatedRedis,
    SimulatedStore,
)
from tests.support.simulated_record import around

KEY = ClusterKey.of(b"k" * CLUSTER_KEY_BYTES, "simulated")

WEIGHTS = {
    "kill": 4,
    "power_off": 2,
    "terminate": 2,
    "freeze_server": 4,
    "cut_redis": 5,
    "cut_clients": 4,
    "fail_over": 4,
    "redis_down": 3,
    "redis_full": 2,
    "isolate": 4,
    "redis_wiped": 1,
    "snapshots_lost": 2,
    "restart_all": 1,
    "upgrade": 2,
}
"""What can happen to several servers, and how often."""


def actions_of_servers(seed: int, until: float, servers: int) -> Iterator[Action]:
    """All of them start; then things happen to them while people talk."""
    random = Random(f"actions of servers {seed}")
    for number in range(1, servers):
        yield Action(random.choice((0.0, 0.0, 5.0)), "serve", number)
    kinds = random.sample(sorted(WEIGHTS), random.randint(2, len(WEIGHTS)))
    weights = [WEIGHTS[kind] for kind in kinds]
    for _ in range(random.randint(2, 8)):
        at, who = random.uniform(2.0, until), random.randrange(servers)
        (kind,) = random.choices(kinds, weights)
        yield from _some(kind, at, who, servers, random)
        for _ in range(random.choice((0, 3))):
            yield Action(at + random.uniform(-0.5, 1.0), "say", random.randrange(8), 1)
    again = Random(f"written again {seed}")
    for _ in range(again.choice((0, 0, 1, 3))):
        yield Action(again.uniform(2.0, until), "write_again", size=again.choice((1, 5, 20)))
    slow = Random(f"slow {seed}")
    for _ in range(slow.choice((0, 0, 1, 2))):
        at, seconds = slow.uniform(2.0, until), slow.choice((5.0, 20.0, 60.0))
        # One server, or all of them.
        for each in slow.choice(([slow.randrange(servers)], range(servers))):
            yield Action(at, "slow_redis", each, seconds, slow.choice((1, 4, 8, 15)))


def _some(kind: str, at: float, who: int, servers: int, random: Random) -> Iterator[Action]:
    seconds = random.choice((0.3, 2.0, 10.0, 20.0)) * random.uniform(0.5, 1.5)
    if kind in ("kill", "power_off", "terminate"):
        yield Action(at, kind, who)
        yield Action(at + random.choice((0.1, 3.0, 15.0, 40.0)), "serve", who)
    elif kind == "isolate":
        # Its members say something that does not leave, and then come to another server.
        yield Action(at, "cut_redis", who, 60.0)
        yield from (Action(at + 0.5 + 0.1 * each, "say", each, 1) for each in range(8))
        yield Action(at + 1.5, "cut_clients", who, 40.0, 2)
    elif kind == "restart_all":
        for each in range(servers):
            yield Action(at + random.choice((0.0, 0.5)), "kill", each)
            yield Action(at + seconds, "serve", each)
    elif kind == "upgrade":
        for each in range(servers):
            yield Action(at + 8 * each, "terminate", each)
            yield Action(at + 8 * each + random.choice((2.0, 6.0)), "serve", each)
    else:
        yield Action(at, kind, who, seconds, random.choice((1, 2, 5, 20)))


class ServerSite(Site):
    """Where one of several servers runs."""

    store: SimulatedStore
    cluster: Cluster


def _bans_of(site: Site) -> frozenset[str]:
    return frozenset(ban.fingerprint for ban in site.server.access.bans())


class ClusterSimulation(Simulation):
    """One world with several servers."""

    sites: list[ServerSite]  # type: ignore[assignment]

    def __init__(self, seed: int, conditions: Conditions, enemy: str = "") -> None:
        super().__init__(seed, conditions, enemy)
        self.redis = SimulatedRedis(self.world, seed)
        self._chronicle = Chronicle(
            self.world, self.redis, self._began, self._secrets, self._private, {TAG: SEALED}
        )
        Replica.chronicle = self._chronicle
        self._ending: list[Process] = []
        self._was_ended = False
        """Whether the last server has ended it for everybody."""

    def _make_sites(self) -> list[Site]:
        count = self.conditions.servers
        return [ServerSite(f"s{number}.example", f"server{number}") for number in range(count)]

    def stand_ins(self) -> tuple[object, type[HostedRoom]]:
        return ReplicaMaker(self._chronicle), ReplicaHome

    def _branches(self) -> laws.Branches:
        return self._chronicle.told

    def _began(self, branch: Branch) -> None:
        """A room begins, and the one before is over."""
        for life in self.lives:
            if life.tag == branch.tag:
                life.died_at = min(life.died_at, self.world.now)
        self.lives.append(branch)

    def _servers_for(self, who: int) -> list[Endpoint]:
        servers = super()._servers_for(who)
        first = who % len(servers)
        return servers[first:] + servers[:first]

    def _company(self, site: Site, shared: SharedLists) -> Company | None:
        assert isinstance(site, ServerSite)
        world, process = self.world, site.process
        world.running = process
        store = SimulatedStore(self.redis, process, self.conditions.redis_latency)
        cluster = Cluster(process.reactor, store, KEY, b"", site.host, world.urandom, shared)
        store.follow_by(cluster.streams)
        store.begin()
        around(cluster, "leave", partial(self._on_leave, cluster))
        site.store, site.cluster = store, cluster
        return cluster

    def _on_leave(self, cluster: Cluster, leave: Callable[[], None]) -> None:
        self._was_ended |= cluster.alone
        leave()

    def _note_end(self, site: Site) -> None:
        assert isinstance(site, ServerSite)
        if site.store in self.redis.stores:
            site.store.close()

    def _was_terminated(self) -> bool:
        return self._was_ended

    def _was_banned(self, run: Run) -> bool:
        # Not every server hears at once that a ban is lifted.
        fingerprint = fingerprint_of(run.fingerprint)
        return any(ban.fingerprint == fingerprint for ban in self.doors.bans)

    def _check(self) -> None:
        # Nor that somebody is banned.
        self.doors.bans.clear()
        super()._check()

    def _look_for_banned(self, server: Server, home: HostedRoom) -> None:
        """They are on their way out: see `_unsettled`."""

    # -- the end

    def _heal(self) -> None:
        self.redis.full = self.redis.down = False
        for site in self.sites:
            if site.alive:
                site.store.cut_until = site.store.lag = 0.0
                site.process.thaw()
        self.world.run(
            self.world.now + LEAVE_SECONDS, lambda: not any(each.alive for each in self._ending)
        )
        for number in range(len(self.sites)):
            self._on_serve(Action(0.0, "serve", number))
        super()._heal()

    def _unsettled(self) -> Iterator[str]:
        if len({_bans_of(site) for site in self.sites}) > 1:
            yield "the servers do not have the same bans"
        for site in self.sites:
            peers = site.cluster.registry.peers
            if len(peers) != len(self.sites):
                yield f"{site.name} hears {len(peers)} servers"
        everywhere = [home for site in self.sites for home in site.server.rooms]
        # In a room in which nobody is running somebody may still be on the way out.
        tags = {run.tag for run in self._alive()} | {home.tag for home in everywhere}
        for tag in sorted(tags):
            runs = [run for run in self._alive() if run.tag == tag]
            homes = [home for home in everywhere if home.tag == tag]
            yield from self._unsettled_together(runs, homes)

    def _unsettled_together(self, runs: list[Run], homes: list[HostedRoom]) -> Iterator[str]:
        if not homes:
            yield from (f"{run.title} is nowhere" for run in runs)
            return
        logs = {(home.room.id, home.log.start, home.log.end) for home in homes}
        if len(logs) > 1:
            yield f"the servers have {len(logs)} logs"
        for home in homes:
            assert isinstance(home.ordering, Replica)
            if home.ordering.stream.lost or not home.ordering.stream.idle:
                yield "something proposed has not come back"
        room = homes[0].room
        here = [number for home in homes for number in home._members]
        if sorted(here) != sorted(room.members) or len(here) != len(runs):
            yield f"{len(runs)} run, {len(room.members)} are members, {len(here)} there"
        for run in runs:
            yield from self._unsettled_run(run, room.id, homes[0].log.end)

    def _settled(self) -> bool:
        if not super()._settled():
            return False
        banned = _bans_of(self.sites[0])
        inside = {
            fingerprint_of(one.fingerprint)
            for site in self.sites
            for home in site.server.rooms
            for one in home.room.members.values()
        }
        require(not banned & inside, "somebody is in whose key is banned")
        return True

    # -- what happens

    def _on_terminate(self, action: Action) -> None:
        self._ending += [site.process for site in self._running(action)]
        super()._on_terminate(action)

    def _on_cut_redis(self, action: Action) -> None:
        for site in self._running(action):
            assert isinstance(site, ServerSite)
            site.store.cut_for(action.value)

    def _on_slow_redis(self, action: Action) -> None:
        """Each way of this server to Redis and back takes `size` seconds."""
        for site in self._running(action):
            assert isinstance(site, ServerSite)
            site.store.lag = float(action.size)
            self.world.at(self.world.now + action.value, partial(setattr, site.store, "lag", 0.0))

    def _on_cut_clients(self, action: Action) -> None:
        """Nobody reaches this server, which goes on. With an even `size` clients notice at once."""
        for site in self._running(action):
            self._offline_until[site.name] = self.world.now + action.value
            for descriptor in list(site.process.descriptors):
                if isinstance(descriptor, Socket) and descriptor.connected:
                    if action.size % 2 == 0:
                        descriptor.outgoing.target.break_down()
                    descriptor.sever()

    def _on_fail_over(self, action: Action) -> None:
        self.redis.fail_over(action.size)

    def _on_write_again(self, action: Action) -> None:
        self.redis.write_again(action.size)

    def _on_redis_wiped(self, _action: Action) -> None:
        self.redis.wipe()

    def _on_snapshots_lost(self, _action: Action) -> None:
        self.redis.lose_values()

    def _on_redis_down(self, action: Action) -> None:
        self.redis.down = True
        self.redis.fail_over(0)
        self.world.at(self.world.now + action.value, partial(setattr, self.redis, "down", False))

    def _on_redis_full(self, action: Action) -> None:
        self.redis.full = True
        self.world.at(self.world.now + action.value, partial(setattr, self.redis, "full", False))

    def _on_jump(self, action: Action) -> None:
        super()._on_jump(action)
        self.redis.ahead += action.value
