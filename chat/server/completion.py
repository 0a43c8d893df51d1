"""Completion at the console: what the last word of a line could become."""

from collections.abc import Iterable, Iterator, Mapping

from chat.text import caseless_name

Names = Iterable[str]


def completions(line: str, begin: int, commands: Mapping[str, Names | None]) -> list[str]:
    """Completions for the last word of the line, which begins at `begin`.

    `commands` maps each command to the names that can stand behind it; None: nothing stands there.
    """
    word = line[begin:]
    before = line[:begin].lstrip()
    if not before:
        found = [command for command in commands if command.startswith(word.upper())]
        return [command if commands[command] is None else f"{command} " for command in found]
    command, _, typed = before.partition(" ")
    return list(_rests(commands.get(command.upper()) or (), typed.lstrip().split(" ")[:-1], word))


def _rests(names: Names, before: list[str], word: str) -> Iterator[str]:
    """What is left of each name with blanks when these words of it stand there already: the rest
    of it, if it begins with `word`."""
    for name in names:
        parts = name.split(" ")
        begun, rest = parts[: len(before)], " ".join(parts[len(before) :])
        is_begun = caseless_name(" ".join(begun)) == caseless_name(" ".join(before))
        if rest and is_begun and caseless_name(rest).startswith(caseless_name(word)):
            yield rest
