"""One server of a cluster: joins the server, its rooms and the store.

Each room of the server is carried by a stream (`OrderedRoom`), and there is one stream for what all
servers share (`Registry`). Which one is asked when, and who tells whom, is here; what they do is
theirs. What follows where Redis is slow or away is in `reach`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

from chat.cipher import RandomBytes
from chat.errors import ChatError
from chat.limits import BEAT_SECONDS, CARD_SECONDS, SERVER_ID_BYTES
from chat.reactor import Reactor, WakeUp
from chat.roomevents import Topic
from chat.server import words
from chat.server.cluster.clusterkey import ClusterKey
from chat.server.cluster.reach import Reach
from chat.server.cluster.registry import TAG, Registry, Shared
from chat.server.cluster.room import OrderedRoom, Randomness
from chat.server.cluster.store import Store
from chat.server.cluster.streams import Streams
from chat.server.hosted import HostedRoom
from chat.server.lists import Ban


class Cluster:
    """See the module's text. `card`: that of this server (`check`). `title`: where it is reached.
    The store has to be begun by whoever made it, after this; `streams` is its watcher."""

    def __init__(
        self,
        reactor: Reactor,
        store: Store,
        key: ClusterKey,
        card: bytes,
        title: str,
        random_bytes: RandomBytes,
        shared: Shared,
    ) -> None:
        self.server_id = random_bytes(SERVER_ID_BYTES)
        self.random_bytes = random_bytes
        self.clock = reactor.clock
        self.tickets: Iterator[int] = count(1)
        self.call = reactor.call
        self.report = shared.report
        self.ban_on = shared.ban_on
        self._reactor = reactor
        self._store = store
        self._card = key.card, card
        self._title = title
        self._rooms: dict[bytes, OrderedRoom] = {}
        self._left = False
        self._beat_due = reactor.clock()
        self.streams = Streams(store, key, random_bytes, self._on_away, self._on_refusal)
        self.registry = Registry(self.server_id, reactor.clock, shared)
        self._reach = Reach(
            self.clock, store, self.streams, self.registry, self._rooms, shared.report
        )
        self.registry.on_heard = self._reach.look
        self.registry.on_ban = self._put_out
        self.registry.on_topic = self._tell_topic
        self.registry.on_asked = self._answer
        self.registry.on_answered = self._on_answered
        self.registry.stream = self.streams.open(TAG, self.registry)
        self._wake_up = WakeUp(reactor)
        reactor.call_at(self._beat_due, self._beat)

    def carry(self, make: Callable[[RandomBytes], HostedRoom]) -> HostedRoom:
        """Make a room, and carry it from now on, together with the other servers."""
        randomness = Randomness()
        hosted = make(randomness)
        room = OrderedRoom(hosted, randomness, self)
        room.stream = self.streams.open(hosted.tag, room)
        room.on_end = partial(self._drop, hosted.tag)
        self._rooms[hosted.tag] = room
        return hosted

    def _drop(self, tag: bytes) -> None:
        self.streams.close(self._rooms.pop(tag).stream)

    def read(self) -> None:
        """Let take effect what the others have said. An error in one room keeps no other from
        it."""
        now = self.clock()
        for stream in self.streams.due(now):
            self.call(partial(stream.read, now))
        self.registry.follow()

    def flush(self) -> None:
        """Let what was proposed leave."""
        self.streams.flush(self.clock())
        self._wake_up.set(self.streams.deadline)

    @property
    def cut_off(self) -> bool:
        """Whether nobody is let in here, since nothing comes back from Redis in time."""
        return self._reach.cut_off

    @property
    def alone(self) -> bool:
        """Whether it is sure that no other server is there."""
        return self.registry.alone

    def leave(self) -> None:
        """This server goes: let the others know that its members have lost their connections."""
        self.read()
        for room in self._rooms.values():
            room.vanish(self.server_id)
            room.expire()
        self.registry.leave()
        self.flush()
        self._left = True
        # Members are still sent what there is, and for that no room may change here any more. Nor
        # is anything said after the farewell: a registry that begins anew would say it is alive.
        for stream in (self.registry.stream, *(room.stream for room in self._rooms.values())):
            self.streams.close(stream)

    # -- what all share

    def ban(self, ban: Ban) -> None:
        """The operator of this server has banned a key."""
        self.registry.ban(ban)

    def unban(self, bans: list[Ban]) -> None:
        """The operator of this server has lifted these bans."""
        self.registry.unban([ban.fingerprint for ban in bans])

    def forget(self, name: str) -> None:
        """The operator of this server has freed a name."""
        self.registry.forget(name)

    def set_topic(self, topic: Topic) -> None:
        """The operator of this server has set the topic."""
        self.registry.set_topic(topic.since, topic.text)

    def lines(self) -> list[str]:
        """How the servers are, for the operator."""
        peers = self.registry.peers
        lines = [words.servers(len(peers), known=self._reach.hears)]
        for number, peer in peers.items():
            own = number == self.server_id
            # Of this one it is known how many there are now; of the others, how many there were.
            people = self._people if own else peer.people
            heard = peer.heard_at > self.registry.heard_since
            age = self.clock() - peer.heard_at if heard else None
            lines.append(words.server_line(peer.title, people, age, peer.behind, own=own))
        return lines

    @property
    def _people(self) -> int:
        return sum(room.people for room in self._rooms.values())

    # -- the others

    def _beat(self) -> None:
        if self._left:
            return
        was_stopped = self.clock() - self._beat_due > BEAT_SECONDS
        self._beat_due = self.clock() + BEAT_SECONDS
        self._reactor.call_at(self._beat_due, self._beat)
        if self._store.up:
            # Redis may have lost it, or have been away for longer than it is kept.
            self._store.hold(*self._card, CARD_SECONDS)
        rooms = self._rooms.items()
        unsure = {tag: servers for tag, room in rooms if (servers := room.unsure)}
        self.registry.beat(self._title, self._people, unsure, self._reach.rooms_behind)
        if not was_stopped:
            # Otherwise what came meanwhile is still to be read.
            self._reach.look()
        for room in self._rooms.values():
            for server in self.registry.gone(room.servers()):
                room.vanish(server)
            room.take_back_wishes()
            room.expire_again()

    def _answer(self, tag: bytes) -> None:
        """Another server asks whether we carry this room."""
        room = self._rooms.get(tag)
        if room is None:
            self.registry.answer(tag, next(self.tickets))
        elif room.stream.follows:
            # Until then we do not know which members it takes for ours.
            self.registry.answer(tag, 0)

    def _on_answered(self, tag: bytes, server: bytes, before: int) -> None:
        if tag in self._rooms:
            self._rooms[tag].answer(server, before)

    def _put_out(self, ban: Ban) -> None:
        # Those in rooms that only this server carries, too.
        for room in self._rooms.values():
            room.ban(ban)

    def _tell_topic(self, server: bytes, topic: Topic) -> None:
        """A server has told it in the rooms that it carries. Where it has nobody, that may not be
        so. If several tell it in one room, members are shown it once."""
        for room in self._rooms.values():
            if server not in {self.server_id, *room.servers()}:
                room.set_topic(topic)

    # -- Redis

    def _on_refusal(self, text: str) -> None:
        if text:
            self.report(text)
        else:
            self.report(words.REDIS_TAKES, good_news=True)

    def _on_away(self, error: ChatError | None) -> None:
        self._reach.on_away(error)
