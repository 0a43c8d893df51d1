"""The lists of who may come in, as lines of text: what a line means, and how one is written.

Where the lines are kept is not known here: a `LineFile` reads and changes them. What cannot be
understood is passed over, told once, and left as it is.
"""

import hashlib
import re
from base64 import b64decode
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar, Generic, Protocol, TypeVar

from chat.errors import ChatError, Reason
from chat.frozen import frozen
from chat.limits import ROOM_TAG_BYTES
from chat.localtime import seconds_of, stamp_of

Change = Callable[[list[str]], list[str]]
"""What the lines of a list become."""


class LineFile(Protocol):
    """Lines that are kept somewhere."""

    name: str
    """For people."""

    def read(self) -> list[str] | None:
        """The lines; None if they are as they were when they were read last. Raises ChatError."""

    def edit(self, change: Change) -> None:
        """Change the lines in one step. If they were others than were read last, `read` returns
        them afterwards. Raises ChatError; then they are what they were."""

    def append(self, lines: list[str]) -> None:
        """Add lines in one step, as `edit` could, and at less cost. Raises ChatError."""


class InMemory:
    """Lines that are kept nowhere."""

    def __init__(self, *lines: str, name: str = "the list") -> None:
        self.name = name
        self.lines = list(lines)
        self._changed = True

    def read(self) -> list[str] | None:
        changed, self._changed = self._changed, False
        return self.lines if changed else None

    def edit(self, change: Change) -> None:
        self.lines = change(self.lines)

    def append(self, lines: list[str]) -> None:
        self.lines += lines


# -- a list --------------------------------------------------------------------------------------


@frozen
class Unreadable:
    """These lines of a list are passed over. `limited`: they have options that are not obeyed."""

    name: str
    lines: tuple[int, ...]
    limited: bool = False


@frozen
class Failed:
    """A list could not be read or changed. `holds`: what was to be written holds all the same,
    until the server ends."""

    text: str
    holds: bool = False


Trouble = Unreadable | Failed
Complain = Callable[[Trouble], None]

Entry = TypeVar("Entry")


class BrokenLineError(ValueError):
    """A line of a list cannot be understood."""


class LimitedLineError(ValueError):
    """A line of a list lets somebody in under conditions that are not known here."""


class List(Generic[Entry]):
    """A list: its lines, and what they mean. A trouble is told once, until it is another one."""

    def __init__(
        self, file: LineFile, parse: Callable[[str], Entry | None], complain: Complain
    ) -> None:
        self.file = file
        self._parse = parse
        self._complain = complain
        self._told: set[Trouble] = set()

    def read(self) -> list[Entry] | None:
        """The entries; None if they are as they were, or cannot be read."""
        try:
            lines = self.file.read()
        except ChatError as error:
            self._tell(Failed(str(error)))
            return None
        if lines is None:
            return None
        entries, broken, limited = [], [], []
        for number, line in enumerate(lines, 1):
            try:
                entry = self._parse(line)
            except BrokenLineError:
                broken.append(number)
            except LimitedLineError:
                limited.append(number)
            else:
                if entry is not None:
                    entries.append(entry)
        self._told.clear()
        if broken:
            self._tell(Unreadable(self.file.name, tuple(broken)))
        if limited:
            self._tell(Unreadable(self.file.name, tuple(limited), limited=True))
        return entries

    def edit(self, change: Change, *, asked: bool = True, holds: bool = False) -> bool:
        """Change the lines. Returns whether that was possible. Who has `asked` is told each time
        that it was not, and whether the change `holds` nevertheless."""
        return self._try(partial(self.file.edit, change), asked, holds)

    def append(self, lines: list[str]) -> bool:
        """Add lines, though nobody has asked. Returns whether that was possible."""
        return self._try(partial(self.file.append, lines), asked=False)

    def _try(self, action: Callable[[], None], asked: bool, holds: bool = False) -> bool:
        try:
            action()
        except ChatError as error:
            failed = Failed(str(error), holds)
            if asked:
                self._told.discard(failed)
            self._tell(failed)
            return False
        self._told = {trouble for trouble in self._told if isinstance(trouble, Unreadable)}
        return True

    def _tell(self, trouble: Trouble) -> None:
        if trouble not in self._told:
            self._told.add(trouble)
            self._complain(trouble)


# -- authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT) ---------------------------------------

_KEY_KINDS = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+")
# Possessive: a broken line must not be tried in every possible way.
_QUOTED = r'"(?:\\"|[^"])*+"'
_OPTIONS = re.compile(rf'((?:{_QUOTED}|[^\s"])++)\s+')
_LIMITS = re.compile(
    r"(?:^|,)(?:from|expiry-time|cert-authority|principals|verify-required)(?:=|,|$)", re.IGNORECASE
)
_RSA_BLOB = b"\0\0\0\x07ssh-rsa"


def authorized_key(line: str) -> bytes | None:
    """The digest of the RSA key that a line lets in; None if there is none to let in: the line is
    a comment, or has a key of another kind.

    Raises:
        BrokenLineError: there is no key in it.
        LimitedLineError: the key may come in under conditions that sshd knows and we do not.
    """
    line = line.strip(" \t\r")
    if not line or line.startswith("#"):
        return None
    options = ""
    if not _KEY_KINDS.match(line.split()[0]):
        found = _OPTIONS.match(line)
        if not found:
            raise BrokenLineError
        options, line = found[1], line[found.end() :]
    kind, encoded, *_ = *line.split(), "", ""
    if kind != "ssh-rsa":
        if _KEY_KINDS.fullmatch(kind):
            return None
        raise BrokenLineError
    try:
        blob = b64decode(encoded, validate=True)
    except ValueError as exc:
        raise BrokenLineError from exc
    if not blob.startswith(_RSA_BLOB):
        raise BrokenLineError
    if _LIMITS.search(re.sub(_QUOTED, "", options)):
        raise LimitedLineError
    return hashlib.sha256(blob).digest()


# -- tags of rooms ------------------------------------------------------------------------------

_TAG = re.compile(rf"([0-9a-fA-F]{{{2 * ROOM_TAG_BYTES}}})(?:\s+.*)?")


def tag_of(line: str) -> bytes | None:
    """The tag at the beginning of a line, in hex; what follows is for people. None for a comment.
    Raises BrokenLineError."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    found = _TAG.fullmatch(line)
    if not found:
        raise BrokenLineError
    return bytes.fromhex(found[1])


# -- bans and names: lines of our own -------------------------------------------------------------

_FINGERPRINT = r"(SHA256:[A-Za-z0-9+/]{43})"
_STAMP = r"([0-9]{4}-[0-9-]{5}T[0-9:]{8}Z)"
_BAN = re.compile(rf"{_FINGERPRINT}(?:\s+{_STAMP})?(?:\s+([^:]*)(?::(.*))?)?")
_NAME = re.compile(rf"{_FINGERPRINT} {_STAMP} (.+)")


@frozen
class Ban:
    """A key that may not come in: since when (0: not known), the name that it had, and why."""

    REASON: ClassVar[Reason] = Reason.KICKED
    fingerprint: str
    since: int = 0
    name: str = ""
    why: str = ""


def ban_of(line: str) -> Ban | None:
    """The ban in a line, `SHA256:… time name: reason`, where only the first is needed; None for a
    comment. Raises BrokenLineError."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    found = _BAN.fullmatch(line)
    if not found:
        raise BrokenLineError
    name, why = (found[3] or "").strip(), (found[4] or "").strip()
    return Ban(found[1], _seconds_of(found[2]), name, why)


def _seconds_of(stamp: str | None) -> int:
    try:
        return seconds_of(stamp) if stamp else 0
    except ValueError as exc:
        raise BrokenLineError from exc


def line_of_ban(ban: Ban) -> str:
    why = f": {ban.why}" if ban.why else ""
    return f"{ban.fingerprint} {stamp_of(ban.since)} {ban.name}{why}".rstrip()


class Use:
    """Which key used a name last, and when, in seconds since 1970."""

    __slots__ = ("fingerprint", "name", "used")

    def __init__(self, name: str, fingerprint: str, used: int) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.used = used


def use_in(line: str) -> Use | None:
    if not line.strip() or line.startswith("#"):
        return None
    found = _NAME.fullmatch(line)
    if not found:
        raise BrokenLineError
    return Use(found[3], found[1], _seconds_of(found[2]))


def line_of_use(use: Use) -> str:
    return f"{use.fingerprint} {stamp_of(use.used)} {use.name}"


def without(lines: Iterable[str], fingerprints: set[str]) -> list[str]:
    """The lines without the bans of these keys."""
    return [line for line in lines if not _bans_one_of(fingerprints, line)]


def _bans_one_of(fingerprints: set[str], line: str) -> bool:
    # The rest of a line takes longer to understand, and most are of other keys.
    if not fingerprints.intersection(line.split(maxsplit=1)[:1]):
        return False
    try:
        return ban_of(line) is not None
    except BrokenLineError:
        return False
