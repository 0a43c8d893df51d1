"""argparse with our manners: what is wrong is told in two lines, and an option that is not on the
command line is looked for elsewhere.

Which commands and options there are is not known here.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn, TypeAlias

from chat.errors import UsageError
from chat.guesses import argument_meant, command_meant, meant
from chat.place import is_invite
from chat.settings import UNSET, Settings, settable
from chat.text import escape_line

_SECRET = re.compile("[A-Za-z0-9_-]{32,}")
"""The last part of an invite, or of a damaged one. No word of ours is so long."""

_USUAL_COLUMNS = 80

_LOGIN = re.compile(r"(?<=://).*(?=@)", re.DOTALL)
"""The user and the password of a proxy, if the text is its URL."""


def _bare(text: str) -> str:
    """The text without what is secret in it."""
    return _LOGIN.sub("...", _SECRET.sub("...", text))


def columns() -> int:
    """How wide help may be, as `shutil.get_terminal_size` has it. argparse imports it at each
    start, and it is slow to import."""
    if (text := os.environ.get("COLUMNS", "")).isdecimal() and (wanted := int(text)):
        return wanted
    with suppress(OSError):
        return os.get_terminal_size(1).columns or _USUAL_COLUMNS
    return _USUAL_COLUMNS


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        # argparse leaves two columns free.
        super().__init__(prog, width=columns() - 2)


class Parser(argparse.ArgumentParser):
    """Raises UsageError for whatever argparse has to complain of; and OSError if standard output
    does not take the help or the version, which argparse would pass over."""

    forms: tuple[str, ...] = ()
    """What may stand behind the name and the options."""

    def __init__(self, **words: Any) -> None:
        super().__init__(formatter_class=_Formatter, **words)

    def error(self, message: str) -> NoReturn:
        raise self.misused(message)

    def misused(self, text: str, hint: str = "") -> UsageError:
        """The error for arguments that mean nothing. Without a hint it shows the usage. No argument
        that may be an invite is repeated: it is a secret, and so is a proxy's password."""
        forms = ", or ".join(filter(None, self.forms))
        usage = f"usage: {self.prog} [option ...] {forms}".rstrip()
        return UsageError(escape_line(_bare(text)), _bare(hint) or f"{usage}; --help says more")

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is not None and file is sys.stdout:
            file.write(message)
            file.flush()
        else:
            super()._print_message(message, file)


class Top(Parser):
    """The program as a whole: a command is expected."""

    commands: "Mapping[str, Command]"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        args = sys.argv[1:] if args is None else list(args)
        word = next((word for word in args if not word.startswith("-")), None)
        if word is not None and word not in self.commands:
            # It may be an invite, which is not to be repeated.
            what = "an invite" if is_invite(word) else word
            guess = meant(command_meant(word, self.commands))
            raise self.misused(f"{what} is no command", guess)
        if not args:
            names = ", ".join(self.commands)
            raise self.misused("a command is missing", f"the commands are {names}; see --help")
        return super().parse_known_args(args, namespace)


Commands: TypeAlias = "argparse._SubParsersAction[Command]"


class Command(Parser):
    """One command.

    It may have words that only make sense together, and `understand` makes options of them. It
    raises UsageError. Options may stand between the words, and none behind `--`.
    """

    name = ""
    fill: "Callable[[Command], None] | None" = None
    """Adds the command's arguments. Called when it is the one that was chosen: to add all of them
    takes longer than to read the command line."""
    understand: Callable[[argparse.Namespace], None] | None = None
    settings: Settings | None = None
    """What says the options that are not on the command line."""
    about_options = ""
    """What to say of an option that the command does not have, and that is like no other."""
    goes_to_a_room = False
    """Whether the words may name a room, which may have options of its own."""
    _inside = False

    def options(self) -> dict[str, argparse.Action]:
        """The options, by their keys in the settings."""
        self._complete()
        return settable(self._actions)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._inside:
            return super().parse_known_args(args, namespace)
        dests = (action.dest for action in self.options().values())
        options, unknown = self._parse(args, argparse.Namespace(**dict.fromkeys(dests, UNSET)))
        if unknown:
            raise self._unknown(unknown[0])
        self._settle(options)
        if self.understand is not None:
            try:
                self.understand(options)
            except UsageError as error:
                raise self.misused(str(error), error.hint) from error
        return options, []

    def _complete(self) -> None:
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)

    def _parse(self, args: list[str], namespace: argparse.Namespace) -> Any:
        if self.understand is None:
            return super().parse_known_args(args, namespace)
        end = args.index("--") if "--" in args else len(args)
        # It may call `parse_known_args` again, for the options and then for the words.
        self._inside = True
        options, unknown = self.parse_known_intermixed_args(args[:end], namespace)
        self._inside = False
        options.words += args[end + 1 :]
        return options, unknown

    def _unknown(self, argument: str) -> UsageError:
        if is_invite(argument):
            return self.misused(f"{self.prog} does not take an invite here")
        guess = meant(escape_line(argument_meant(argument, self._option_string_actions)))
        return self.misused(f"{self.prog} does not take {argument}", guess or self.about_options)

    def _settle(self, options: argparse.Namespace) -> None:
        """Give each option that is not on the command line the value that it has elsewhere."""
        assert self.settings is not None
        own = self.options()
        room = options.words[0] if self.goes_to_a_room and options.words else ""
        held = self.settings.hold(self.name, room.rpartition("@")[2], own)
        for key, action in own.items():
            if getattr(options, action.dest) is UNSET:
                setattr(options, action.dest, held[key].value)
