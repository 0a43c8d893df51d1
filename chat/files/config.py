"""The file of a person's own settings: config.toml, a table for each command and each kept room.

Here: that nobody else can change it, that it is TOML, and what its tables are. What options there
are, and what values they take, is known where the command line is (`chat.settings`).
"""

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from chat.errors import IdentityError, UsageError, cause_of
from chat.files import keyfolder
from chat.guesses import meant, nearest
from chat.limits import CONFIG_BYTES
from chat.text import caseless, escape_line

ROOMS = "rooms"
"""The table whose own tables are about one kept room each."""

Table = dict[str, Any]


class ConfigFile:
    """What the file says."""

    def __init__(self, path: Path, commands: Collection[str]) -> None:
        """Each table at the top has the name of a command.

        Raises:
            UsageError: it cannot be read, others can change it, or it is no such file.
        """
        self.path = path
        tables = self._read()
        for name, table in tables.items():
            if not isinstance(table, dict):
                hint = "options go below the name of a command, as in [client]"
                raise self.error(f"{name} stands in no table", hint)
            if name not in commands:
                guess = nearest(name, commands)
                raise self.error(f"[{name}] is no command", meant(f"[{guess}]" if guess else ""))
        inside = tables.get(ROOMS, {})
        self._rooms = {name: table for name, table in inside.items() if isinstance(table, dict)}
        by_key: dict[str, str] = {}
        for name in self._rooms:
            other = by_key.setdefault(caseless(name), name)
            if other != name:
                raise self.error(f"[{ROOMS}.{other}] and [{ROOMS}.{name}] are the same room")
        self._commands: dict[str, Table] = {
            **tables,
            ROOMS: {name: value for name, value in inside.items() if name not in self._rooms},
        }

    def command(self, name: str) -> Table:
        """The table of a command; empty if there is none."""
        return self._commands.get(name, {})

    def room(self, name: str) -> tuple[str, Table]:
        """The table of a room, and its title; empty if there is none."""
        for own, table in self._rooms.items():
            if name and caseless(own) == caseless(name):
                return f"[{ROOMS}.{own}]", table
        return "", {}

    @property
    def rooms(self) -> list[str]:
        """The names of the rooms that have a table."""
        return list(self._rooms)

    def error(self, text: str, hint: str = "") -> UsageError:
        """The error for something that is wrong in the file."""
        return UsageError(f"{self.path}: {escape_line(text)}", escape_line(hint))

    def _read(self) -> Table:
        try:
            content = keyfolder.read(self.path, CONFIG_BYTES, "settings file")
            tables: Table = tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
        except IdentityError as exc:
            hint = exc.hint if exc.hint.startswith("chmod ") else "remove it, or move it away"
            raise UsageError(str(exc), hint) from exc
        except OSError as exc:
            raise self.error(f"it cannot be read: {cause_of(exc)}") from exc
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            raise self.error(f"line {line} is not UTF-8") from exc
        except RecursionError as exc:
            raise self.error("it is nested too deeply") from exc
        except ValueError as exc:
            raise self.error(f"it is not TOML: {exc}") from exc
        return tables
