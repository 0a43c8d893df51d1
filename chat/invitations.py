"""The programs about invites: make one, list and change what is kept, show a fingerprint.

What was asked for goes to standard output, one thing a line; everything else to standard error.
"""

import argparse
import io
import os
import sys
from contextlib import closing
from pathlib import Path
from shlex import quote

from chat.client.meeting import Meeting
from chat.errors import TransportError, UsageError
from chat.files.keyfolder import ROOMS
from chat.files.known_servers import KnownServers
from chat.files.rooms import KeptRooms, check_name
from chat.invite import Invite
from chat.kex import PublicKey, RoomKey
from chat.limits import FINGERPRINT_BYTES, READ_BYTES, ROOM_KEY_BYTES, ROOM_NAME_DIGITS
from chat.phrases import good, trouble
from chat.place import Endpoint, Place
from chat.program import PROGRAM, installing
from chat.reactor import Reactor
from chat.sockets import is_this_machine
from chat.startup import keys_folder, known_servers
from chat.stdio import read_whole
from chat.targets import (
    ENVIRONMENT,
    Target,
    given_invite,
    is_right_key,
    kept_invite,
    target_of,
    way_to,
)
from chat.text import fingerprint_of
from chat.ui.transcript import server_fingerprint
from chat.ui.wrap import broken

_WHAT_IT_IS = good("This invite is the key to a new room: whoever has it can come in, and read.")
_WHOM_FOR = good(
    "Give it only to the people who are to be there, where nobody else can read it. They join "
    f"with: {PROGRAM} client -, which asks for the invite."
)
_NEW_HERE = trouble(
    "This server was not known here. Ask whoever runs it whether this is its fingerprint, before "
    "you pass the invite on."
)
_FOR_THE_SERVER = good("The room's tag, which is a line for the server's --room-tags file:")
_NO_QR = trouble(f"A QR code needs the package segno: {installing('segno')}")
_WHITE_ON_BLACK, _AS_BEFORE = "\x1b[97;40m", "\x1b[0m"


def invite(options: argparse.Namespace) -> None:
    """Make a room that the server knows nothing of, and print its invite."""
    folder = keys_folder(options)
    servers = _new_room_at(options.place, folder).servers
    kept = KeptRooms(folder / ROOMS)
    # Whatever cannot be done is told before anything is dialled.
    Invite(servers, bytes(FINGERPRINT_BYTES), bytes(ROOM_KEY_BYTES)).encode()
    if options.keep is not None:
        kept.require_free(check_name(options.keep))
    key, since = _meet_all(Target(servers, alias=options.alias), options)
    made = Invite(servers, key.digest, os.urandom(ROOM_KEY_BYTES))
    if options.keep is not None:
        kept.add(options.keep, made)
    _tell_about(made, options, since)
    print(made.encode(), flush=True)
    if sys.stderr.isatty():
        _tell(_WHAT_IT_IS)
        _tell(_WHOM_FOR)
    if options.qr:
        _draw(made.encode())


def _tell_about(made: Invite, options: argparse.Namespace, since: str | None) -> None:
    """All that there is to know of a new invite; `since`: as `KnownServers.check` has it."""
    _tell(server_fingerprint(made.fingerprint, since))
    if since is None and not options.fingerprint:
        _tell(_NEW_HERE)
    for host in dict.fromkeys(host for host, _ in made.servers):
        if is_this_machine(host):
            _tell(trouble(f"{host} is this machine itself; other machines cannot use the invite."))
    if options.keep is not None:
        where = f" --keys {quote(str(options.keys))}" if options.keys else ""
        _tell_whole(good(f"Kept as {options.keep}: {PROGRAM} client {options.keep}{where}"))
    if options.tag:
        _tell(_FOR_THE_SERVER)
        _tell_whole(_tag_of(made).hex())


def rooms(options: argparse.Namespace) -> None:
    """List the kept rooms, keep one, or remove one."""
    path = keys_folder(options) / ROOMS
    kept = KeptRooms(path)
    if options.action == "add":
        kept.require_free(check_name(options.kept))
        added = Invite.decode(_read_invite())
        kept.add(options.kept, added)
        print(good(f"Kept as {options.kept}: {added.address}, {added.fingerprint}"))
    elif options.action == "remove":
        for room in kept.remove(options.kept):
            what = room.invite.address if room.invite else "a damaged line"
            print(good(f"Removed {room.name}: {what}"))
    else:
        _list(kept, path)


def fingerprint(options: argparse.Namespace) -> None:
    """Print the fingerprint that an invite holds, or that a server shows now."""
    target = target_of(options.place, lambda: keys_folder(options), options.alias)
    if target.server_digest is not None:
        print(fingerprint_of(target.server_digest))
        return
    key, since = _meet(target, options, None, known_servers(options, read_only=True))
    print(key.fingerprint, flush=True)
    known = f"The server is known with this key{f' since {since}' if since else ''}."
    _tell(good("The server is new here." if since is None else known))


PROGRAMS = {"invite": invite, "rooms": rooms, "fingerprint": fingerprint}


def _tag_of(invite: Invite) -> bytes:
    """By what the server knows the room; the key does not follow from it."""
    return RoomKey(invite.room_key).at(invite.server_digest).tag


def _new_room_at(place: Place, folder: Path) -> Place:
    if not place.host:
        raise UsageError("a new room needs the host of its server", f"{PROGRAM} invite HOST")
    if kept_invite(place, folder) is not None:
        raise UsageError(
            f"{place.host} is a room that is kept",
            "/invite shows its invite to who is in; for a new room name the host and its port",
        )
    return place


def _meet_all(target: Target, options: argparse.Namespace) -> tuple[PublicKey, str | None]:
    """The key that all servers have, as `_meet` returns it. The person is told which servers cannot
    be reached now.

    Raises:
        ChatError: what `_meet` raises of one of them, or of the first if none can be reached.
    """
    servers = known_servers(options)
    met: list[tuple[PublicKey, str | None]] = []
    errors: list[TransportError] = []
    for server in target.servers:
        try:
            met.append(_meet(target, options, options.fingerprint, servers, server))
        except TransportError as error:
            errors.append(error)
    if not met:
        raise errors[0]
    for missing in errors:
        _tell(trouble(f"The invite also names a server that could not be checked: {missing}."))
    return met[0]


def _meet(
    target: Target,
    options: argparse.Namespace,
    expected: str | None,
    servers: KnownServers,
    at: Endpoint | None = None,
) -> tuple[PublicKey, str | None]:
    """The server's key, and since when it is known, as `KnownServers.check` has it. `at`: which of
    the target's servers; None: the first that answers."""
    to = target if at is None else Target((at,))
    with closing(Reactor()) as reactor, closing(way_to(to, reactor, options.proxy)) as dialer:
        key = Meeting(reactor, dialer).run()

    def warn(text: str) -> None:
        _tell(trouble(text))

    return key, is_right_key(target, expected, key, servers, warn, dialer.server)


def _read_invite() -> str:
    """From the environment or a terminal, or all of what comes through a pipe."""
    if os.environ.get(ENVIRONMENT) or sys.stdin is None or sys.stdin.isatty():
        return given_invite()
    return read_whole(sys.stdin.fileno(), READ_BYTES).decode(errors="replace")


def _list(kept: KeptRooms, path: Path) -> None:
    found = kept.all()
    for room in found:
        if room.invite is None:
            _tell(trouble(f"Line {room.number} of {path} is damaged: {room.damage}."))
        else:
            tag = _tag_of(room.invite).hex()[:ROOM_NAME_DIGITS]
            print(room.name, room.invite.address, room.invite.fingerprint, tag)
    if not found:
        _tell(good(f"No room is kept; {PROGRAM} rooms add KEPT keeps one."))


def _draw(text: str) -> None:
    """As a QR code, bright on dark or the other way round: so that a telephone can read it."""
    try:
        import segno
    except ImportError:
        _tell(_NO_QR)
        return
    drawn = io.StringIO()
    segno.make(text, micro=False).terminal(out=drawn, compact=True)
    for row in drawn.getvalue().splitlines():
        _tell_whole(f"{_WHITE_ON_BLACK}{row}{_AS_BEFORE}" if sys.stderr.isatty() else row)


def _tell(line: str) -> None:
    """Tell a sentence. A terminal would break it within a word."""
    columns = os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
    for row in broken(line, columns) if columns else [line]:
        _tell_whole(row)


def _tell_whole(line: str) -> None:
    """Tell what is to be copied, or is drawn."""
    # Before what standard output is given, on a terminal as well.
    print(line, file=sys.stderr, flush=True)
