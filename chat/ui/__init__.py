"""The views of a client: where a conversation is shown and typed. And the server's console, where a
person types.

    plain.py       line by line: pipes, plain terminals
    single.py      one message alone, and what became of it
    strip.py       the output of tools, without colours and progress
    jsonlines.py   for programs: an object a line
    screen.py      at a terminal, in front of a person
    terminal.py    a terminal in front of a person: taken, given back, and its keys
    desk.py        the server's console at a terminal
    live.py        the last rows of a terminal, which are drawn again and again
    resizing.py    what becomes of them when its width changes
    excerpt.py     which rows of a tall draft are shown
    underway.py    of a conversation: the spinner, and messages not acknowledged yet
    editor.py      the line that is typed: GNU readline
    library.py     where that is, and what is called in it
    keys.py        bytes from the terminal, without its reports of the focus
    external.py    the person's own editor, which a draft is given to
    attention.py   whether the person is there
    notify.py      notifications of the desktop, through the terminal
    silence.py     for how long the server has not answered
    marks.py       lines between the others: a new day, and what is unread
    commands.py    what a person can type beside messages
    parts.py       a text that is too long for one message
    manual.py      the help in words
    completion.py  what Tab can make of a line
    addressee.py   for whom a private message is
    feed.py        what a view is told, before it is shown: kept, written down, summed up
    memory.py      what this run has heard
    record.py      what is written to the log of a conversation
    quiet.py       who comes and goes, in few rows
    transcript.py  events in words
    style.py       what lines look like: colours, and what is folded
    mention.py     where a text says a name
    wrap.py        where lines are broken, so that no row can be forged

Each view has the methods of `client.view.View`, and asks of the client what `client.view` names;
the console's desk is one of `server.desk.Desk`. May import `client.events`, `client.view`,
`files.history`, `server.desk`, `text`, `localtime`, `phrases`, `guesses`, `program`, `stdio`,
`reactor`, `errors` and `limits`; never frames, sessions or sockets.
"""
