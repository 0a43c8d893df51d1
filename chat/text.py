"""Rules for names and text that come from people (PROTOCOL 7).

Here: what a name may be, when two names are the same, and how text is escaped before it is shown.

The work is linear in the length of any text. All normal forms sort runs of combining marks, which
is quadratic, so text from a peer passes `cap_marks` before it is normalised.
"""

import re
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Iterable
from functools import cache, lru_cache

from chat.errors import UsageError
from chat.limits import CACHED_NAMES, MAX_MARKS, MAX_NAME_CHARS, NAMES_AT_HAND

_BLANK = frozenset(
    # Default_Ignorable_Code_Point (Unicode, DerivedCoreProperties.txt), as far as printable and not
    # in `_IGNORABLE`: the fillers of Hangul, and two vowels of Khmer.
    "\u115f\u1160\u17b4\u17b5\u3164\uffa0"
    # Blank, or without a glyph of their own by their description in the code charts.
    "\u2800\ufffc\U0001107f\U00013440\U00013441\U00013442\U00016fe4\U0001d159"
)
"""Characters that Unicode calls printable although nobody can see them."""

_ZWNJ, _ZWJ = JOINERS = "\u200c\u200d"
"""Invisible characters that are not escaped, since Persian, Hindi and family emoji need them."""

_IGNORABLE = re.compile(f"[\u034f\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef{JOINERS}]")
"""Printable marks that at most change the style of the character before them; and the joiners,
which at most change how their neighbours are written."""

_CURSIVE = re.compile(
    "ARABIC|SYRIAC|NKO|MONGOLIAN|MANDAIC|MANICHAEAN|PHAGS-PA|PSALTER|SOGDIAN|OLD SOGDIAN|"
    "OLD UYGHUR|ADLAM|HANIFI|CHORASMIAN"
)
"""How the names of letters in cursive scripts begin (Unicode, 9.2: Joining_Type)."""

_DELIMITERS = frozenset(":,[]*;!?\u02d0\ua789\u2236\ufe30\u3001\u060c\u061f\u3002")
"""What ends a name in a message and in a list, what stands around the mark of a status line and
before an action, and what ends a sentence. Then what looks like a colon, and some of other scripts:
those that every client refuses. The server knows more of them (`lookalikes.TERMINALS`)."""

_SENTENCE_END = re.compile(r"(?<!\b[^\W_])\. ")
"""With this a name could read as a status line of ours and the beginning of another one. The full
stop of an initial ("J. R.") ends no sentence."""

NOBODY = frozenset(
    {
        *("server", "system", "operator", "admin", "administrator", "moderator", "root", "you"),
        *("me", "everybody", "everyone", "all", "here", "nobody", "somebody", "someone"),
        *("anybody", "anyone"),
    }
)
"""Names that would read as somebody else, or as more than one."""

_VIRAMA = 9
"""The combining class of marks that remove the vowel of a consonant."""

LONGEST_NAME_TYPED = 4 * MAX_NAME_CHARS
"""NFC composes at most four characters to one (U+1F82, for instance): what is longer is no name."""

_CTCP = "\x01"
_ACTION = _CTCP + "ACTION "


def normalize_name(name: str) -> str:
    """The NFC form of a name. What is refused here, no server lets in, whatever Unicode it knows:
    `usable_name` is what a server asks.

    Raises:
        UsageError: the name is empty, too long, not printable, or could mislead.
    """
    if len(name) <= LONGEST_NAME_TYPED:
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
    if set(name + compatible) & _DELIMITERS:
        raise UsageError(_PUNCTUATION)
    if _SENTENCE_END.search(compatible):
        raise UsageError(
            "a name does not end a sentence: no full stop (but after an initial) stands before a "
            "space"
        )
    if caseless_name(name) in NOBODY:
        raise UsageError(f"nobody can be called {name}")
    return name


_PUNCTUATION = (
    "a name has no comma, colon, semicolon, asterisk, square bracket, question mark or exclamation "
    "mark"
)


@lru_cache(maxsize=NAMES_AT_HAND)
def usable_name(name: str) -> str:
    """The NFC form of a name that a server lets in: also without the punctuation of all scripts,
    and without what looks like it or like a name of `NOBODY`. A later Unicode may say otherwise, so
    a client does not hold the names of others to this.

    Raises:
        UsageError: the name cannot be used.
    """
    # Imported late: see `fold_name`.
    from chat.lookalikes import TERMINALS

    name = normalize_name(name)
    for at, char in enumerate(name):
        if char in TERMINALS and not _is_mark_of(char, name[at - 1 : at]):
            raise UsageError(_PUNCTUATION)
    if fold_name(name) in _folded_nobody():
        raise UsageError(f"nobody can be called {name}")
    return name


@cache
def _folded_nobody() -> frozenset[str]:
    return frozenset(map(fold_name, NOBODY))


def _is_mark_of(char: str, before: str) -> bool:
    """Whether this is a mark of the script of the letter before it: the visarga looks like a colon,
    and Sanskrit needs it."""
    script = unicodedata.name(before, "").partition(" ")[0] if before else ""
    return unicodedata.category(char)[0] == "M" and unicodedata.name(char).startswith(f"{script} ")


def _is_readable(name: str) -> bool:
    """Whether each character of a name can be seen, or changes one that can."""
    for at, char in enumerate(name):
        if char in JOINERS:
            if not _joins(char, name[:at], name[at + 1 :]):
                return False
        elif char in _BLANK or not char.isprintable():
            return False
    return cap_marks(name, escape=False) == name


def _joins(joiner: str, before: str, after: str) -> bool:
    """Whether a joiner has an effect: in a cursive script, after a virama (Unicode, UAX 31, 2.3,
    A1, A2 and B), or in an emoji (UTS 51, ED-16)."""
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


@lru_cache(CACHED_NAMES)
def caseless_name(name: str) -> str:
    """A key that is equal for names that differ in case, width, normal form or invisible characters
    alone (Unicode, 3.13: NFKC_Casefold). Of characters that are assigned, no later Unicode changes
    it, so server and client agree on it."""
    seen = cap_marks(_IGNORABLE.sub("", name), escape=False)
    # Capped again, since a letter may have come with some of its marks. Not only then: to sort very
    # many marks takes long.
    seen = cap_marks(unicodedata.normalize("NFD", seen), escape=False)
    folded = unicodedata.normalize("NFKD", seen.casefold())
    return unicodedata.normalize("NFKD", folded.casefold())


def nearest_name(name: str, names: Iterable[str]) -> str:
    """That of these names which somebody may have meant with one that is not among them; empty if
    none is much like it."""
    from difflib import get_close_matches

    by_key = {caseless_name(one): one for one in names}
    return "".join(by_key[key] for key in get_close_matches(caseless_name(name), by_key, 1))


@lru_cache(maxsize=NAMES_AT_HAND)
def fold_name(name: str) -> str:
    """A key that is equal for names that a reader takes for the same: the skeleton (UTS 39, 4) of
    the caseless name. A later Unicode may know other look-alikes, so it is the server's to compare
    names by it."""
    # Imported late: it takes some milliseconds, and a client can do without.
    from chat.lookalikes import LOOKALIKES

    # Capped before it is sorted as well: marks may have come that our Unicode did not know as such.
    seen = cap_marks(caseless_name(name).translate(LOOKALIKES), escape=False)
    return cap_marks(unicodedata.normalize("NFKD", seen), escape=False)


def caseless(text: str) -> str:
    """A text for searching: case and invisible characters do not count. Like `fold_name`, but cheap
    enough for a whole message, and a letter with marks stays one character."""
    if text.isascii():
        return text.lower()
    seen = cap_marks(_IGNORABLE.sub("", text), escape=False)
    return unicodedata.normalize("NFC", seen).casefold()


def is_blank(text: str) -> bool:
    """Whether a text has no visible character."""
    seen = _IGNORABLE.sub("", text)
    return all(char.isspace() or char in _BLANK for char in seen)


def as_action(text: str) -> str:
    """The text of a message that says what its sender does (CTCP, ACTION)."""
    return f"{_ACTION}{text}{_CTCP}"


def action_of(text: str) -> str | None:
    """What the sender of a message does; None if it is an ordinary message."""
    if not text.startswith(_ACTION):
        return None
    return text.removeprefix(_ACTION).removesuffix(_CTCP)


def cap_marks(text: str, *, escape: bool) -> str:
    """`text` with at most 30 marks or joiners in a row (Unicode, UAX 15, 13: Stream-Safe Text
    Format). The rest of a run is removed, or escaped."""
    # Most texts have no marks. A longer run would contain one of the characters sampled here.
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
    """The first letter of each character's category: M for marks, and for joiners, too."""
    return "".join(map(unicodedata.category, text)).replace("Cf", "Mf")[::2]


def escape(text: str) -> str:
    """`text` with escapes like `\\x1b` for all that could act on a terminal, or hide.

    That is control characters (C0, C1, DEL), bidirectional and other invisible formatting, line and
    paragraph separators, lone surrogates, and all but the first marks of a long run. Tabs and line
    feeds stay.
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
    """Like `escape`, with line feeds escaped, too: for text that must stay in one line."""
    return escape(text).replace("\n", "\\n")


def check_size(text: str, what: str, most: int, advice: str = "") -> None:
    """`most`: of bytes. `what` it is, as in "a message"; `advice`: what to do with more.

    Raises:
        UsageError: it is longer, or is no text.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise UsageError(f"{what} is text, and this is not UTF-8") from exc
    if size > most:
        hint = f"{what} has at most {most} bytes{advice}"
        raise UsageError(f"{what} of {size} bytes is too long", hint)


def counted(count: int, what: str) -> str:
    """ "1 message was", "2 messages were"."""
    return f"1 {what} was" if count == 1 else f"{count} {what}s were"


def fingerprint_of(digest: bytes) -> str:
    """The digest of a key as `ssh-keygen` writes it: base64 without padding."""
    return "SHA256:" + b64encode(digest).decode().rstrip("=")


def digest_of(fingerprint: str) -> bytes | None:
    """The opposite of `fingerprint_of`; None if the text is no fingerprint."""
    found = _FINGERPRINT.fullmatch(fingerprint)
    return b64decode(found[1] + "=") if found else None


_FINGERPRINT = re.compile("SHA256:([A-Za-z0-9+/]{43})")
