"""Inputs that no person would think of: `python -m tests.fuzz [target...] --minutes M`.

    choices.py    lets the bytes of an input decide what happens
    wire.py       the frame reader, and both ends of a session
    rooms.py      a participant with a lying server, a room with a hostile member
    files.py      key files, known servers, the history
    screen.py     text on its way to the screen, and what is typed
    targets.py    all of these, by name
    worker.py     runs one target, guided by coverage where `atheris` can be installed
    corpus/       inputs that once found a fault

A target takes bytes. It raises nothing unless it has found a fault: an error that is not declared,
a state that contradicts itself, or a cost that is too high.
"""
