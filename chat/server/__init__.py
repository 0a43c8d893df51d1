"""The server: what it consists of, and how it turns.

    server.py      joins connections and rooms; lets the rooms send at the end of a turn
    rooms.py       which rooms there are: the open one, and one for each tag
    ordering.py    takes what changes a room, and decides in which order it happens
    company.py     what is asked of the other servers, where several carry the rooms
    state.py       the form in which a room is kept for another server
    hosted.py      one room and its members' connections: admits, relays, sends, ends
    doorman.py     listens, takes in or refuses, lets newcomers shake hands in turn
    connection.py  one client's end: its session, its socket, its deadline, its account
    deadlines.py   the deadlines of connections, those of one second together
    room.py        what happens becomes an entry of the log, or is for one member alone
    members.py      who is in, is about to be, or has a place that is kept
    epochs.py       the room's secret, and when the next one is due
    submissions.py  which messages are accepted
    checks.py      which members are to be told the running hash, and when
    log.py         the ordered log, and the cursors of those who read it
    admission.py   which pending connection makes room, and whose handshake is next
    greeting.py    the topic, and the message of the day
    access.py       who may come in, and whose a name is
    lists.py        the lists for it, line by line: keys, bans, names
    budgets.py     how much a key, and a source, may ask of the server
    console.py     what the operator is shown, and how commands get to the server
    commands.py    what each command asks of the server, and what it answers
    operators.py   who gives commands: the console, the admin socket, members by their keys
    admin.py       the admin socket: commands of programs on this machine
    oplog.py       the operator's log
    ration.py      a few lines one by one, and the others as a sum
    completion.py  what a word of a command could become
    desk.py        where the operator sits: lines in and out
    words.py       the sentences for it
    service.py     what the service manager is told
    faults.py      what may be written down of an error in the program
    cluster/       several servers carry one room: its order comes from Redis

A newcomer is the `Doorman`'s guest until the `Server` admits it. Then its messages go this way: a
SUBMIT arrives at a `Connection`, whose session opens it. The `HostedRoom` submits the MESSAGE
frames in it to its `Room`, which checks their headers and appends them to the log as they are. At
the end of the turn `HostedRoom.fan_out` sends every member what its cursor has not had yet. What is
for one member alone comes back from the room as a `Unicast`, and is spliced into the member's
stream.

May import the root, but not what reads the command line; never `client`, `files` or `ui`.
"""
