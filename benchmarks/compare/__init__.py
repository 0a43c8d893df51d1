"""The same work on this program's server and on others: `make compare`.

What each contender is asked stands in `room.py`, and how it is done in a module for each. The load
is one process on the second core; the contenders take turns on the first.

    room.py             a contender that runs, with its members: come in, say, count, compare
    lines.py            members over TLS 1.3 or TCP, and programs of others
    irc.py              ngircd
    mqtt.py             mosquitto
    nats.py             nats-server
    plain.py            a textbook's server and the bare loop in C, which encrypt nothing
    textbook_server.py  that server, with a thread for each client
    ours.py             this program
    works.py            a flood and a steady pace, and what they cost
    study.py            all works on all contenders, in turns, for each number of members
    results.py          what was measured, in a file (`measured.json`)
    tables.py           the table, and what README and docs/SCALING.md say of it
    plots.py            the plots, with matplotlib
    labels.py           where the names of their lines stand

`python -m benchmarks.compare --help` lists the options; `__main__.py` reads them.
"""
