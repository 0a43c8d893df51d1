"""A server of a cluster, put together from what the command line asks for: Redis and keys. And the
program that only looks whether there could be one, `server --check`, which prints what it finds.

What they do is in `server.cluster`. A server on its own imports none of it.
"""

import argparse
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from chat.errors import ClusterError, UsageError
from chat.reactor import Reactor
from chat.startup import keys_folder, load_key

if TYPE_CHECKING:
    import ssl

    from chat.kex import PublicKey
    from chat.server.cluster.cluster import Cluster
    from chat.server.cluster.registry import Shared
    from chat.server.cluster.url import RedisUrl


class Clustering:
    """What was asked for, and has been found to be good enough to serve."""

    def __init__(self, options: argparse.Namespace, public_key: "PublicKey") -> None:
        """Read the files, and ask Redis.

        Raises:
            UsageError, IdentityError: an option, or a file, is not what it should be.
            ClusterError: it cannot be served with this Redis.
        """
        if options.ephemeral:
            raise UsageError(
                "all servers of a cluster have the same key, which --ephemeral does not keep",
                "leave out --ephemeral",
            )
        from chat.files.clusterkey import load_or_make_cluster_key
        from chat.server.cluster.check import check
        from chat.server.cluster.clusterkey import ClusterKey

        self._url = _url_of(options)
        self._context = _context_of(options, self._url)
        path = options.cluster_key or keys_folder(options) / "cluster.key"
        secret, made = load_or_make_cluster_key(path, os.urandom)
        self._key: ClusterKey = ClusterKey.of(secret, options.cluster_name)
        found = check(self._url, self._context, self._key, public_key.digest, os.urandom)
        copy = f"{path} was made: copy it to the other machines of the cluster" if made else ""
        self.notes = [note for note in (self._url.warning, copy, *found.notes) if note]
        """What is good to know."""
        if found.wrong:
            raise ClusterError(found.wrong)

    def join(self, reactor: Reactor, title: str, shared: "Shared") -> "Cluster":
        """Become one of the servers. `title`: where this one is reached."""
        from chat.server.cluster.cluster import Cluster
        from chat.server.cluster.redisstore import RedisStore

        store = RedisStore(reactor, self._url, self._context, self._key, os.urandom)
        cluster = Cluster(reactor, store, self._key, title, os.urandom, shared)
        store.watcher = cluster.streams
        store.begin()
        return cluster


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


def check_only(options: argparse.Namespace) -> None:
    """Tell that nothing is wrong, and on standard error what is good to know; serve nothing.

    Raises:
        UsageError, IdentityError, ClusterError: something is wrong.
    """
    if not options.cluster:
        raise UsageError("--check looks at a cluster", "--cluster URL")
    from chat.phrases import MAKING_KEY, good, trouble

    key = load_key(options, partial(print, MAKING_KEY, file=sys.stderr))
    for note in Clustering(options, key.public).notes:
        # As the server's console would show it.
        print(trouble(f"cluster: {note}"), file=sys.stderr)
    print(good("Nothing is wrong: this server can join the cluster."))
