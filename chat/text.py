"""Rules for names and text that come from people.

Here: what a name may be, when two names are the same, and how text is made harmless before it is
shown. Implements PROTOCOL 7. Knows no terminal codes but for taking them away.

Whatever the text is, the work is linear in its length. Sorting a run of combining marks, which all
normal forms do, is quadratic: so nothing of a peer is normalised before `cap_marks`.
"""

import re
import unicodedata
from base64 import b64encode

from chat.errors import UsageError
from chat.limits import MAX_MARKS, MAX_NAME_CHARS

_BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and symbols that Unicode calls printable and that nobody can see."""

_ZWNJ, _ZWJ = JOINERS = "\u200c\u200d"
"""The only invisible characters that stay: Persian, Hindi and family emoji are wrong without
them."""

_IGNORABLE = re.compile(f"[\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef{JOINERS}]")
"""Marks that are printable and change at most the style of the character before them; and the
joiners, which change at most how their neighbours are written."""

_CURSIVE = re.compile(
    "ARABIC|SYRIAC|NKO|MONGOLIAN|MANDAIC|MANICHAEAN|PHAGS-PA|PSALTER|SOGDIAN|OLD SOGDIAN|"
    "OLD UYGHUR|ADLAM|HANIFI|CHORASMIAN"
)
"""How the names of letters begin that join their neighbours (Unicode, 9.2: Joining_Type)."""

_VIRAMA = 9
"""The combining class of the marks that take a consonant's vowel away."""

_MAX_DECOMPOSED = 4
"""NFC makes one character of no more than this many (of U+1F82's parts, for one)."""

_CTCP = "\x01"
_ACTION = _CTCP + "ACTION "


def normalize_name(name: str) -> str:
    """The NFC form of a name.

    Raises:
        UsageError: the name is empty, too long, not printable, or could mislead.
    """
    if len(name) <= _MAX_DECOMPOSED * MAX_NAME_CHARS:
        name = unicodedata.normalize("NFC", name)
    if not name:
        raise UsageError("a name has at least one character")
    if len(name) > MAX_NAME_CHARS:
        raise UsageError(f"a name has at most {MAX_NAME_CHARS} characters")
    if not _is_readable(name):
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


def _is_readable(name: str) -> bool:
    """Whether each character of a name can be seen, or at least changes what can."""
    for at, char in enumerate(name):
        if char in JOINERS:
            if not _joins(char, name[:at], name[at + 1 :]):
                return False
        elif char in _BLANK or not char.isprintable():
            return False
    return cap_marks(name, escape=False) == name


def _joins(joiner: str, before: str, after: str) -> bool:
    """Whether a joiner does something here: in a cursive script, behind a virama (Unicode, UAX 31,
    2.3, A1, A2 and B), or in an emoji (UTS 51, ED-16)."""
    stem = before
    while stem and _category(stem[-1:]) in ("Mn", "Mc", "Me", "Sk"):
        stem = stem[:-1]
    marks, last, following = before[len(stem) :], stem[-1:], _category(after[:1])
    if joiner == _ZWJ and _category(last) == "So" and following in ("So", "Sm"):
        return True
    if not _category(last).startswith("L"):
        return False
    if any(unicodedata.combining(mark) == _VIRAMA for mark in marks):
        return following.startswith("L") if joiner == _ZWNJ else not following.startswith("M")
    return joiner == _ZWNJ and _is_cursive(last) and _is_cursive(after[:1])


def _category(char: str) -> str:
    return unicodedata.category(char) if char else ""


def _is_cursive(letter: str) -> bool:
    return bool(letter) and _CURSIVE.match(unicodedata.name(letter, "")) is not None


def fold_name(name: str) -> str:
    """What two names have in common when they are the same to a reader: case, width, form and what
    cannot be seen do not count (Unicode, 3.13: NFKC_Casefold)."""
    seen = cap_marks(_IGNORABLE.sub("", name), escape=False)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", seen).casefold())
    return unicodedata.normalize("NFKD", folded.casefold())


def caseless(text: str) -> str:
    """A text in the form in which another is looked for in it: case and what cannot be seen do not
    count. As `fold_name`, but cheap enough for a whole message, and letters stay one character."""
    if text.isascii():
        return text.lower()
    seen = cap_marks(_IGNORABLE.sub("", text), escape=False)
    return unicodedata.normalize("NFC", seen).casefold()


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    seen = _IGNORABLE.sub("", text)
    return all(char.isspace() or char in _BLANK for char in seen)


def as_action(text: str) -> str:
    """The text of a message that tells what its sender does (CTCP, ACTION)."""
    return f"{_ACTION}{text}{_CTCP}"


def action_of(text: str) -> str | None:
    """What the sender of a message does; None if the message is something said."""
    if not text.startswith(_ACTION):
        return None
    return text.removeprefix(_ACTION).removesuffix(_CTCP)


def cap_marks(text: str, *, escape: bool) -> str:
    """`text` with no more than 30 marks or joiners in a row (Unicode, UAX 15, 13: Stream-Safe Text
    Format). What exceeds them is left out, or shown as escapes."""
    # No longer run lies between the characters that are looked at, and most texts have no marks.
    if text.isascii() or "M" not in _kinds(text[:: MAX_MARKS + 1]):
        return text
    kinds = _kinds(text)
    if "M" * (MAX_MARKS + 1) not in kinds:
        return text
    parts: list[str] = []
    at = 0
    for run in re.finditer("M+", kinds):
        first, end = min(run.start() + MAX_MARKS, run.end()), run.end()
        parts += text[at:first], _escaped(text[first:end]) if escape else ""
        at = end
    return "".join([*parts, text[at:]])


def _kinds(text: str) -> str:
    """The first letters of the categories of characters. That of marks is M; joiners count so."""
    return "".join(map(unicodedata.category, text)).replace("Cf", "Mf")[::2]


def escape(text: str) -> str:
    """`text` with everything that could act on a terminal, or hide, made visible as `\\x1b`.

    Control characters (C0, C1, DEL), bidirectional and other invisible formatting, line and
    paragraph separators, lone surrogates and all but the first marks of a long run are shown as
    escapes; tabs and line feeds stay.
    """
    if not text.isprintable():
        escapes = {char: _escaped(char) for char in set(text) if not _is_harmless(char)}
        if escapes:
            text = "".join([escapes.get(char, char) for char in text])
    return cap_marks(text, escape=True)


def _is_harmless(char: str) -> bool:
    if char.isprintable() or char in "\t\n" or char in JOINERS:
        return True
    return unicodedata.category(char) in ("Zs", "Co", "Cn")


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def escape_line(text: str) -> str:
    """As `printable`, and line feeds made visible, too: for what must not begin another line."""
    return escape(text).replace("\n", "\\n")


def counted(count: int, what: str) -> str:
    """ "1 message was", "2 messages were"."""
    return f"1 {what} was" if count == 1 else f"{count} {what}s were"


def fingerprint_of(digest: bytes) -> str:
    """The digest of a key as `ssh-keygen` writes it: base64 without padding."""
    return "SHA256:" + b64encode(digest).decode().rstrip("=")
