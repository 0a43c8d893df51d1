"""What the value of an option may be: a port, a time, a folder.

Each function makes the value of the text that stands on the command line or in the settings, and
raises ArgumentTypeError if it is none. Which option takes which is said in `cli`. Slow imports are
made where they are needed.
"""

import argparse
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chat.errors import IdentityError, UsageError
from chat.place import check_host, is_invite, port_of
from chat.text import normalize_name

if TYPE_CHECKING:
    from pathlib import Path

    from chat.socks import Proxy

FOREVER = "forever"
"""The patience without an end."""


@contextmanager
def _told() -> Iterator[None]:
    """Let argparse tell what is wrong with an argument."""
    try:
        yield
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def host(text: str) -> str:
    """An address to listen on."""
    with _told():
        return check_host(text)


def port(text: str) -> int:
    """A port, or 0, which takes a free one."""
    with _told():
        return port_of(text, 0)


def name(text: str) -> str:
    """A name in a room."""
    with _told():
        return normalize_name(text)


def file(text: str) -> "Path":
    """A file, which need not be there."""
    if not text:
        raise argparse.ArgumentTypeError("a file has a name")
    return folder(text)


def folder(text: str) -> "Path":
    """A folder, which need not be there; `~` is the home folder."""
    if not text:
        raise argparse.ArgumentTypeError("a folder has a name; . is the current folder")
    if is_invite(text):
        # It would be part of names and errors.
        raise argparse.ArgumentTypeError("an invite is no name of a file or folder")
    from chat.files.folders import expand

    try:
        return expand(text)
    except IdentityError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def alias(text: str) -> str:
    """A name of one's own for a server, or nothing."""
    # It stands in a list like known_hosts of OpenSSH, where other characters mean something.
    if text and not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,62}", text):
        raise argparse.ArgumentTypeError(
            "an alias is a letter or digit, and 62 more of them, dots, dashes or low lines at most"
        )
    return text


def fingerprint(text: str) -> str:
    """A server's fingerprint."""
    if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", text):
        raise argparse.ArgumentTypeError(
            "a fingerprint is SHA256: and 43 characters: letters, digits, + and /"
        )
    return text


def proxy(text: str) -> "Proxy | None":
    """The proxy at this URL; nothing means none."""
    if not text:
        return None
    from chat.socks import Proxy

    with _told():
        return Proxy(text)


def number(text: str) -> float:
    """A number from 0 on, of seconds, days or the like."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError("a number from 0 on is expected, as in 60 or 0.5")
    return float(text)


def count(text: str) -> int:
    """How many, 1 at least."""
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError("a whole number is expected, from 1 to 999999")
    return int(text)


def patience(text: str) -> float:
    """Seconds, or `FOREVER`, which is infinite."""
    try:
        return math.inf if text == FOREVER else number(text)
    except argparse.ArgumentTypeError as exc:
        raise argparse.ArgumentTypeError(f"{exc}, or {FOREVER}") from exc


def time_format(text: str) -> str:
    """A format for strftime."""
    from datetime import datetime

    # Of a sign that it does not know, strftime makes the sign itself.
    shown = datetime.now().strftime(text.replace("%%", "")) if text.isprintable() else "%"
    if "%" in shown or not shown.isprintable():
        raise argparse.ArgumentTypeError("a format for strftime is expected, as in %H:%M")
    return text
