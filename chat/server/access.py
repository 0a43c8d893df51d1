"""Who may come in, and whose a name is: the list of keys, the bans, and the names that are kept.

All three are the whole server's, and not a room's. Each is a list of lines that people may edit
while the server runs. It is read again when it has changed, and what this module cannot read in it
is passed over, told once, and left as it is. Where the lines are kept is not known here: a
`LineFile` reads and changes them. The time is in seconds since 1970, and is told to this module.

When a list cannot be read or changed, the server goes on: what was read last holds, and so does
what the operator has said since.
"""

import hashlib
import re
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

from chat.errors import ChatError, Reason, UsageError
from chat.kex import PublicKey
from chat.limits import MAX_KEPT_NAMES, MAX_KEPT_NAMES_OF_KEY, MAX_TURNED_AWAY
from chat.localtime import seconds_of, stamp_of
from chat.text import fingerprint_of, fold_name, usable_name

SECONDS_PER_DAY = 86_400

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


# -- what there is to say --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotOnList:
    """The key is not on the list of those that may come in."""

    REASON: ClassVar[Reason] = Reason.NOT_ALLOWED
    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Ban:
    """A key that may not come in: since when (0: not known), the name that it had, and why."""

    REASON: ClassVar[Reason] = Reason.NOT_ALLOWED
    fingerprint: str
    since: int = 0
    name: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class KeptName:
    """The name is another key's, which used it last at `used`, and keeps it until `until`."""

    REASON: ClassVar[Reason] = Reason.NAME_TAKEN
    name: str
    used: int
    until: float


Refusal = NotOnList | Ban | KeptName


@dataclass(frozen=True, slots=True)
class Unreadable:
    """These lines of a list are passed over. `limited`: they have options that are not obeyed."""

    name: str
    lines: tuple[int, ...]
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """A list could not be read or changed."""

    text: str


Trouble = Unreadable | Failed
Complain = Callable[[Trouble], None]

Entry = TypeVar("Entry")


class BrokenLineError(ValueError):
    """A line of a list cannot be understood."""


class LimitedLineError(ValueError):
    """A line of a list lets somebody in under conditions that are not known here."""


class _List(Generic[Entry]):
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

    def edit(self, change: Change, *, asked: bool = True) -> bool:
        """Change the lines. Returns whether that was possible. Who has `asked` is told each time
        that it was not."""
        try:
            self.file.edit(change)
        except ChatError as error:
            if asked:
                self._told.discard(Failed(str(error)))
            self._tell(Failed(str(error)))
            return False
        self._told = {trouble for trouble in self._told if isinstance(trouble, Unreadable)}
        return True

    def _tell(self, trouble: Trouble) -> None:
        if trouble not in self._told:
            self._told.add(trouble)
            self._complain(trouble)


# -- authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT) ---------------------------------------

_KEY_KINDS = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+")
_OPTIONS = re.compile(r'((?:"(?:\\"|[^"])*"|[^\s"])+)\s+')
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
    if _LIMITS.search(re.sub(r'"(?:\\"|[^"])*"', "", options)):
        raise LimitedLineError
    return hashlib.sha256(blob).digest()


# -- bans and names: lines of our own -------------------------------------------------------------

_FINGERPRINT = r"(SHA256:[A-Za-z0-9+/]{43})"
_STAMP = r"([0-9]{4}-[0-9-]{5}T[0-9:]{8}Z)"
_BAN = re.compile(rf"{_FINGERPRINT}(?:\s+{_STAMP})?(?:\s+([^:]*?)\s*(?::\s*(.*))?)?")
_NAME = re.compile(rf"{_FINGERPRINT} {_STAMP} (.+)")


def is_fingerprint(text: str) -> bool:
    return re.fullmatch(_FINGERPRINT, text) is not None


def ban_of(line: str) -> Ban | None:
    """The ban in a line, `SHA256:… time name: reason`, where only the first is needed; None for a
    comment. Raises BrokenLineError."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    found = _BAN.fullmatch(line)
    if not found:
        raise BrokenLineError
    return Ban(found[1], _seconds_of(found[2]), found[3] or "", found[4] or "")


def _seconds_of(stamp: str | None) -> int:
    try:
        return seconds_of(stamp) if stamp else 0
    except ValueError as exc:
        raise BrokenLineError from exc


def _line_of(ban: Ban) -> str:
    why = f": {ban.why}" if ban.why else ""
    return f"{ban.fingerprint} {stamp_of(ban.since)} {ban.name}{why}".rstrip()


@dataclass(slots=True)
class Use:
    """Which key used a name last, and when, in seconds since 1970."""

    name: str
    fingerprint: str
    used: int


def _use_of(line: str) -> Use | None:
    if not line.strip() or line.startswith("#"):
        return None
    found = _NAME.fullmatch(line)
    if not found:
        raise BrokenLineError
    return Use(found[3], found[1], _seconds_of(found[2]))


def _line_of_use(use: Use) -> str:
    return f"{use.fingerprint} {stamp_of(use.used)} {use.name}"


class _Names:
    """Whose names are: the key that used each last. Invariant: `_uses` is in the order of use, the
    oldest first, and `_of` has the same entries by key."""

    def __init__(self) -> None:
        self._uses: OrderedDict[str, Use] = OrderedDict()
        self._of: dict[str, OrderedDict[str, None]] = {}

    def __iter__(self) -> Iterator[Use]:
        return iter(self._uses.values())

    def get(self, key: str) -> Use | None:
        return self._uses.get(key)

    def put(self, use: Use) -> None:
        """This is the last use of its name. If there are too many, the oldest is forgotten: first
        of this key, so that no key can crowd out the names of others."""
        key = fold_name(use.name)
        self.drop(key)
        self._uses[key] = use
        own = self._of.setdefault(use.fingerprint, OrderedDict())
        own[key] = None
        if len(own) > MAX_KEPT_NAMES_OF_KEY:
            self.drop(next(iter(own)))
        if len(self._uses) > MAX_KEPT_NAMES:
            self.drop(next(iter(self._uses)))

    def drop(self, key: str) -> bool:
        """Forget a name. Returns whether there was one."""
        use = self._uses.pop(key, None)
        if use is None:
            return False
        own = self._of[use.fingerprint]
        del own[key]
        if not own:
            del self._of[use.fingerprint]
        return True


# -- who may come in -------------------------------------------------------------------------------


class Access:
    """Decides. `admit` before somebody comes in, `used` when a name is used."""

    def __init__(
        self,
        complain: Complain = lambda _: None,
        *,
        keys: LineFile | None = None,
        bans: LineFile | None = None,
        names: LineFile | None = None,
        keep_days: float = 0,
    ) -> None:
        """`keys`: only these may come in; None: everybody. `keep_days`: for how long a key keeps
        the name that it used last; 0: for no time."""
        self._keys = None if keys is None else _List(keys, authorized_key, complain)
        self._bans = _List(bans or InMemory(), ban_of, complain)
        self._names = _List(names or InMemory(), _use_of, complain)
        self._keep_seconds = keep_days * SECONDS_PER_DAY
        self._allowed: set[bytes] = set()
        self._banned: dict[str, Ban] = {}
        self._unsaved_bans: dict[str, Ban] = {}
        self._uses = _Names()
        self._unsaved: dict[str, Use | None] = {}
        self._turned_away: OrderedDict[tuple[str, str], tuple[str, PublicKey]] = OrderedDict()
        self._refresh()

    # -- clients

    def admit(self, name: str, key: PublicKey, now: float) -> Refusal | None:
        """Why a client with this name and key, which is proved, may not come in; None if it may."""
        self._refresh()
        fingerprint = key.fingerprint
        ban = self._banned.get(fingerprint)
        if ban is not None:
            return ban
        if self._keys is not None and key.digest not in self._allowed:
            self._turn_away(name, key)
            return NotOnList(name, fingerprint)
        use = self._uses.get(fold_name(name))
        if use is None or use.fingerprint == fingerprint:
            return None
        until = min(use.used, now) + self._keep_seconds
        return KeptName(use.name, use.used, until) if now < until else None

    def used(self, name: str, digest: bytes, now: float) -> bool:
        """A key comes in with this name, or leaves. Returns whether this is the first that is to be
        saved: `save` should be called soon."""
        use = Use(name, fingerprint_of(digest), int(now))
        self._uses.put(use)
        if not self._keep_seconds:
            return False
        first, key = not self._unsaved, fold_name(name)
        self._unsaved.pop(key, None)
        self._unsaved[key] = use
        if len(self._unsaved) > MAX_KEPT_NAMES:
            # They cannot be saved for very long. The oldest would be forgotten anyway.
            del self._unsaved[next(iter(self._unsaved))]
        return first

    def save(self) -> bool:
        """Write the names that were used or forgotten. Returns whether that was possible."""
        if not self._unsaved:
            return True
        if not self._names.edit(self._merged, asked=False):
            return False
        self._unsaved.clear()
        return True

    def _merged(self, lines: list[str]) -> list[str]:
        """The lines of the names, with what has happened since. What is no entry stays."""
        names, others = _Names(), []
        for line in lines:
            try:
                use = _use_of(line)
            except BrokenLineError:
                use = None
            if use is None:
                others.append(line)
            else:
                names.put(use)
        for key, change in self._unsaved.items():
            names.drop(key)
            if change is not None:
                names.put(change)
        return [*others, *map(_line_of_use, names)]

    def _turn_away(self, name: str, key: PublicKey) -> None:
        """Remember who was not on the list, for `allow`, which writes the name into a line."""
        try:
            name = usable_name(name)
        except UsageError:
            return
        which = (fold_name(name), key.fingerprint)
        self._turned_away[which] = (name, key)
        self._turned_away.move_to_end(which)
        if len(self._turned_away) > MAX_TURNED_AWAY:
            self._turned_away.popitem(last=False)

    def _refresh(self) -> None:
        """Read again what has changed."""
        if self._keys is not None and (keys := self._keys.read()) is not None:
            self._allowed = set(keys)
        if (bans := self._bans.read()) is not None:
            self._banned = {ban.fingerprint: ban for ban in bans} | self._unsaved_bans
        if (uses := self._names.read()) is not None:
            self._uses = _Names()
            for use in uses:
                self._uses.put(use)
            for key, change in self._unsaved.items():
                self._uses.drop(key)
                if change is not None:
                    self._uses.put(change)

    # -- the operator

    def use_of(self, name: str) -> Use | None:
        """Who used this name last, if that is known."""
        return self._uses.get(fold_name(name))

    def ban(self, fingerprint: str, name: str, why: str, now: float) -> Ban:
        """Let this key in no more. If that cannot be written, it holds until the server ends."""
        self._refresh()
        ban = Ban(fingerprint, int(now), name, " ".join(why.split()))
        self._banned[fingerprint] = ban
        if not self._bans.edit(lambda lines: [*_without(lines, {fingerprint}), _line_of(ban)]):
            self._unsaved_bans[fingerprint] = ban
        return ban

    def unban(self, which: str) -> list[Ban]:
        """Lift the bans of a name, or of a fingerprint. Returns them; those that cannot be taken
        from the list stay, and are not among them."""
        self._refresh()
        found = [
            ban
            for ban in self._banned.values()
            if which == ban.fingerprint or (ban.name and fold_name(which) == fold_name(ban.name))
        ]
        gone = {ban.fingerprint for ban in found}
        if gone and not self._bans.edit(lambda lines: _without(lines, gone)):
            return []
        for fingerprint in gone:
            self._unsaved_bans.pop(fingerprint, None)
            del self._banned[fingerprint]
        return found

    def bans(self) -> list[Ban]:
        """All bans."""
        self._refresh()
        return list(self._banned.values())

    def allow(self, which: str) -> list[str] | None:
        """Put the key that was turned away under this name, or has this fingerprint, on the list.
        Returns the fingerprints of the keys that this can mean: if it is one, that is on the list
        now, and if there are several, none is. None: the list could not be changed."""
        found = {
            fingerprint: turned_away
            for (name, fingerprint), turned_away in self._turned_away.items()
            if which == fingerprint or fold_name(which) == name
        }
        if self._keys is None or len(found) != 1:
            return list(found)
        ((fingerprint, (name, key)),) = found.items()
        if not self._keys.edit(lambda lines: [*lines, f"{key.openssh} {name}"]):
            return None
        self._allowed.add(key.digest)
        for one in [one for one in self._turned_away if one[1] == fingerprint]:
            del self._turned_away[one]
        return [fingerprint]

    @property
    def has_list(self) -> bool:
        """Whether only those on a list may come in."""
        return self._keys is not None

    def forget(self, name: str) -> bool:
        """Free a name. Returns whether it was kept."""
        self._refresh()
        key = fold_name(name)
        if not self._uses.drop(key):
            return False
        self._unsaved[key] = None
        self.save()
        return True


def _without(lines: Iterable[str], fingerprints: set[str]) -> list[str]:
    """The lines without the bans of these keys."""
    kept = []
    for line in lines:
        try:
            ban = ban_of(line)
        except BrokenLineError:
            ban = None
        if ban is None or ban.fingerprint not in fingerprints:
            kept.append(line)
    return kept
