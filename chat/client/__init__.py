"""The client: what it consists of, and how it turns.

    client.py       one stay in the room: connects, connects again, leaves
    participant.py  the room as a member sees it
    membership.py   one place in one room: where we are in the log, and the roster
    peers.py        who is in, and how far each was heard
    keyring.py      the keys of the epochs
    outbox.py       what was said, until it is acknowledged; and how it survives a new room
    progress.py     whether the server does anything with what was said
    events.py       what a client tells its view, a class for each thing
    view.py         what a client and its view want of each other
    endings.py      the sentences for how a stay ends

Bytes arrive at the `Client`, whose session opens what is for us alone. The rest is the room's log:
the `Participant` opens it and returns events, which the client shows to its `View`. What the person
says waits in the outbox until it comes back in its place of the log.

May import the root, but not `cli`, `stdio` and `phrases`; never `server`, `files` or `ui`. Which
view it has, and where keys come from, is decided in `__main__`.
"""
