"""The client: what it consists of, and how it turns.

    client.py       one stay in the room: connects, connects again, leaves
    redial.py       when to dial again, and at which server
    connection.py   one connection: its socket, its session, its timer
    participant.py  the room as a member sees it, over one connection after the other
    phase.py        how we stand with the server, and what may arrive then
    speech.py       what we say: from the text to the frames
    reading.py      the log as it arrives: each frame is checked, opened, applied
    hearing.py      what a message says to us, and that it is shown once
    dues.py         what the server owes us, and until when
    membership.py   one place in one room: where we are in the log, and the roster
    trail.py        how far we have read the log, and the running hash on the way
    peers.py        who is in, and how far each was heard
    known.py        which keys we know in one room, and whose names they are
    clocks.py       whose clock differs from ours
    contacts.py     whom we know over all of a stay, and what of it is kept
    keyring.py      the keys of the epochs
    direct.py       private messages: sealed for one person, opened by those who may
    unread.py       what we said in private to somebody who was lost
    outbox.py       what was said, until it is acknowledged; and how it survives a new room
    progress.py     whether the server does anything with what was said
    asked.py        what an operator has asked the server for
    greeted.py      the topic and the message of the day, each told once
    events.py       what a client tells its view, a class for each thing
    view.py         what a client and its view want of each other
    meeting.py      a look at a server's key, without joining
    endings.py      what the end of a connection does to the stay, and the sentences for it

Bytes arrive at the `Connection`, whose session opens what is for us alone. The rest is the room's
log: the `Participant` has it opened and returns events, which the `Client` shows to its `View`.
What the person says goes from the view to the participant, and waits in its outbox until its own
copy comes back in the log. At the end of each turn the connection sends what is new, in a SUBMIT on
the link.

May import the root, but not `stdio`, `phrases`, `sleep` and what reads the command line; never
`server`, `files` or `ui`. The view, and where keys come from, are chosen in `joining`.
"""
