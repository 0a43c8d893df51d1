"""The line editor alone, in a loop of one's own: type while a clock writes above your line.

    python examples/edit.py

GNU readline draws into memory; what it drew is written to the terminal here. Ctrl-D ends it.
"""

import os
import select
import sys
import time

from chat.ui.editor import LineEditor

out = sys.stdout.fileno()
editor = LineEditor(lambda line: (len(line), []), lambda text: text)
editor.prompt("> ")
os.write(out, editor.start())
next_tick = time.monotonic() + 1
try:
    while not editor.ended:
        ready, _, _ = select.select([sys.stdin], [], [], max(0.0, next_tick - time.monotonic()))
        if ready:
            drawn, lines = editor.read()
            os.write(out, drawn)
            for line in lines:
                above = f"you typed {line.text.rstrip()!r}\n"
                os.write(out, editor.erase() + above.encode() + editor.draw())
        if time.monotonic() >= next_tick:
            next_tick += 1
            above = time.strftime("it is %H:%M:%S\n")
            os.write(out, editor.erase() + above.encode() + editor.draw())
finally:
    os.write(out, editor.stop())
