"""Programs for people who work on chat. None of them is part of what is installed.

    demo.py         an encrypted conversation between real processes, told as it happens
    cluster_demo.py three servers with a Redis that carry one room, of which one is killed
    screenshots.py  makes the picture at the head of the README from a real conversation
    recording.py    makes the recording in the README from a real run
    stage.py        the people in both, and their terminals
    casts.py        what a terminal was sent, as asciicast v2
    drawing.py      draws terminals as SVG, which may move
    trace.py        follows one message from the key to the screen, call by call
    capacity.py     says what one server needs for so many members, by what was measured
    lookalikes.py   writes chat/lookalikes.py from Unicode's tables
    manpage.py      writes packaging/man from the parser and docs/man.md
    completion.py   writes packaging/completion from the parser
    hooks/          what git runs before a commit, once `make hooks` has said so

Start one with `make demo`, `make cluster-demo`, `make screenshots`, `make recording`, `make
packaging` or `make trace`.
"""
