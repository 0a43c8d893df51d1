"""Completion at the console: what the end of a line could become."""

from collections.abc import Iterable, Mapping

from chat.text import caseless_name


def completions(line: str, commands: Mapping[str, Iterable[str] | None]) -> tuple[int, list[str]]:
    """Where that begins which can be completed, and what it could become.

    `commands` maps each command to the names that can stand behind it; None: nothing stands there.
    """
    begin = len(line) - len(line.lstrip())
    word, blank, argument = line[begin:].partition(" ")
    if not blank:
        found = [command for command in commands if command.startswith(word.upper())]
        return begin, [each if commands[each] is None else f"{each} " for each in found]
    typed = argument.lstrip()
    names = commands.get(word.upper()) or ()
    key = caseless_name(typed)
    found = [name for name in names if caseless_name(name).startswith(key)]
    return len(line) - len(typed), found
