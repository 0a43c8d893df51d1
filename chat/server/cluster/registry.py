"""What all servers of a cluster share beside the rooms: who of them is alive, the bans, the topic.

This is read from a stream of its own. Each server says there every BEAT_SECONDS that it is alive. A
server that was not heard for SERVER_GONE_SECONDS is gone; that each decides for itself, by its own
clock, and only while it hears its own beats: otherwise it may be the one that is cut off.

Where beats come back late, it is this server's way to Redis that is slow, or Redis. The beats of
the others tell which: each says how long its server waited for the one before. Who was there at
the same time is told by the places of the beats, since we may have read all of them late.

Bans and the topic are what the stream says (`_bans`, `_topic`), and each server's lists follow. An
operator's command takes effect there at once, and is brought in line when the stream says which of
several came last. What somebody writes into the file of one server holds there alone, until that
server reads a snapshot.

A server that catches up reads what is past: a ban that was lifted since, a topic before the last
one. So the lists follow when all was read (`follow`), and a name is freed only of whoever had it
before. The names that were freed last are in the snapshot (`_freed`), for a server that was away.
"""

import json
from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Protocol

from chat.frozen import frozen
from chat.limits import BEAT_SECONDS, MAX_FREED_NAMES, ORIGIN_SECONDS, SERVER_GONE_SECONDS
from chat.reactor import do_nothing
from chat.roomevents import Topic
from chat.server import words
from chat.server.cluster.store import EntryId
from chat.server.cluster.stream import Batch, Stream
from chat.server.lists import Ban

TAG = b"servers"
"""What stands for a room's tag in the name of the stream. No room has it: tags have another
length."""


class Shared(Protocol):
    """What the registry needs of the server."""

    def bans(self) -> list[Ban]:
        """All bans that hold here."""

    def ban_on(self, fingerprint: str) -> Ban | None:
        """The ban of this key that holds here, if there is one."""

    def take_bans(self, bans: list[Ban]) -> None:
        """Other servers ban these keys."""

    def lift_bans(self, fingerprints: list[str]) -> None:
        """Other servers lift these bans."""

    def take_forget(self, name: str, until: float) -> None:
        """Another server frees a name, unless it was used later than this, in seconds since
        1970."""

    def topic(self) -> tuple[int, str]:
        """Since when there is this topic."""

    def take_topic(self, since: int, text: str) -> None:
        """Another server sets the topic."""

    def report(self, text: str, *, good_news: bool = False) -> None:
        """Something for the operator to know."""


@frozen
class Peer:
    """A server as it says of itself: where it is reached, and how many are connected to it.
    `behind`: how many seconds it took its last beat but one to come back to it, or for how long a
    room had not followed there, if that was longer. `heard_at`: when we heard it last. `beat_at`:
    when Redis was given what we heard, in seconds by its clock."""

    title: str
    people: int
    behind: float
    heard_at: float
    beat_at: float


class Registry:
    """See the module's text. `stream` is to be set before anything is asked."""

    stream: Stream

    def __init__(self, server_id: bytes, clock: Callable[[], float], shared: Shared) -> None:
        self._server_id = server_id
        self._clock = clock
        self._shared = shared
        self.on_heard: Callable[[], None] = do_nothing
        """Called when our own beat has come back."""
        self.on_ban: Callable[[Ban], None] = lambda _: None
        """Called when another server has banned a key."""
        self.on_topic: Callable[[bytes, Topic], None] = lambda _server, _topic: None
        """Called when a server has set the topic."""
        self.on_asked: Callable[[bytes], None] = lambda _: None
        """Called when another server asks whether this one carries the room with this tag."""
        self.on_answered: Callable[[bytes, bytes, int], None] = lambda *_: None
        """Called when a server has answered for a room: for which one, who, and `before`."""
        self._bans: dict[str, Ban] = {}
        self._touched: set[str] = set()
        """The keys of which something was read, and which the lists do not follow yet."""
        self._unheld: set[str] = set()
        """The keys that are banned here, and were not where the last snapshot was made."""
        self._topic = (0, "")
        self._topic_by: bytes | None = None
        """The same: which server has set the topic; empty if that was not said."""
        self._freed: dict[str, float] = {}
        """The names that were freed last, and when, by the clock of Redis."""
        self._peers: dict[bytes, Peer] = {}
        self.heard_since = clock()
        """Since when we hear who is alive."""
        self.heard_self_at = clock()
        """When our own beat has come back last."""
        self._beat_at = self._behind = 0.0
        self._own: tuple[str, int, dict[bytes, set[bytes]], float] = "", 0, {}, 0.0

    # -- who is alive

    def beat(
        self, title: str, people: int, unsure: dict[bytes, set[bytes]], rooms_behind: float
    ) -> None:
        """Say that we are alive, unless what was said before is still to come back. With it goes a
        question for each room of which it is not sure whether these servers carry it, and for how
        many seconds a room has not followed."""
        self._own = title, people, unsure, rooms_behind
        if self.stream.idle:
            self._beat()

    def _beat(self) -> None:
        title, people, unsure, rooms_behind = self._own
        behind = max(self._behind, rooms_behind)
        self._beat_at = self._clock()
        asks = [[tag.hex(), [one.hex() for one in servers]] for tag, servers in unsure.items()]
        self._propose("beat", title=title, people=people, behind=behind, asks=asks)

    def answer(self, tag: bytes, before: int) -> None:
        """Say that we do not carry this room, and that all connections which we ever had to it have
        tickets before this one; 0 if we do carry it."""
        self._propose("answer", room=tag.hex(), before=before)

    def leave(self) -> None:
        """Say that we go."""
        self._propose("leave")

    @property
    def peers(self) -> dict[bytes, Peer]:
        """Those that are alive, this one among them."""
        oldest = self._clock() - SERVER_GONE_SECONDS
        return {number: peer for number, peer in self._peers.items() if peer.heard_at >= oldest}

    @property
    def unheard(self) -> bool:
        """Whether we have not heard ourselves for so long that the others take us for gone."""
        return self._clock() - self.heard_self_at > SERVER_GONE_SECONDS

    @property
    def in_time(self) -> bool:
        """Whether our last beat has come back soon enough."""
        return _in_time(self._behind)

    @property
    def others_in_time(self) -> bool:
        """Whether another server was there when our last beat was put into the stream, or later,
        and hears itself soon enough, as far as we have read."""
        own = self._peers.get(self._server_id)
        return own is not None and any(
            _in_time(peer.behind) and peer.beat_at > own.beat_at - SERVER_GONE_SECONDS
            for peer in self._peers.values()
            if peer is not own
        )

    def gone(self, servers: set[bytes]) -> Iterator[bytes]:
        """Of these servers, those of which we are sure that they are gone."""
        if self._is_sure:
            yield from sorted(servers - set(self.peers))

    @property
    def alone(self) -> bool:
        """Whether we are sure that no other server is alive."""
        return self._is_sure and set(self.peers) == {self._server_id}

    @property
    def _is_sure(self) -> bool:
        """Whether we have heard all who were alive for as long as they may be silent."""
        return self._hears and self._clock() - self.heard_since > SERVER_GONE_SECONDS

    @property
    def _hears(self) -> bool:
        """Whether our own beats come back to us."""
        return self._clock() - self.heard_self_at < 2 * BEAT_SECONDS

    # -- what is the same everywhere

    def ban(self, ban: Ban) -> None:
        """This server bans a key."""
        self._propose("ban", **_of_ban(ban))

    def unban(self, fingerprints: list[str]) -> None:
        """This server lifts these bans."""
        self._propose("unban", fingerprints=fingerprints)

    def forget(self, name: str) -> None:
        """This server frees a name."""
        self._propose("forget", name=name)

    def set_topic(self, since: int, text: str) -> None:
        """This server sets the topic."""
        self._propose("topic", since=since, text=text)

    def _propose(self, what: str, **fields: Any) -> None:
        item = {"what": what, "server": self._server_id.hex(), **fields}
        self.stream.propose(json.dumps(item).encode())

    def apply(self, batch: Batch) -> None:
        for item in batch.items:
            said = json.loads(item)
            server = bytes.fromhex(said["server"])
            own = server == self._server_id
            match said["what"]:
                case "beat":
                    self._on_beat(server, said, batch.id.ms / 1000)
                case "answer":
                    self.on_answered(bytes.fromhex(said["room"]), server, said["before"])
                case "leave":
                    self._peers.pop(server, None)
                case "ban":
                    ban = _ban_of(said)
                    self._bans[ban.fingerprint] = ban
                    self._touched.add(ban.fingerprint)
                case "unban":
                    for fingerprint in said["fingerprints"]:
                        self._bans.pop(fingerprint, None)
                        self._touched.add(fingerprint)
                case "forget":
                    self._on_forget(said["name"], batch.id.ms / 1000, own)
                case "topic":
                    self._topic = said["since"], said["text"]
                    self._topic_by = server

    def _on_forget(self, name: str, at: float, own: bool) -> None:
        self._freed.pop(name, None)
        self._freed[name] = at
        if len(self._freed) > MAX_FREED_NAMES:
            del self._freed[next(iter(self._freed))]
        if not own:
            # While we follow, no clock matters.
            self._shared.take_forget(name, inf if self.stream.follows else at)

    def _on_beat(self, server: bytes, said: dict[str, Any], at: float) -> None:
        now = self._clock()
        # One that is read while we catch up may have been there for long: it tells nothing of how
        # quick our way is.
        returns = server == self._server_id and self.stream.follows
        if returns:
            if not self._hears:
                # We were frozen or cut off, or Redis took nothing from anybody. What the others say
                # may come only now.
                self.heard_since = now
            self.heard_self_at, self._behind = now, now - self._beat_at
        self._peers[server] = Peer(said["title"], said["people"], said["behind"], now, at)
        # Each start of a server is another one.
        oldest = at - ORIGIN_SECONDS
        self._peers = {one: peer for one, peer in self._peers.items() if peer.beat_at >= oldest}
        if returns:
            self.on_heard()
        for tag, servers in said["asks"]:
            if self._server_id.hex() in servers:
                self.on_asked(bytes.fromhex(tag))

    def follow(self) -> None:
        """Bring what holds here in line with what was read, if that was all. To be called at the
        end of a turn: all bans that hold here are gone through each time."""
        if self.stream.follows:
            self._follow_bans()
            self._follow_topic()

    def _follow_bans(self) -> None:
        touched, self._touched = self._touched, set()
        if not touched:
            return
        here = {ban.fingerprint: ban for ban in self._shared.bans()}
        unheld, self._unheld = self._unheld, set()
        if lifted := sorted(touched & set(here) - set(self._bans)):
            self._shared.lift_bans(lifted)
            if told := [key for key in lifted if key in unheld]:
                self._shared.report(words.bans_lifted(told))
        added = [ban for key, ban in self._bans.items() if key in touched and here.get(key) != ban]
        if added:
            self._shared.take_bans(added)
        for ban in added:
            self.on_ban(ban)

    def _follow_topic(self) -> None:
        server, self._topic_by = self._topic_by, None
        if server is not None and self._shared.topic() != self._topic:
            self._shared.take_topic(*self._topic)
        if server:
            self.on_topic(server, Topic(*self._topic))

    def opening(self) -> bytes:
        """What holds here: the first server brings it into the cluster."""
        return _encode(self._shared.bans(), self._shared.topic(), self._freed)

    def begin(self, batch: Batch) -> None:
        self.restore(batch.items[0], batch.id)
        # What was said before is void.
        self._beat()

    def state(self) -> bytes:
        return _encode(list(self._bans.values()), self._topic, self._freed)

    def restore(self, state: bytes, at: EntryId) -> None:
        """From now on this holds here, and no other ban."""
        kept = json.loads(state)
        self._bans = {ban.fingerprint: ban for ban in map(_ban_of, kept["bans"])}
        since, text = kept["topic"]
        self._topic = since, text
        here = {ban.fingerprint for ban in self._shared.bans()}
        # Perhaps they were said since then.
        self._unheld = here - set(self._bans)
        self._touched |= here | set(self._bans)
        self._topic_by = b""
        self._freed = kept["freed"]
        for name, freed_at in self._freed.items():
            self._shared.take_forget(name, freed_at)
        self.heard_since = self._clock()

    def on_following(self, follows: bool) -> None:
        # Who is alive was not heard meanwhile. What waited leaves now.
        self.heard_since = self._beat_at = self._clock()
        if follows and self.stream.idle:
            self._beat()

    def on_lost(self, text: str) -> None:
        pass

    def on_trouble(self, text: str) -> None:
        self._shared.report(text)


def _in_time(behind: float) -> bool:
    """Whether a server that is so far behind still beats often enough for the others."""
    return behind < SERVER_GONE_SECONDS - BEAT_SECONDS


def _encode(bans: list[Ban], topic: tuple[int, str], freed: dict[str, float]) -> bytes:
    state = {"bans": list(map(_of_ban, bans)), "topic": topic, "freed": freed}
    return json.dumps(state).encode()


def _of_ban(ban: Ban) -> dict[str, Any]:
    return {"fingerprint": ban.fingerprint, "since": ban.since, "name": ban.name, "why": ban.why}


def _ban_of(said: dict[str, Any]) -> Ban:
    return Ban(said["fingerprint"], said["since"], said["name"], said["why"])
