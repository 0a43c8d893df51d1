"""Rules for names and text that come from people.

Here: what a name may be, when two names are the same, and how text is made harmless before it is
shown. Implements PROTOCOL 7. Knows no terminal codes but for taking them away.
"""

import unicodedata

from chat.errors import UsageError
from chat.limits import MAX_NAME_CHARS

_BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and symbols that Unicode calls printable and that nobody can see."""

_IGNORABLE = (
    ("\u034f", "\u034f"),
    ("\u180b", "\u180f"),
    ("\ufe00", "\ufe0f"),
    ("\U000e0100", "\U000e01ef"),
)
"""Marks that are printable and change at most the style of the character before them."""

_CTCP = "\x01"
_ACTION = _CTCP + "ACTION "

_HARMLESS_FORMAT = frozenset("\u200c\u200d")
"""The joiners: Persian, Hindi and family emoji are wrong without them."""


def normalize_name(name: str) -> str:
    """The NFC form of a name.

    Raises:
        UsageError: the name is empty, too long, not printable, or could mislead.
    """
    name = unicodedata.normalize("NFC", name)
    if not name:
        raise UsageError("a name has at least one character")
    if len(name) > MAX_NAME_CHARS:
        raise UsageError(f"a name has at most {MAX_NAME_CHARS} characters")
    if not name.isprintable() or not _BLANK.isdisjoint(name):
        raise UsageError("a name has printable characters only")
    if name != name.strip() or unicodedata.category(name[0]).startswith("M"):
        raise UsageError("a name begins and ends with a character that can be seen")
    compatible = unicodedata.normalize("NFKC", name)
    if ":" in compatible:
        raise UsageError("a name has no colon, which ends it where it is shown")
    if compatible.startswith(("*", "[")):
        raise UsageError(
            "a name does not begin with an asterisk or a bracket, as actions and news do"
        )
    return name


def name_key(name: str) -> str:
    """What two names have in common when they are the same to a reader: case, width, form and what
    cannot be seen do not count (Unicode, 3.13: NFKC_Casefold)."""
    seen = "".join(char for char in name if not _is_ignorable(char))
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", seen).casefold())
    return unicodedata.normalize("NFKD", folded.casefold())


def _is_ignorable(char: str) -> bool:
    return any(first <= char <= last for first, last in _IGNORABLE)


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return all(
        char.isspace() or char in _BLANK or char in _HARMLESS_FORMAT or _is_ignorable(char)
        for char in text
    )


def as_action(text: str) -> str:
    """The text of a message that tells what its sender does (CTCP, ACTION)."""
    return f"{_ACTION}{text}{_CTCP}"


def action_of(text: str) -> str | None:
    """What the sender of a message does; None if the message is something said."""
    if not text.startswith(_ACTION):
        return None
    return text.removeprefix(_ACTION).removesuffix(_CTCP)


def printable(text: str) -> str:
    """`text` with everything that could act on a terminal, or hide, made visible as `\\x1b`.

    Control characters (C0, C1, DEL), bidirectional and other invisible formatting, line and
    paragraph separators and lone surrogates are shown as escapes; tabs and line feeds stay.
    """
    if text.isprintable():
        return text
    return "".join(map(_disarm, text))


def _disarm(char: str) -> str:
    if char in "\t\n" or char in _HARMLESS_FORMAT or char.isprintable():
        return char
    if unicodedata.category(char) in ("Zs", "Co", "Cn"):
        return char
    return char.encode("unicode_escape").decode("ascii")


def in_line(text: str) -> str:
    """As `printable`, and line feeds made visible, too: for what must not begin another line."""
    return printable(text).replace("\n", "\\n")
