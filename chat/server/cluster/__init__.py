"""Several servers carry one room: the order comes from Redis.

    url.py         where Redis is, and how to log in
    errors.py      what can be wrong with it, and the sentences for it
    resp.py        one connection as bytes: commands, replies, the login
    tls.py         TLS over memory
    link.py        one connection, with its socket
    store.py       what is asked of Redis: ordered streams, and values beside them
    redisstore.py  that, over two connections to a real one
    clusterkey.py  names in Redis that say nothing, and the sealing of what is kept there
    sequence.py    which entries of a stream count, and whether it is the stream that it was
    stream.py      one room's stream: what is proposed, and what is applied
    streams.py     those of all rooms of a server
    check.py       what is wrong, before anything is served

A room's server proposes; at the end of a turn all that it proposed becomes one sealed entry
(`stream`), and leaves with one XADD (`redisstore`). The entry comes back to every server, over the
connection that waits, and `sequence` decides alike at all of them whether it counts. If so, the
`Follower` applies it. What a proposal means is not known here.

May import `cipher`, `kex`, `reactor`, `transport`, `sockets`, `journal`, `place`, `text`, `errors`
and `limits`; never the rest of the server. Only `resp` needs the package hiredis.
"""
