"""`admin`: give commands to the server that runs on this machine, and show what it answers.

The server's end, and what travels, is in `server/admin.py`.
"""

import argparse
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import IO

from chat.errors import ChatError, UsageError
from chat.files.adminsocket import NO_ANSWER_HINT, dial
from chat.files.keyfolder import ADMIN_SOCKET
from chat.limits import ADMIN_ANSWER_SECONDS, ADMIN_LINE_BYTES
from chat.server.admin import DONE, REFUSED
from chat.startup import keys_folder
from chat.text import escape_line


def operate(options: argparse.Namespace) -> int:
    """Give the commands to the server whose keys are in our folder. Returns the exit status: 1 if
    one was refused. The answers to those are written to standard error.

    Raises:
        ChatError: no server runs there, or it does not answer.
    """
    status = 0
    path = keys_folder(options) / ADMIN_SOCKET
    with closing(dial(path)) as connected, connected.makefile("rb") as answers:
        connected.settimeout(ADMIN_ANSWER_SECONDS)
        for command in _commands(options.words):
            lines, done = _ask(connected, answers, command)
            for line in lines:
                print(line, file=sys.stdout if done else sys.stderr, flush=True)
            status = status if done else ChatError.exit_status
    return status


def _commands(words: list[str]) -> Iterator[bytes]:
    """The commands: the words are one, or stand for standard input, where each line is one."""
    if words != ["-"]:
        yield _checked(" ".join(words).encode(errors="surrogateescape"))
        return
    for number, line in enumerate(sys.stdin.buffer if sys.stdin else ()):
        text = line if number else line.removeprefix(b"\xef\xbb\xbf")
        if text.strip():
            yield _checked(text.rstrip(b"\r\n"))


def _checked(command: bytes) -> bytes:
    if b"\n" in command:
        raise UsageError("a command is one line")
    if len(command) > ADMIN_LINE_BYTES:
        raise UsageError(f"a command has at most {ADMIN_LINE_BYTES} bytes")
    return command


def _ask(connected: socket.socket, answers: IO[bytes], command: bytes) -> tuple[list[str], bool]:
    """The lines of the answer, and whether the command was carried out."""
    try:
        connected.sendall(command + b"\n")
        lines = []
        while (line := answers.readline()) not in (DONE, REFUSED):
            if not line.endswith(b"\n"):
                raise ChatError("the server ended before it had answered")
            # Root may ask the server of anybody, and has a terminal.
            lines.append(escape_line(line[1:-1].decode(errors="backslashreplace")))
    except TimeoutError as exc:
        raise ChatError("the server does not answer", NO_ANSWER_HINT) from exc
    except ConnectionError as exc:
        raise ChatError("the server ended before it had answered") from exc
    return lines, line == DONE
