"""What is wrong with a Redis, before anything is served: `--check`, and each start.

It logs in as the server would, tries each kind of command that is needed, and compares the *card*
of the cluster: a value under the cluster's name by which servers find that their cluster keys, RSA
keys or versions are not the same, or that they run with Pythons that know other characters: then a
name could be good at one and not at the other. The first server leaves it there, each that serves
sees to it that it stays, and it is gone a minute after the last one has ended.

Blocks until Redis has answered or has been given up.
"""

import ssl
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple
from unicodedata import unidata_version

from chat.cipher import RandomBytes
from chat.errors import OpenError
from chat.limits import (
    CARD_SECONDS,
    CLOCK_DOUBT_SECONDS,
    FINGERPRINT_BYTES,
    SHARE_RENEW_SECONDS,
    SHARE_SECONDS,
    SHARE_SKEW_SECONDS,
)
from chat.reactor import Reactor
from chat.server.cluster.clusterkey import CARD, ClusterKey
from chat.server.cluster.errors import RedisError
from chat.server.cluster.link import Link
from chat.server.cluster.resp import Reply, Server, Word, bytes_or_none, understood
from chat.server.cluster.sequence import FORMAT
from chat.server.cluster.url import RedisUrl

_SCRATCH_BYTES = 8
_SCRATCH_SECONDS = 1
_WRONG_TIMES = "people are shown wrong times"


def _is_refused(ahead: float) -> bool:
    """Whether clients refuse what a server signs whose clock is so many seconds ahead of theirs. A
    signature is used for a while, so one that is made behind theirs is good for less."""
    lasts = SHARE_SECONDS - SHARE_RENEW_SECONDS
    return not -lasts - SHARE_SKEW_SECONDS <= ahead <= SHARE_SKEW_SECONDS


class Checked(NamedTuple):
    """What was found: what makes it useless to serve, and what is good to know."""

    wrong: list[str]
    notes: list[str]


class _Card(NamedTuple):
    """What all servers of a cluster have to have in common."""

    format: bytes
    digest: bytes
    unicode: bytes

    @classmethod
    def of(cls, card: bytes) -> "_Card":
        """The parts of a card."""
        return cls(card[:2], card[2 : 2 + FINGERPRINT_BYTES], card[2 + FINGERPRINT_BYTES :])


def card_of(key: ClusterKey, server_digest: bytes, random_bytes: RandomBytes) -> bytes:
    """The card of a server with these keys, sealed."""
    return key.seal(key.card, CARD, b"".join(_card(server_digest)), random_bytes)


def _card(server_digest: bytes) -> _Card:
    return _Card(FORMAT.to_bytes(2, "big"), server_digest, unidata_version.encode())


def check(
    url: RedisUrl,
    context: ssl.SSLContext | None,
    key: ClusterKey,
    server_digest: bytes,
    random_bytes: RandomBytes,
    wall_clock: Callable[[], float] = time.time,
    *,
    serves: bool = True,
) -> Checked:
    """Look whether this Redis and this cluster can be served. `server_digest` is that of our RSA
    key, which all servers of a cluster share. `serves`: we are about to serve it, and leave our
    card if there is none."""
    with closing(Reactor()) as reactor:
        checker = _Checker(reactor, key, server_digest, random_bytes, wall_clock, serves)
        link = Link(reactor, url, context, checker, "check")
        link.begin()
        if not checker.over:
            reactor.run()
        link.close()
    return Checked(checker.wrong, checker.notes)


class _Checker:
    """The owner of the link: asks one thing after the other, and notes what it finds."""

    def __init__(
        self,
        reactor: Reactor,
        key: ClusterKey,
        server_digest: bytes,
        random_bytes: RandomBytes,
        wall_clock: Callable[[], float],
        serves: bool,
    ) -> None:
        self.wrong: list[str] = []
        self.notes: list[str] = []
        self.over = False
        self._reactor = reactor
        self._key = key
        self._card = _card(server_digest)
        self._random_bytes = random_bytes
        self._wall_clock = wall_clock
        self._serves = serves

    def on_end(self, _link: Link, error: RedisError) -> None:
        self._is_wrong(error.advice)
        self._end()

    def on_ready(self, link: Link, server: Server) -> None:
        self._look_at(server)
        scratch = f"{self._key.card}:check:{self._random_bytes(_SCRATCH_BYTES).hex()}"
        card = card_of(self._key, self._card.digest, self._random_bytes)
        place, seconds = self._key.card, CARD_SECONDS
        if not self._serves:
            # With wrong keys it would keep the right servers out.
            place, seconds = f"{scratch}:card", _SCRATCH_SECONDS
        tried: tuple[tuple[Word, ...], ...] = (
            ("XADD", scratch, "*", "", ""),
            ("XRANGE", scratch, "-", "+", "COUNT", 1),
            ("XREAD", "COUNT", 1, "STREAMS", scratch, "0-0"),
            ("XTRIM", scratch, "MAXLEN", 0),
            ("EXPIRE", scratch, _SCRATCH_SECONDS),
            ("SET", place, card, "NX", "EX", seconds),
        )
        for words in tried:
            link.ask(self._on_tried, *words)
        link.ask(self._on_time, "TIME")
        link.ask(self._on_card, "GET", self._key.card)

    def _look_at(self, server: Server) -> None:
        if server.evicts != "noeviction":
            self._is_wrong(
                f"Redis throws away what it likes when its memory is full ({server.evicts}): "
                "set maxmemory-policy noeviction"
            )
        if not server.persists:
            self.notes.append(
                "Redis keeps nothing on its disk as it goes (appendonly no): "
                "if it restarts, rooms begin anew"
            )

    def _on_tried(self, reply: Reply | RedisError) -> None:
        if isinstance(reply, RedisError):
            self._is_wrong(reply.advice)

    def _on_time(self, reply: Reply | RedisError) -> None:
        seconds = understood(lambda time: int(time[0]), reply)
        if isinstance(seconds, RedisError):
            self._is_wrong(seconds.advice)
            return
        differs = self._wall_clock() - seconds
        if abs(differs) > CLOCK_DOUBT_SECONDS:
            costs = "clients refuse this server" if _is_refused(differs) else _WRONG_TIMES
            self.notes.append(
                f"our clock is {abs(differs):.0f} s {'ahead of' if differs > 0 else 'behind'} that "
                f"of Redis: if it is ours that is wrong, {costs}"
            )

    def _on_card(self, reply: Reply | RedisError) -> None:
        card = understood(bytes_or_none, reply)
        if isinstance(card, RedisError):
            self._is_wrong(card.advice)
        elif card is not None:
            self._compare(card)
        self._end()

    def _compare(self, sealed: bytes) -> None:
        try:
            card = _Card.of(self._key.open(self._key.card, CARD, sealed))
        except OpenError:
            self._is_wrong(
                f"the cluster {self._key.name} in this Redis has another cluster key: copy the "
                "file from one of its servers, or take another name with --cluster-name"
            )
            return
        if card.format != self._card.format:
            self._is_wrong(
                f"the cluster {self._key.name} is served by another version, which does not "
                "understand this one: end its servers first, and wait for a minute"
            )
        elif card.digest != self._card.digest:
            self._is_wrong(
                f"the servers of the cluster {self._key.name} have another RSA key: copy "
                "server_private_key.pem and server_public_key.pem from one of them"
            )
        elif card != self._card:
            self._is_wrong(
                f"the servers of the cluster {self._key.name} know other characters (Unicode "
                f"{card.unicode.decode()}, and here {unidata_version}): run all with one version "
                "of Python"
            )

    def _is_wrong(self, text: str) -> None:
        # The same is often wrong with several commands.
        if text not in self.wrong:
            self.wrong.append(text)

    def _end(self) -> None:
        self.over = True
        self._reactor.stop()
