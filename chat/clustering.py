"""A server of a cluster, put together from what the command line asks for: Redis and keys. And the
program that only looks whether there could be one, `server --check`, which prints what it finds.

What they do is in `server.cluster`. A server on its own imports none of it.
"""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from chat.errors import ClusterError, UsageError
from chat.phrases import MAKING_KEY, good
from chat.place import with_port
from chat.program import installing
from chat.reactor import Reactor
from chat.server import words
from chat.sockets import own_host, reachable_at
from chat.startup import keys_folder, load_key

if TYPE_CHECKING:
    import ssl

    from chat.kex import PublicKey
    from chat.server.cluster.cluster import Cluster
    from chat.server.cluster.registry import Shared
    from chat.server.cluster.url import RedisUrl
    from chat.server.lists import Complain

_USUAL_NAME = "chat"
"""By which the cluster goes in its Redis."""


class Clustering:
    """What was asked for. Nothing is made and nobody is asked before `prepare`."""

    def __init__(self, options: argparse.Namespace) -> None:
        """
        Raises:
            UsageError, IdentityError: an option, or a file, is not what it should be, or a package
                is missing.
        """
        if options.ephemeral:
            raise UsageError(
                "all servers of a cluster have the same key, which --ephemeral does not keep",
                "leave out --ephemeral",
            )
        # Here already, before anything is made: it needs a package that may be missing.
        try:
            from chat.server.cluster.check import check
        except ModuleNotFoundError as exc:
            if exc.name != "hiredis":
                raise
            text = "several servers need the package hiredis"
            raise UsageError(text, installing("hiredis")) from exc
        self._check = check
        self._url = _url_of(options)
        self._context = _context_of(options, self._url)
        self._key_file: Path = options.cluster_key or keys_folder(options) / "cluster.key"
        name = options.cluster_name
        self._name: str = _USUAL_NAME if name is None else name
        self.notes: list[str] = []

    def prepare(
        self, public_key: "PublicKey", announce: Callable[[str], None], *, serves: bool
    ) -> None:
        """Have the cluster key, and ask Redis; `notes` are what is good to know then. `announce` is
        told if the key was made. One that was made for nothing is not left: at a second machine it
        would be in the way of the right one. `serves`: `join` will follow.

        Raises:
            IdentityError: the file of the cluster key is not what it should be.
            ClusterError: it cannot be served with this Redis.
        """
        from chat.files.clusterkey import load_or_make_cluster_key, unmake_cluster_key
        from chat.server.cluster.check import card_of
        from chat.server.cluster.clusterkey import ClusterKey

        secret, made = load_or_make_cluster_key(self._key_file, os.urandom)
        try:
            self._key = ClusterKey.of(secret, self._name)
            self._card = card_of(self._key, public_key.digest, os.urandom)
            found = self._check(
                self._url, self._context, self._key, public_key.digest, os.urandom, serves=serves
            )
            if found.wrong:
                raise ClusterError(found.wrong)
        except BaseException:
            if made:
                unmake_cluster_key(self._key_file)
            raise
        if made:
            announce(words.cluster_key_made(self._key_file))
        self.notes = [note for note in (self._url.warning, *found.notes) if note]

    def join(self, reactor: Reactor, title: str, shared: "Shared") -> "Cluster":
        """Become one of the servers. `title`: where this one is reached."""
        from chat.server.cluster.cluster import Cluster
        from chat.server.cluster.redisstore import RedisStore

        store = RedisStore(reactor, self._url, self._context, self._key, os.urandom)
        cluster = Cluster(reactor, store, self._key, self._card, title, os.urandom, shared)
        store.watcher = cluster.streams
        store.begin()
        return cluster


def title_of(listeners: Sequence[socket.socket]) -> str:
    """By what operators tell this server from the others: where it is reached."""
    hosts = [own_host(listener) for listener in listeners]
    return with_port(reachable_at(hosts) or hosts[0], listeners[0].getsockname()[1])


def _url_of(options: argparse.Namespace) -> "RedisUrl":
    from chat.files.clusterkey import read_password
    from chat.server.cluster.url import PASSWORD_VARIABLE, RedisUrl, password_in

    url = RedisUrl.parse(options.cluster)
    url = url.with_password(os.environb.get(PASSWORD_VARIABLE.encode(), b""), PASSWORD_VARIABLE)
    path = options.cluster_password_file
    if path is not None:
        url = url.with_password(password_in(read_password(path)), str(path))
    return url


def _context_of(options: argparse.Namespace, url: "RedisUrl") -> "ssl.SSLContext | None":
    from chat.server.cluster.tls import context_of

    if not url.tls:
        if options.cluster_ca is not None:
            raise UsageError("--cluster-ca is for Redis over TLS", "rediss://...")
        return None
    return context_of(options.cluster_ca)


def check_only(
    options: argparse.Namespace, try_files: Callable[[argparse.Namespace, "Complain"], None]
) -> None:
    """Tell that the server can join, and on standard error what is good to know; serve nothing.
    `try_files` looks at the other files of the server: it complains, or raises what is wrong.

    Raises:
        UsageError, IdentityError, ClusterError: something is wrong.
    """
    if not options.cluster:
        raise UsageError("--check looks at a cluster", "--cluster URL")
    say = partial(print, file=sys.stderr)
    clustering = Clustering(options)
    key = load_key(options, partial(say, MAKING_KEY))
    try_files(options, lambda trouble: say(words.list_trouble(trouble)))
    clustering.prepare(key.public, say, serves=False)
    for note in clustering.notes:
        # As the server's console would show it.
        say(words.of_cluster(note, good_news=False))
    print(good("This server can join the cluster."))
