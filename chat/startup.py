"""What the programs share at their start: the folder of the keys, our own key, the history.

Slow imports are made where they are needed.
"""

import argparse
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from chat.errors import EditorMissingError, IdentityError
from chat.files.folders import config_folder, state_folder

if TYPE_CHECKING:
    from chat.files.history import History
    from chat.files.known_servers import KnownServers
    from chat.kex import PrivateKey

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end the program."""


def keys_folder(options: argparse.Namespace) -> Path:
    """Where keys are kept, and what is beside them."""
    return options.keys or config_folder(os.environ)


def load_key(
    options: argparse.Namespace,
    announce: Callable[[], None],
    spin: Callable[[], None] = lambda: None,
) -> "PrivateKey":
    """Our key. If it must be made, `announce` is called before, and `spin` again and again."""
    from chat.files.keys import load_or_make_key
    from chat.kex import PrivateKey

    interrupts: list[int] = []

    def random_bytes(size: int) -> bytes:
        if interrupts:
            raise KeyboardInterrupt
        spin()
        return os.urandom(size)

    def make() -> PrivateKey:
        announce()
        # A KeyboardInterrupt at any point could be swallowed by the library: raise it where we are
        # asked for random bytes. So the terminal is given back at other signals, too.
        before = {number: signal.getsignal(number) for number in ENDING}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, lambda number, _: interrupts.append(number))
        try:
            return PrivateKey.generate(options.bits, random_bytes)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    if options.ephemeral:
        return make()
    role = "server" if options.role == "server" else "client"
    return load_or_make_key(keys_folder(options), role, make)


def known_servers(options: argparse.Namespace, *, read_only: bool = False) -> "KnownServers":
    """The list of servers that were met."""
    from chat.files.keyfolder import KNOWN_SERVERS
    from chat.files.known_servers import KnownServers

    return KnownServers(keys_folder(options) / KNOWN_SERVERS, read_only=read_only)


def history_of(options: argparse.Namespace, name: str) -> "History | None":
    """What was typed in earlier runs, in a file of this name. None without a home folder, or if
    nobody wants it."""
    from chat.files.history import History

    with suppress(IdentityError):
        if not options.no_history:
            return History(state_folder(os.environ) / name)
    return None


@contextmanager
def what_an_editor_needs() -> Iterator[None]:
    """Import what edits lines within this.

    Raises:
        EditorMissingError: lines cannot be edited here.
    """
    if os.environ.get("TERM", "dumb") == "dumb":
        raise EditorMissingError("the terminal is a dumb one")
    try:
        yield
    except (ImportError, AttributeError, OSError) as error:
        # Some Pythons are built without readline or ctypes.
        text = f"this Python lacks something ({error})"
        raise EditorMissingError(text, "one with ctypes and readline can do more") from error
