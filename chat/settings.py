"""Options that are not on the command line: from the environment, and from config.toml.

Which options there are, and what values they take, is read from the parser of the command, so there
is no second list. An option `--no-history` is the variable CHAT_NO_HISTORY, and the key no-history
in a table of the file. What is on the command line wins, then the variable, the table of the room,
the table of the command, and the default.
"""

import argparse
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from chat.errors import IdentityError, UsageError
from chat.guesses import meant, nearest
from chat.text import escape_line

if TYPE_CHECKING:
    from chat.files.config import ConfigFile, Table

CONFIG = "config.toml"
"""The file's name, in the folder of `config_folder`."""

UNSET = object()
"""Stands for the value of an option that is not on the command line."""

_TAKEN = {"CHAT_INVITE", "CHAT_LOG"}
"""Variables that mean something else: they are read by `targets` and `__main__`."""

_FLAGS = {"1": True, "0": False}
"""The values of a variable whose option takes none."""


class Held(NamedTuple):
    """The value that an option has, and where it comes from."""

    value: Any
    source: str


def settable(actions: Iterable[argparse.Action]) -> dict[str, argparse.Action]:
    """The options among the arguments of a command, by their keys. Help and version are none."""
    return {
        _key_of(action): action
        for action in actions
        if action.option_strings and action.default is not argparse.SUPPRESS
    }


def variable_of(action: argparse.Action) -> str:
    """The variable of an option; empty if it has none."""
    name = f"CHAT_{action.dest.upper()}"
    return "" if name in _TAKEN else name


def _key_of(action: argparse.Action) -> str:
    return max(action.option_strings, key=len).removeprefix("--")


class Settings:
    """What the environment and the file say. The file is read when it is first asked for."""

    def __init__(
        self, environ: Mapping[str, str], options_of: Mapping[str, Callable[[], Collection[str]]]
    ) -> None:
        """`options_of`: for each command, what tells the keys of its options."""
        self._environ = environ
        self._options_of = options_of

    @cached_property
    def _config(self) -> "ConfigFile | None":
        """The file; None if there is none. Raises UsageError if something is wrong with it."""
        from chat.files.folders import config_folder

        try:
            path = config_folder(self._environ) / CONFIG
        except IdentityError:
            return None
        if not os.path.lexists(path):
            return None
        # Slow to import, and most people have no such file.
        from chat.files.config import ConfigFile

        return ConfigFile(path, self._options_of)

    def hold(
        self, command: str, room: str, options: Mapping[str, argparse.Action]
    ) -> dict[str, Held]:
        """What each option of a command has that is not on the command line, by its key. `room`:
        the word that says where to, if there is one.

        Raises:
            UsageError: something is wrong in the file, or in a variable.
        """
        config = self._config
        tables = [] if config is None else self._tables(config, command, room, options)
        return {
            key: self._from_environment(action)
            or self._from_file(tables, key, action)
            or Held(action.default, "")
            for key, action in options.items()
        }

    def check(self, command: str, options: Mapping[str, argparse.Action]) -> None:
        """Check all that the file says of a command's options. Raises UsageError."""
        if (config := self._config) is not None:
            for room in ("", *config.rooms):
                self.hold(command, room, options)

    def _from_environment(self, action: argparse.Action) -> Held | None:
        name = variable_of(action)
        text = self._environ.get(name, "") if name else ""
        if not text:
            return None
        try:
            return Held(_FLAGS[text] if _is_flag(action) else _value_of(action, text), name)
        except KeyError:
            raise UsageError(f"{name} is 1 or 0") from None
        except argparse.ArgumentTypeError as exc:
            raise UsageError(escape_line(f"{name}: {exc}")) from exc

    def _tables(
        self, config: "ConfigFile", command: str, room: str, own: Collection[str]
    ) -> "list[tuple[str, Table]]":
        """The tables that hold, the one that wins first, each behind its title."""
        title, table = f"[{command}]", config.command(command)
        _require_known(config, title, table, own)
        room_title, room_table = config.room(room)
        if not set(room_table) <= set(own):
            # Other commands lead to the same room, and have other options.
            _require_known(config, room_title, room_table, self._any_option())
        return [(room_title, room_table), (title, table)]

    def _from_file(
        self, tables: "list[tuple[str, Table]]", key: str, action: argparse.Action
    ) -> Held | None:
        for title, table in tables:
            if key in table:
                try:
                    return Held(_plain(action, table[key]), title)
                except argparse.ArgumentTypeError as exc:
                    assert self._config is not None
                    raise self._config.error(f"{title} {key}: {exc}") from exc
        return None

    def _any_option(self) -> Collection[str]:
        return {key for options in self._options_of.values() for key in options()}


def _require_known(
    config: "ConfigFile", title: str, table: "Table", known: Collection[str]
) -> None:
    for key in table:
        if key not in known:
            raise config.error(f"{title} has no option {key}", meant(nearest(key, known)))


def _plain(action: argparse.Action, value: object) -> object:
    """The value in the file as the option has it."""
    if _is_flag(action):
        if not isinstance(value, bool):
            raise argparse.ArgumentTypeError("true or false is expected")
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise argparse.ArgumentTypeError("a text or a number is expected")
    try:
        text = str(value)
    except ValueError as exc:
        # Thousands of digits, which can be written in hex.
        raise argparse.ArgumentTypeError("the number is too long") from exc
    return _value_of(action, text)


def _is_flag(action: argparse.Action) -> bool:
    return action.nargs == 0


def _value_of(action: argparse.Action, text: str) -> object:
    """What the option makes of a text; raises ArgumentTypeError if it takes no such value."""
    convert: Any = action.type or str
    try:
        value: object = convert(text)
    except (TypeError, ValueError) as exc:
        raise argparse.ArgumentTypeError(f"not {text}") from exc
    if action.choices is not None and value not in action.choices:
        choices = ", ".join(map(str, action.choices))
        raise argparse.ArgumentTypeError(f"one of {choices} is expected, not {text}")
    return value


def describe(held: Mapping[str, Held]) -> list[str]:
    """A line for each option that has not its default: its value, and where that comes from."""
    return [
        f"{key} = {_shown(value)}  # {source}" for key, (value, source) in held.items() if source
    ]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value == math.inf:
        value = "forever"
    return f'"{value}"' if not isinstance(value, int | float) else f"{value:g}"
