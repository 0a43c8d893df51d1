"""Where to, and as whom: what the words of a command line mean.

A word is a host, a kept room, an invite or a request to be asked for one. What an invite says,
which rooms are kept, and how to ask are not known here.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from chat.errors import UsageError
from chat.limits import DEFAULT_PORT, MAX_HOST_PART_CHARS, MAX_SERVERS
from chat.text import normalize_name

SCHEME = "chat://"
"""How an invite begins."""

ASK = "-"
"""Stands for an invite that is not on the command line."""

_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)


class Endpoint(NamedTuple):
    """Where a server listens: a host and a port."""

    host: str
    port: int

    @property
    def text(self) -> str:
        """Both as one word, as `with_port` has it."""
        return with_port(self.host, self.port)


class Place(NamedTuple):
    """Where to, as it was typed. One of these is given: a host with its port, or an invite as text.
    If neither is, the invite is to be asked for."""

    host: str = ""
    port: int = DEFAULT_PORT
    may_be_kept: bool = False
    """Whether the host may be the name of a kept room instead."""
    invite: str = ""
    others: tuple[Endpoint, ...] = ()
    """More servers of the same room, if the host is one of a list."""

    @property
    def servers(self) -> tuple[Endpoint, ...]:
        """The host with its port, and the others."""
        return (Endpoint(self.host, self.port), *self.others)

    def __repr__(self) -> str:
        # An invite is secret.
        return f"<place {self.host or 'of an invite'}>"


def is_invite(text: str) -> bool:
    """Whether this is meant as an invite, be it a damaged one."""
    return "".join(text.split())[: len(SCHEME)].lower() == SCHEME


def destination_of(
    words: Sequence[str], *, usual: str = "", why_none: str = ""
) -> tuple[Place, str]:
    """Where to and as whom: HOST PORT NAME, HOST NAME, NAME@HOST[:PORT], INVITE NAME, KEPT NAME, or
    - NAME. `usual` is the name if there is none; if it is empty, `why_none` may say why.

    Raises:
        UsageError: the words mean none of these; the sentence says why.
    """
    missing = "your name is missing"
    if why_none:
        missing += f"; that of your login will not do: {why_none}"
    match words:
        case []:
            raise UsageError("the host, the invite or the kept room is missing")
        case [word] if "@" in word and not is_invite(word):
            name, _, where = word.rpartition("@")
        case [where] if usual:
            name = usual
        case [_]:
            raise UsageError(missing)
        case [where, port] if port.isascii() and port.isdigit() and _is_bare(where):
            if not usual:
                raise UsageError(f"{port} is taken for a port, so {missing}")
            return place_of([where, port]), usual
        case [where, name]:
            pass
        case [host, port, name]:
            return place_of([host, port]), normalize_name(name)
        case _:
            raise UsageError(_too_many(words))
    return place_of([where]), normalize_name(name)


def words_of_destination(words: Sequence[str]) -> int:
    """How many of these words say where to and as whom, if others may stand behind them.

    Raises:
        UsageError: the first one means nothing.
    """
    match words:
        case [where, *_] if "@" in where and not is_invite(where):
            return 1
        case [where, port, *_] if port.isascii() and port.isdigit() and _is_bare(where):
            return 3
    return 2


def place_of(words: Sequence[str]) -> Place:
    """Where to: HOST [PORT], HOST:PORT, INVITE, KEPT, or -. An IPv6 address may have brackets, and
    needs them before :PORT. HOST may be several, with commas between them, each with a port of its
    own or not; PORT is that of those that have none.

    Raises:
        UsageError: the words mean none of these; the sentence says why.
    """
    match words:
        case [word] if is_invite(word):
            return Place(invite=word)
        case [word] if word == ASK:
            return Place()
        case [word] if "," in word:
            return _several(word, DEFAULT_PORT)
        case [word, port] if "," in word and not is_invite(word):
            return _several(word, port_of(port))
        case [word]:
            host, own = _host_and_port(word)
            may_be_kept = own is None and word == host and ":" not in word
            return Place(check_host(host), DEFAULT_PORT if own is None else own, may_be_kept)
        case [word, port] if is_invite(word) or word == ASK:
            if word != ASK and not port.isdecimal():
                raise UsageError(_too_many(words))
            raise UsageError("an invite says the port, so none stands behind it")
        case [word, port]:
            host, another = _host_and_port(word)
            if another is not None:
                raise UsageError("the port is given twice")
            return Place(check_host(host), port_of(port))
    raise UsageError(_too_many(words) if words else "the host is missing")


def _several(word: str, usual: int) -> Place:
    """The place of a list of servers; `usual` is the port of those that have none of their own."""
    found: dict[str, Endpoint] = {}
    for part in word.split(","):
        if not part or part != part.strip():
            raise UsageError("a list of servers has a host on each side of a comma, and no blanks")
        host, port = _host_and_port(part)
        one = Endpoint(check_host(host), usual if port is None else port)
        if one.text.lower() in found:
            raise UsageError(f"the server {one.text} is given twice")
        found[one.text.lower()] = one
    if len(found) > MAX_SERVERS:
        raise UsageError(f"at most {MAX_SERVERS} servers can be given, and these are {len(found)}")
    first, *others = found.values()
    return Place(*first, others=tuple(others))


def check_host(text: str) -> str:
    """The host, without the brackets of an IPv6 address; raises UsageError if it cannot be one."""
    found = _BRACKETED.fullmatch(text)
    host = found[1] if found and found[2] is None else text
    try:
        host.encode()
    except UnicodeEncodeError as exc:
        raise UsageError("a host is text, and this is not UTF-8") from exc
    if "@" in host:
        raise UsageError("a host has no @; NAME@HOST:PORT is one word")
    if "/" in host:
        raise UsageError("a host has no slash, and an invite begins with chat://")
    if any(len(part) > MAX_HOST_PART_CHARS for part in host.split(".")):
        # It may be the end of an invite, which is a secret: neither look it up nor repeat it.
        raise UsageError(
            f"between two dots a host has at most {MAX_HOST_PART_CHARS} characters, and an invite "
            "begins with chat://"
        )
    return host


def port_of(text: str, lowest: int = 1) -> int:
    """The port in a text of digits; raises UsageError if it is none, or below `lowest`."""
    if not re.fullmatch("[0-9]{1,5}", text) or not lowest <= int(text) <= 65_535:
        raise UsageError(f"a port is a number from {lowest} to 65535")
    return int(text)


def with_port(host: str, port: int) -> str:
    """Host and port as one word: `chat.example:9443`, `[2001:db8::1]:9443`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host_and_port(word: str) -> tuple[str, int | None]:
    """HOST, HOST:PORT, [HOST] or [HOST]:PORT; without brackets an IPv6 address has no port."""
    port: str | None
    if found := _BRACKETED.fullmatch(word):
        host, port = found.groups()
    elif word.count(":") == 1:
        host, _, port = word.partition(":")
    else:
        host, port = word, None
    if not host:
        raise UsageError("a host has at least one character")
    return host, None if port is None else port_of(port)


def _is_bare(word: str) -> bool:
    """Whether a port may stand behind this word: behind a host without one, and behind any list. If
    each host of a list has a port of its own, the one behind the list means nothing."""
    if word == ASK or is_invite(word) or "@" in word:
        return False
    if "," in word:
        return True
    return _host_and_port(word)[1] is None


def _too_many(words: Sequence[str]) -> str:
    if is_invite(words[0]):
        return "there are too many words; quotes hold an invite with blanks together"
    return f"there are too many words: {len(words)}"
