"""Several servers carry one room: the order comes from Redis.

    url.py         where Redis is, and how to log in
    errors.py      what can be wrong with it, and the sentences for it
    resp.py        one connection as bytes: commands, replies, the login
    tls.py         TLS over memory
    link.py        one connection, with its socket
    store.py       what is asked of Redis: ordered streams, and values beside them
    redisstore.py  that, over two connections or more to a real one
    clusterkey.py  names in Redis that say nothing, and the sealing of what is kept there
    sequence.py    which entries of a stream count, and whether it is the stream that it was
    outbox.py      what this server has proposed for a room, until it has read it there
    stream.py      one room's stream: what is proposed, and what is applied
    streams.py     those of all rooms of a server
    check.py       what is wrong, before anything is served

    proposals.py   what servers propose for a room, as bytes
    room.py        one room: what is asked becomes a proposal, and what is ordered is done
    registry.py    what all servers share: who is alive, the bans, the topic
    shared.py      the lists of this server, which follow that
    reach.py       whether this server hears from Redis in time, and what follows where not
    cluster.py     one server of the cluster: its rooms, the registry and the store

A room's server proposes; at the end of a turn all that it proposed becomes one sealed entry
(`stream`), and leaves with one XADD (`redisstore`). The entry comes back to every server, over the
connection that waits, and `sequence` decides alike at all of them whether it counts. If so, the
stream's `Follower` applies it: the `OrderedRoom` does it in the `HostedRoom` of this server, and
the `Registry` in its lists. What is above the empty line knows no room.

Only `resp` needs the package hiredis.
"""
