"""The views of a client: where a conversation is shown and typed.

    plain.py       line by line: pipes, plain terminals, one single message
    jsonlines.py   for programs: an object a line
    screen.py      at a terminal, in front of a person
    live.py        the last rows of it, which are drawn again and again
    excerpt.py     which rows of a tall draft are shown
    editor.py      the line that is typed: GNU readline
    library.py     where that is, and what is called in it
    external.py    the person's own editor, which a draft is given to
    commands.py    what a person can type beside messages
    parts.py       a text that is too long for one message
    manual.py      the help in words
    completion.py  what Tab can make of a line
    addressee.py   for whom a private message is
    transcript.py  events in words
    style.py       what lines look like: colours, and what is folded
    wrap.py        where lines are broken, so that no row can be forged

Each view has the methods of `client.view.View`, and asks of the client what `client.view` names.
May import `client.events`, `client.view`, `files.history`, `text`, `localtime`, `phrases`, `stdio`,
`reactor`, `errors` and `limits`; never frames, sessions or sockets.
"""
