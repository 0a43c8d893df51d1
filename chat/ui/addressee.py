"""For whom a private message is: the member whose name a person types, or a program gives.

What is not clear is refused: nothing that is meant for one may go to another.
"""

import re
from collections.abc import Iterable, Sequence

from chat.client.events import Person
from chat.errors import UsageError
from chat.limits import MAX_NAME_CHARS
from chat.text import caseless_name, nearest_name

_MOST_CHARS = 4 * MAX_NAME_CHARS
"""Of what is typed so much may be a name, with its marks apart."""

_NEEDS = "a private message needs a name and a text"


def person_called(name: str, members: Iterable[Person]) -> Person:
    """The member of this name; upper and lower case are the same.

    Raises:
        UsageError: there is none, or there are two.
    """
    return _the_one(name, _called([name], members), members)


def split(argument: str, members: Sequence[Person]) -> tuple[Person, str]:
    """The member with whose name this begins, and the rest. A name may stand in quotation marks.

    Raises:
        UsageError: it begins with nobody's name, or with the names of two, such as "Ira" and
            "Ira B"; or nothing comes behind it.
    """
    if not argument:
        raise UsageError(_NEEDS)
    ends = [found.start() for found in re.finditer(r"\s|$", argument[: _MOST_CHARS + 1])]
    beginnings = {argument[:end]: end for end in ends if argument[:end]}
    quoted = {each[1:-1]: end for each, end in beginnings.items() if re.fullmatch('".+"', each)}
    names = beginnings | quoted
    found = _called(names, members)
    first = next(iter(quoted or beginnings), "")
    person = _the_one(first, found, members)
    key = caseless_name(person.name)
    text = argument[max(end for name, end in names.items() if caseless_name(name) == key) :].strip()
    if not text:
        raise UsageError(_NEEDS)
    return person, text


def is_lost(person: Person, members: Iterable[Person]) -> bool:
    """Whether this person, found earlier, is among these without a connection that stands."""
    who = person.name, person.fingerprint
    return any((one.name, one.fingerprint) == who and not one.connections for one in members)


def quoted(name: str) -> str:
    """The name as it may be typed before a text: in quotation marks if it has blanks."""
    return f'"{name}"' if re.search(r"\s", name) else name


def _called(names: Iterable[str], members: Iterable[Person]) -> list[Person]:
    """Who has one of these names, each person once."""
    keys = set(map(caseless_name, names))
    found = (one for one in members if caseless_name(one.name) in keys)
    return list({(one.name, one.fingerprint): one for one in found}.values())


def _the_one(name: str, found: Sequence[Person], members: Iterable[Person]) -> Person:
    if len(found) == 1:
        return found[0]
    if not found:
        nearest = nearest_name(name, (one.name for one in members))
        hint = f"perhaps {nearest} is meant" if nearest else ""
        raise UsageError(f"nobody here is called {name}", hint)
    first, second = sorted(one.name for one in found)[:2]
    if first == second:
        raise UsageError(f"two people here are called {first}, with different keys")
    raise UsageError(
        f"this may be for {first} or for {second}", f'put the name in quotation marks: "{first}"'
    )
