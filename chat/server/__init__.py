"""The server: what it consists of, and how it turns.

    server.py      accepts, admits, relays, ends: joins what is below to the sockets
    connection.py  one client's end: its session, its socket, its timer
    room.py        members and epochs; what happens becomes an entry of the log
    log.py         the ordered log, and the cursors of those who read it
    admission.py   which pending connection makes room, and whose handshake is next
    budgets.py     how much a key, and a source, may ask of the server
    console.py     the operator's commands, and what the operator is shown
    words.py       the sentences for it
    faults.py      what may be written down of an error in the program

A frame arrives at a `Connection`, whose session opens it or, if it is a MESSAGE, passes it on as it
is. The `Server` submits it to the `Room`, which checks its header and appends it to the log. At the
end of the turn `Server._before_wait` sends every member what its cursor has not had yet. What is
for one member alone comes back from the room as a `Unicast`, and is spliced into its stream.

May import the root, but not `cli`; never `client`, `files` or `ui`.
"""
