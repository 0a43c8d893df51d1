"""From a place on the command line to where we connect, and what we expect there.

A kept name is looked up, an invite that is not on the command line comes from CHAT_INVITE or from a
prompt without echo. Here, too, a server's key is judged. Who connects is not known here.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chat.errors import UsageError
from chat.files.keyfolder import ROOMS
from chat.place import Endpoint, Place

if TYPE_CHECKING:
    from chat.files.known_servers import KnownServers
    from chat.invite import Invite
    from chat.kex import PublicKey
    from chat.reactor import Reactor
    from chat.sockets import Way
    from chat.socks import Proxy

ENVIRONMENT = "CHAT_INVITE"
"""The variable that may hold an invite."""

_PROMPT = "Invite (it is not shown): "
_ASK_ON = "\nThe rest of it (Enter if that was all): "
_TERMINAL = "/dev/tty"
_NO_INVITE = "no invite was given"
_HOW_TO_GIVE_ONE = f"set {ENVIRONMENT} to it, or be at a terminal to be asked for it"


class Target(NamedTuple):
    """Where to connect: one or more servers with the same key and the same rooms, in the order in
    which they were given. The SHA-256 of their key and the room's key, if an invite says; and the
    alias by which they are known in place of their addresses, if there is one."""

    servers: tuple[Endpoint, ...]
    server_digest: bytes | None = None
    room_key: bytes | None = None
    alias: str = ""

    def known_as(self, at: Endpoint) -> tuple[str, int | None]:
        """Under what the server at this address stands in the list of known servers."""
        return (self.alias, None) if self.alias else at

    def __repr__(self) -> str:
        # A room's key is secret.
        return f"<target {','.join(server.text for server in self.servers)}>"


def target_of(place: Place, folder: Callable[[], Path], alias: str = "") -> Target:
    """What a place stands for; `folder` tells where rooms are kept. May ask the person. `alias`: as
    `Target` has it.

    Raises:
        UsageError: there is no invite, or it is damaged; or the name is much like a kept one.
        IdentityError: the kept rooms cannot be read.
    """
    if place.host:
        invite = kept_invite(place, folder()) if place.may_be_kept else None
        if invite is None:
            return Target(place.servers, alias=alias)
    else:
        from chat.invite import Invite

        invite = Invite.decode(place.invite or given_invite())
    return Target(invite.servers, invite.server_digest, invite.room_key, alias)


def kept_invite(place: Place, folder: Path) -> "Invite | None":
    """The invite of the kept room that a place names; None if it names a host.

    Raises:
        UsageError: the name is much like a kept one.
        IdentityError: the kept rooms cannot be read.
    """
    path = folder / ROOMS
    if not place.may_be_kept or not os.path.lexists(path):
        return None
    from chat.files.rooms import KeptRooms

    rooms = KeptRooms(path)
    invite = rooms.find(place.host)
    if invite is None and (nearest := rooms.nearest(place.host)):
        # A slip must not lead into the open room of whoever answers to that name.
        raise UsageError(
            f"no room is kept as {place.host}; is it {nearest}?",
            f"a host of this name is meant with its port: {place.host}:{place.port}",
        )
    return invite


def given_invite() -> str:
    """An invite from the environment, or asked for without echo.

    Raises:
        UsageError: there is neither an invite nor somebody to ask.
    """
    # The processes that we start need not have it.
    if text := os.environ.pop(ENVIRONMENT, ""):
        return text
    import termios

    try:
        text = _ask().decode()
    except (OSError, termios.error, UnicodeDecodeError) as exc:
        raise UsageError(_NO_INVITE, _HOW_TO_GIVE_ONE) from exc
    if not text:
        # The person was asked, and has pressed Ctrl-D.
        raise UsageError(_NO_INVITE)
    return text


def _ask() -> bytes:
    """What is typed or pasted at the terminal, without echo; empty at its end. As long as an invite
    is cut off, the next line is read, too, since mail breaks lines. (`getpass` reads one, and drops
    the others.)

    Raises:
        OSError, termios.error: there is no terminal, or its echo cannot be switched off.
    """
    import termios

    from chat.invite import is_cut_off

    with open(_TERMINAL, "r+b", buffering=0) as terminal:
        before = termios.tcgetattr(terminal)
        silent = [*before]
        silent[3] &= ~termios.ECHO
        try:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
            terminal.write(_PROMPT.encode())
            text = line = terminal.readline()
            while line.strip() and is_cut_off(text.decode(errors="replace")):
                terminal.write(_ASK_ON.encode())
                line = terminal.readline()
                text += line
        finally:
            # What has not been read may be secret, too, and the shell must not get it.
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
            terminal.write(b"\n")
    return text


def way_to(target: Target, reactor: "Reactor", proxy: "Proxy | None") -> "Way":
    """What connects there, through the proxy if there is one."""

    def way(server: Endpoint) -> "Way":
        if proxy is not None:
            from chat.proxied import ProxiedDialer

            return ProxiedDialer(reactor, *server, proxy)
        from chat.sockets import Dialer

        return Dialer(reactor, *server)

    if len(target.servers) == 1:
        return way(target.servers[0])
    from chat.several import SeveralServers

    return SeveralServers(reactor, target.servers, way)


def is_right_key(
    target: Target,
    fingerprint: str | None,
    key: "PublicKey",
    known_servers: "KnownServers",
    warn: Callable[[str], None],
    at: Endpoint,
) -> str | None:
    """Since when the server is known with this key, as `KnownServers.check` has it; None if it is
    new. What the invite says is compared first, then the `fingerprint` that the person named; only
    then the list of known servers is asked. `at`: which of the target's servers has shown the key.

    All servers of a target have one key. If neither the invite nor the person says which, it is the
    one that any of them is known with.

    Raises:
        ServerKeyError: the key is not the expected one.
        IdentityError: the known servers cannot be read or written.
    """
    from chat.files.known_servers import check_fingerprint, check_invited

    known_as = target.known_as(at)
    if target.server_digest is not None:
        check_invited(target.server_digest, key)
    if fingerprint:
        check_fingerprint(fingerprint, key)
        if known_servers.choose(*known_as, key):
            warn("The server had another key before; it has the one you named now")
            return None
    # Whoever made an invite chose its servers. What we know of one of them must not vouch for the
    # others, or an invite could make a strange server look like a known one.
    alone = target.server_digest is not None or fingerprint or target.alias
    beside = () if alone else [one for one in target.servers if one != known_as]
    return known_servers.check(*known_as, key, beside)
