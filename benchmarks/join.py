"""CPU of one join: by itself, one after the other, and in a storm; beside the library's own
functions for what no server can do without."""

import os
import statistics
import time
from pathlib import Path

from Cryptodome.Cipher import PKCS1_OAEP
from Cryptodome.Hash import SHA256
from Cryptodome.Protocol.DH import (
    import_x25519_private_key,
    import_x25519_public_key,
    key_agreement,
)
from Cryptodome.PublicKey import RSA

from benchmarks.load import (
    LOAD_CORE,
    PROGRAM_CORE,
    Crowd,
    Keys,
    Program,
    Row,
    chat_server,
    join,
    short,
    spread,
)
from chat.kex import KeyShare, PrivateKey
from chat.limits import SESSION_KEY_BYTES, X25519_BYTES

STORM = 100
"""Handshakes under way in a storm. All clients calculate on one core here, and must be done before
the server loses patience with them."""

BY_ITSELF = 25
"""Joins that are measured one by one: each waits for its welcome before the next one begins."""

AIM = "1.25 x"


class Library:
    """The library's functions for a join: to import the client's X25519 share, to agree on a secret
    with it, and to wrap a session key with RSAES-OAEP under a key that has been imported. The
    server comes to the same results by shorter ways (`chat/kex.py`)."""

    def __init__(self, key: PrivateKey) -> None:
        self._rsa = RSA.import_key(key.public.openssh)
        self._share = import_x25519_private_key(os.urandom(X25519_BYTES))
        self._client = KeyShare(os.urandom).public

    def cost(self) -> float:
        """Milliseconds of CPU, on the server's core."""
        os.sched_setaffinity(0, {PROGRAM_CORE})
        began = time.thread_time()
        client = import_x25519_public_key(self._client)
        key_agreement(static_priv=self._share, static_pub=client, kdf=bytes)
        oaep = PKCS1_OAEP.new(self._rsa, hashAlgo=SHA256, randfunc=os.urandom)
        oaep.encrypt(os.urandom(SESSION_KEY_BYTES))
        taken = time.thread_time() - began
        os.sched_setaffinity(0, {LOAD_CORE})
        return taken * 1000

    def costs(self) -> list[float]:
        """The same, several times."""
        return [self.cost() for _ in range(BY_ITSELF)]


def measure(members: int, keys: Keys, directory: Path) -> list[Row]:
    """Fill two rooms, one slowly and one fast, and let a few more join at the beginning and at the
    end."""
    library = Library(keys.take())
    rows = []
    with chat_server(directory) as server, Crowd(server) as crowd:
        _warm_up(crowd, server, keys)
        rows += _by_itself("nobody in yet", crowd, server, keys, library, AIM)
        rows += _many("one after the other", crowd, server, members, keys, 1, library)
    with chat_server(directory) as server, Crowd(server) as crowd:
        _warm_up(crowd, server, keys)
        rows += _many(f"in a storm of {STORM}", crowd, server, members, keys, STORM, library)
        rows += _by_itself("all others in", crowd, server, keys, library, "")
    return rows


def _by_itself(
    when: str, crowd: Crowd, server: Program, keys: Keys, library: Library, aim: str
) -> list[Row]:
    """Joins and the library's operations in turns."""
    turns = [
        (_cost(crowd, server, [name], keys, 1), library.cost()) for name in _names(when, BY_ITSELF)
    ]
    return [
        Row(f"one join by itself, {when}", spread([cost for cost, _ in turns], "ms")),
        Row("  by the library alone", spread([alone for _, alone in turns], "ms")),
        Row("  join / library", spread([cost / alone for cost, alone in turns], "x"), aim),
    ]


def _many(
    how: str,
    crowd: Crowd,
    server: Program,
    members: int,
    keys: Keys,
    at_once: int,
    library: Library,
) -> list[Row]:
    """Many joins, and the library's operations before and after."""
    alone = library.costs()
    cost = _cost(crowd, server, _names("visitor", members), keys, at_once)
    alone += library.costs()
    return [
        Row(f"one join {how}", f"{short(cost)} ms"),
        Row("  by the library alone", spread(alone, "ms")),
        Row("  join / library", f"{short(cost / statistics.median(alone))} x", AIM),
    ]


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def _warm_up(crowd: Crowd, server: Program, keys: Keys) -> None:
    """The first one to come makes the server load modules and sign its share."""
    join(crowd, server.port, ["first"], keys, at_once=1)


def _cost(crowd: Crowd, server: Program, names: list[str], keys: Keys, at_once: int) -> float:
    """Milliseconds of the server's CPU per join, until everybody has been welcomed."""
    before = server.cpu_seconds
    join(crowd, server.port, names, keys, at_once)
    return (server.cpu_seconds - before) / len(names) * 1000
