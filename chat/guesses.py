"""What somebody may have meant who typed something that is not there."""

from collections.abc import Collection

_SIMILAR = 0.7


def nearest(word: str, known: Collection[str], similar: float = _SIMILAR) -> str:
    """What is much like `word` among what is known; empty if nothing is. From 0 to 1: how similar
    it must be."""
    # Imported late: only a slip needs it.
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, known, 1, similar)), "")


def meant(text: str) -> str:
    """The question whether this was meant; empty if there is no guess."""
    return f"did you mean {text}?" if text else ""


def command_meant(word: str, commands: Collection[str]) -> str:
    """A guess at a word that stands where a command is expected."""
    return "--help" if word.lower() == "help" else nearest(word.lower(), commands)


def argument_meant(argument: str, options: Collection[str]) -> str:
    """A guess at an argument that a command does not take; `options` are those that it has."""
    if argument.startswith("-"):
        option, _, _ = argument.partition("=")
        return nearest(option, [one for one in options if one.startswith("--")])
    if f"--{argument}" in options:
        return f"--{argument}"
    if argument.isdigit() and "-p" in options:
        return f"-p {argument}"
    if "--host" in options and (set(argument) & set(".:") or argument == "localhost"):
        return f"--host {argument}"
    return ""
