"""Write packaging/man/chatapp.1 from the parser and from docs/man.md.

    python -m tools.manpage

The macros are those of man(7). A text is escaped where it becomes part of the page.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from chat import __version__
from chat.cli import parser, which_wins
from chat.parsers import Command, Top
from chat.program import COMMAND

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "packaging/man/chatapp.1"
DOCUMENT = ROOT / "docs/man.md"


def page() -> str:
    """The man page."""
    top = parser()
    assert isinstance(top, Top)
    about = (top.description or "").rstrip(".")
    lines = [
        r".\" Made by tools/manpage.py; do not edit.",
        f'.TH {COMMAND.upper()} 1 "" "{COMMAND} {__version__}" "User Commands"',
        *(".SH NAME", rf"{COMMAND} \- {escaped(about[:1].lower() + about[1:])}"),
        ".SH SYNOPSIS",
    ]
    for command in top.commands.values():
        lines += _usage(command)
    lines += [".SH COMMANDS"]
    for command in top.commands.values():
        lines += _command(command)
    lines += [".PP", escaped(which_wins("COMMAND", goes_to_a_room=True))]
    return "\n".join([*lines, *_document(DOCUMENT.read_text(encoding="utf-8"))]) + "\n"


def escaped(text: str) -> str:
    """A text as roff wants it: no character of it is a request or an escape."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("~", r"\(ti")
    return rf"\&{text}" if text.startswith(".") else text


def _usage(command: Command) -> list[str]:
    return [
        line
        for form in command.forms
        for line in (
            f".B {COMMAND} {command.name}",
            escaped(f"[option ...] {form}".rstrip()),
            ".br",
        )
    ]


def _command(command: Command) -> Iterator[str]:
    options = command.options().values()
    yield f'.SS "{COMMAND} {command.name}"'
    yield escaped(command.description or "")
    for action in command._actions:
        if not action.option_strings and action.help:
            yield from _item(escaped(str(action.metavar)), _help_of(command, action))
    for action in options:
        value = "" if action.nargs == 0 else rf" \fI{escaped(_value_of(action))}\fR"
        names = ", ".join(rf"\fB{escaped(name)}\fR" for name in action.option_strings)
        yield from _item(names + value, _help_of(command, action))
    said_above = which_wins(command.name, goes_to_a_room=command.goes_to_a_room)
    if more := (command.epilog or "").removesuffix(said_above).strip():
        yield from (".PP", escaped(more))


def _value_of(action: argparse.Action) -> str:
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _help_of(command: Command, action: argparse.Action) -> str:
    return escaped(command._get_formatter()._expand_help(action))


def _item(head: str, text: str) -> list[str]:
    return [".TP", head, text]


def _document(text: str) -> Iterator[str]:
    """The sections of a document, from its first heading of the second rank on."""
    for block in text[text.index("\n## ") :].strip().split("\n\n"):
        if block.startswith("## "):
            yield f".SH {block.removeprefix('## ')}"
        elif block.startswith("    "):
            rows = (escaped(row.removeprefix("    ")) for row in block.split("\n"))
            yield from (".PP", ".RS 4", ".nf", *rows, ".fi", ".RE")
        elif block.startswith("| "):
            for row in block.split("\n"):
                name, meaning = row.strip("| ").split(" | ")
                yield from _item(_marked(name), _marked(meaning))
        else:
            yield from (".PP", *map(_marked, block.split("\n")))


def _marked(text: str) -> str:
    """A text of Markdown; what is marked as code is bold."""
    return re.sub("`(.+?)`", r"\\fB\1\\fR", escaped(text))


def main() -> None:
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
