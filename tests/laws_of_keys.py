"""The laws about whose key is whose, and about who may come in: 15 to 18 of `laws`.

What a run has to know of names and keys is worked out here from what it was told, in a few lines
and another way than in the program.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chat.client.events import KeyChanged, NameChanged
from chat.client.known import Known
from chat.roomevents import Joined
from chat.text import fingerprint_of
from tests.support.simulated import ViolationError
from tests.support.simulated_record import Decided, Doors, Life, Loaded

if TYPE_CHECKING:
    from tests.laws import Told

Person = tuple[str, bytes]
"""A name and a fingerprint."""

Change = KeyChanged | NameChanged

JOIN_SECONDS = 60.0
"""By then whoever was let in has joined."""


def require(holds: bool, text: str) -> None:
    if not holds:
        raise ViolationError(text)


class Acquaintance:
    """Whom a run knows, and whom it ignores."""

    def __init__(self, me: Person) -> None:
        self._me = me
        self._keys: dict[str, set[bytes]] = {}
        """Which keys are a name's own: one, unless two runs met another one each."""
        self._here: dict[str, bytes] = {}
        self._heard: set[Person] = set()
        self.ignored: set[Person] = set()
        self.ever_ignored: set[bytes] = set()
        self.met: set[Person] = set()

    def load(self, known: Iterable[Known]) -> None:
        """This was known from earlier runs."""
        for one in known:
            person = one.name, one.fingerprint
            self.met.add(person)
            if one.trusted:
                self._keys.setdefault(one.name, set()).add(one.fingerprint)
            if one.ignored:
                self._ignore(person)

    def enter(self, members: Iterable[tuple[Person, bool]]) -> Iterator[Change]:
        """These are in, and have proved what is to be proved or not; what is said of their keys."""
        self._here.clear()
        self._heard.clear()
        for person, proved in members:
            yield from self.meet(person, proved=proved)

    def meet(self, person: Person, *, proved: bool = True) -> Iterator[Change]:
        """Somebody is in. What is said of the key."""
        if person == self._me:
            return
        name, key = person
        own = self._keys.get(name, set())
        if proved and person not in self.met:
            for before in (each for each, known in self.met if known == key):
                yield NameChanged(name, before, key, 0)
        if own and key not in own:
            yield KeyChanged(name, next(iter(own)), key, 0)
        if proved:
            self.met.add(person)
            self._here[name] = key
            if not own:
                self._keys[name] = {key}

    def hear(self, person: Person, *, proved: bool = True) -> Iterator[Change]:
        """Somebody says something. Of who comes and goes untold this is said at the first word."""
        if self._here.get(person[0]) != person[1] and person not in self._heard:
            self._heard.add(person)
            yield from self.meet(person, proved=proved)
            self._here.pop(person[0], None)

    def leave(self, name: str) -> None:
        """Somebody is told to have gone."""
        self._here.pop(name, None)

    def ignores(self, person: Person) -> bool:
        """Whether nothing of this key is to be shown, whatever its name is."""
        return any(key == person[1] for _, key in self.ignored)

    def trusts(self, person: Person) -> bool:
        """Whether this key is the name's own."""
        return person[1] in self._keys.get(person[0], ())

    def decide(self, decided: Decided) -> None:
        """The person has decided something."""
        name, key = decided.person
        own = self._keys.get(name, set())
        match decided.what:
            case "trust":
                changed = bool(own) and key not in own
                require(decided.possible == changed, f"{name} can be trusted: {not changed}")
                if changed:
                    self._keys[name] = {key}
                    self.met.add(decided.person)
            case "ignore":
                self._ignore(decided.person)
                self.met.add(decided.person)
            case "unignore":
                self.ignored = {one for one in self.ignored if one[0] != name}

    def _ignore(self, person: Person) -> None:
        self.ignored.add(person)
        self.ever_ignored.add(person[1])


@dataclass(frozen=True, slots=True)
class Use:
    """A name was used by a key, in the open room of a server."""

    server: int
    key: bytes
    at: float


def check_doors(lives: Sequence[Life], doors: Doors) -> None:
    """Nobody joins who may not."""
    uses: dict[str, Use] = {}
    for life in lives:
        for entry in life.entries:
            for each in entry.event.entries if isinstance(entry.event, Joined) else ():
                fingerprint, name, at = fingerprint_of(each.fingerprint), each.name, entry.at
                banned = any(ban.holds(fingerprint, at) for ban in doors.bans)
                require(not banned, f"{name} joins though it is banned")
                require(doors.is_listed(fingerprint, at), f"{name} joins, and is not on the list")
                if doors.names and not life.tag:
                    use = Use(life.server, each.fingerprint, at)
                    other = uses.get(name, use)
                    kept = other.key != use.key and _is_kept(name, other, use, doors)
                    require(not kept, f"{name} joins with a key, and another one keeps the name")
                    uses[name] = use


def _is_kept(name: str, before: Use, use: Use, doors: Doors) -> bool:
    """Whether the key that used a name before still keeps it from another one."""
    saved = any(server == before.server and at >= before.at for server, at in doors.saves)
    freed = any(each == name and at >= before.at for at, each in doors.forgotten)
    fingerprint = fingerprint_of(before.key)
    # Whoever joins was let in some time before the log says so.
    ended = [ban.until for ban in doors.bans if ban.fingerprint == fingerprint]
    banned = any(until >= use.at - JOIN_SECONDS for until in ended)
    return (saved or before.server == use.server) and not freed and not banned


def check_memory(runs: "Sequence[Told]") -> None:
    """What the runs of a person have learned is known to those that begin after their end; what was
    decided, too, where no two of them can have decided otherwise."""
    for run in runs:
        for item in run.story.stream:
            if isinstance(item, Loaded) and run.keeps:
                others = [one for one in runs if one is not run and _is_same(one, run)]
                _check_loaded(run, item, [one for one in others if one.began < item.at])


def _is_same(one: "Told", other: "Told") -> bool:
    """Whether these keep what they know in the same list, for the same room."""
    of_one = one.name, one.fingerprint, one.tag
    return one.keeps and of_one == (other.name, other.fingerprint, other.tag)


def _check_loaded(run: "Told", loaded: Loaded, before: "list[Told]") -> None:
    known = {(one.name, one.fingerprint): one for one in loaded.known}
    for earlier in before:
        if earlier.ended_at < loaded.at:
            forgotten = sorted(earlier.acquaintance.met - known.keys())
            require(not forgotten, f"{run.title} has forgotten {forgotten[:1]}")
    *others, last = sorted(before, key=lambda one: one.began) or [run]
    if last.ended_at < loaded.at and all(one.ended_at < last.began for one in others):
        acquaintance = last.acquaintance
        for person in acquaintance.met:
            decided = person in acquaintance.ignored, acquaintance.trusts(person)
            kept = known[person].ignored, known[person].trusted
            require(kept == decided, f"{run.title} has forgotten what was decided on {person[0]}")
