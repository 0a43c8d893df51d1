"""What the words behind the name of a command mean, and what a message on the command line or from
standard input may be.

The words make sense only together: a host, its port and a name, say. Each function `of_...` takes
the options of one command, puts what the words mean in the place of `words`, and raises UsageError.
Which options a command has is said in `cli`.
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from chat.errors import UsageError
from chat.limits import CONSOLE_LINE_BYTES, MAX_TEXT_BYTES
from chat.parsers import Command
from chat.place import destination_of, is_invite, place_of, words_of_destination
from chat.settings import describe
from chat.text import normalize_name

STANDARD_INPUT = "-"
"""The TEXT of `send` that means: read the message from standard input, as without a text."""

MAX_INPUT_BYTES = 2 * MAX_TEXT_BYTES + len("\ufeff\r\n".encode())
"""Longer input is no message, even if all of it is line ends of two bytes, which become one."""

_TOO_LONG = f"a message has at most {MAX_TEXT_BYTES} bytes"
_NO_TEXT = "a message is text, and this is not UTF-8"


def of_client(options: argparse.Namespace) -> None:
    """`place`, `name`, and `by_login`: whether the name is that of the account."""
    options.by_login = options.name is None
    usual, why_none = _login_name() if options.by_login else (options.name, "")
    options.place, options.name = destination_of(options.words, usual=usual, why_none=why_none)
    options.by_login &= options.name == usual
    del options.words


def _login_name() -> tuple[str, str]:
    """The name of the account; if it cannot be a name in a room, nothing, and why (root cannot)."""
    try:
        # It is not on every system, and the command line is read before that is said.
        import pwd

        return normalize_name(pwd.getpwuid(os.getuid()).pw_name), ""
    except UsageError as error:
        return "", str(error)
    except (ImportError, KeyError):
        return "", ""


def of_send(options: argparse.Namespace) -> None:
    """`place`, `name`, and `text`, which is None if standard input has it."""
    length = words_of_destination(options.words)
    where, text = options.words[:length], options.words[length:]
    options.place, options.name = destination_of(where)
    options.text = _checked(" ".join(text)) if text else None
    del options.words


def of_place(options: argparse.Namespace) -> None:
    """`place`: the server or the room."""
    options.place = place_of(options.words)
    del options.words


def of_rooms(options: argparse.Namespace) -> None:
    """`action`, which is list, add or remove, and `kept`."""
    match options.words:
        case []:
            options.action, options.kept = "list", ""
        case ["add" | "remove" as action, name] if not is_invite(name):
            options.action, options.kept = action, name
        case ["remove", name]:
            raise UsageError("a room is removed by the name that you keep it under")
        case ["add", _, *_]:
            raise UsageError(
                "the invite is asked for, or read from a pipe: others can read what is typed here"
            )
        case ["add" | "remove"]:
            raise UsageError("the name of the room is missing")
        case _:
            raise UsageError("rooms takes add KEPT or remove KEPT; without them it lists the rooms")
    del options.words


def of_forget(options: argparse.Namespace) -> None:
    """`host` and `port`, unless there is an alias."""
    if options.words and options.alias:
        raise UsageError("a server is forgotten by its address or by its alias, not by both")
    if options.alias:
        del options.words
        return
    of_place(options)
    if options.place.others:
        raise UsageError("one server at a time is forgotten")
    options.host, options.port = options.place.host, options.place.port
    del options.place
    if not options.host:
        raise UsageError("the host is missing")


def of_admin(options: argparse.Namespace) -> None:
    """The words stay: they are the command of the console."""
    if not "".join(options.words).strip():
        raise UsageError("a command of the console is missing, such as WHO")


def of_config(options: argparse.Namespace, commands: Mapping[str, Command]) -> None:
    """`lines`, a function that makes what is to be shown."""
    match options.words:
        case []:
            asked, room = [*commands], ""
        case [name, *more] if name in commands and len(more) < 2:
            asked, room = [name], "".join(more)
        case _:
            raise UsageError("config takes the name of a command, and of a room behind it")
    options.lines = partial(_lines_of, [commands[name] for name in asked], room)
    del options.words


def _lines_of(commands: Sequence[Command], room: str) -> list[str]:
    """What is set for these commands; raises UsageError if something is wrong with it."""
    lines = []
    for command in commands:
        assert command.settings is not None
        command.settings.check(command.name, command.options())
        held = command.settings.hold(command.name, room, command.options())
        if found := describe(held):
            lines += [f"[{command.name}]", *found]
    return lines


def message_of(data: bytes, strip: Callable[[str], str] | None = None) -> str:
    """The message in the bytes of standard input, without the last line end. `strip` is what to
    make of it first.

    Raises:
        UsageError: it is empty, too long, or not UTF-8.
    """
    if strip is not None and len(data) > CONSOLE_LINE_BYTES:
        raise UsageError(f"with --strip the input has at most {CONSOLE_LINE_BYTES} bytes")
    if strip is None and len(data) > MAX_INPUT_BYTES:
        raise UsageError(_TOO_LONG)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UsageError(_NO_TEXT) from exc
    if strip is not None:
        text = strip(text)
    return _checked(text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n"))


def _checked(message: str) -> str:
    if not message:
        raise UsageError("a message has at least one character")
    try:
        size = len(message.encode())
    except UnicodeEncodeError as exc:
        raise UsageError(_NO_TEXT) from exc
    if size > MAX_TEXT_BYTES:
        raise UsageError(_TOO_LONG)
    return message
