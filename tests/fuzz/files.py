"""Files that something else has written, or that a crash has cut off."""

import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from Cryptodome.IO import PEM

from chat.client.known import Change, Known
from chat.errors import IdentityError, InviteError, ServerKeyError, UsageError
from chat.files.history import History
from chat.files.keys import load_or_make_key
from chat.files.known_servers import KnownServers
from chat.files.members import MembersFile
from chat.files.rooms import KeptRooms
from chat.invite import Invite
from chat.limits import HISTORY_LINES
from chat.place import Endpoint
from chat.text import fingerprint_of
from tests.fuzz.choices import Choices, cheap
from tests.support.helpers import KEYS, key


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory()


def _written(name: str, content: bytes) -> Path:
    """A file in a folder that has nothing else."""
    folder = Path(_folder().name)
    for each in folder.iterdir():
        each.unlink()
    path = folder / name
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)
    return path


def keys(data: bytes) -> None:
    """A key file is read, or it is refused."""
    choices = Choices(data)
    private, public = (KEYS / "server.pem").read_bytes(), key("server").rsa.public_key()
    role, pem = choices.pick((("private", private), ("public", public.export_key())))
    der, marker, _ = PEM.decode(pem.decode())
    marker = choices.pick((marker, "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"))
    form = choices.number(4)
    if form < 2:
        changed = choices.rest() if form else choices.mutated(der)
        content = PEM.encode(changed, marker).encode()
    else:
        content = choices.rest() if form == 2 else choices.mutated(pem)
    folder = _written(f"server_{role}_key.pem", content).parent
    with suppress(IdentityError):
        load_or_make_key(folder, "server", lambda: key("server"))


_HOST = "chat.example"
_PIECES = (
    *("[chat.example]:9443", f" {key('server').public.openssh}"),
    *("\n", "*", "?", ",", "!", "#", " "),
    *(f" {key('other').public.openssh}", " ssh-rsa AAAA", "@revoked ", "@cert-authority ", "|1|"),
    *("c", "*a*", "*l*", "*e*", "ssh-ed25519 AAAA", "é", "\0"),
)


def known_servers(data: bytes) -> None:
    """Each line is understood, or refused by its number. Whatever stands there, a key that was
    chosen is known, and a server that was forgotten is not."""
    choices, content, server = Choices(data), b"", (_HOST, 9443, key("server").public)
    while choices:
        content += choices.pick(_PIECES).encode() if choices.number(8) else choices.take(3)
    known = KnownServers(_written("known_servers", content))
    with suppress(IdentityError, ServerKeyError):
        cheap(lambda: KnownServers(known._path, read_only=True).check(*server))
        known.choose(*server)
        known.check(*server)
        assert known.check(*server) is not None
        known.forget(*server[:2])
        assert known.check(*server) is None


_INVITE = Invite((Endpoint("chat.example", 9443),), bytes(32), bytes(range(32)))


def invites(data: bytes) -> None:
    """An invite is read, or refused; what is read has but one form."""
    choices = Choices(data)
    text = choices.mutated(_INVITE.encode().encode()) if choices.number(4) else choices.rest()
    with suppress(InviteError):
        invite = cheap(lambda: Invite.decode(text.decode(errors="surrogateescape")))
        assert Invite.decode(invite.encode()) == invite == _INVITE


def kept_rooms(data: bytes) -> None:
    """Whatever is in the file, a room is kept behind it, found, and removed, and all else stays."""
    choices, content = Choices(data), b""
    while choices:
        line = f"friends {_INVITE.encode()}".encode()
        content += choices.mutated(line) + choices.pick((b"\n", b"\n", b"", b"\r", b"\0"))
    content += b"\n"
    path = _written("rooms", content)
    rooms = KeptRooms(path)
    assert cheap(lambda: rooms.nearest("work")) in ("", *(room.name for room in rooms.all()))
    with suppress(IdentityError, UsageError):
        rooms.add("work", _INVITE)
        assert rooms.find("WORK") == _INVITE
        rooms.remove("work")
    assert path.read_bytes() == content


_ROOM = "0123456789abcdef"
_MEMBER = Known("Ira", bytes(32), 1_000, 2_000)
_PARTS = (
    *(_ROOM, " 1970-01-01T00:16:40Z", " 9999-12-31T23:59:59Z", fingerprint_of(bytes(32))),
    *(" trusted", " untrusted,ignored", " Ira", " ira", "\n", " ", "#", "open:", "é", "\0", "\r"),
)


def known_members(data: bytes) -> None:
    """Whatever stands there, a member that is kept is known, and the lines that were there stay,
    but for one about this member."""
    choices, content = Choices(data), b""
    while choices:
        content += choices.pick(_PARTS).encode() if choices.number(8) else choices.take(3)
    path = _written("known_members", content)
    members = MembersFile(path)
    before, complaint = cheap(lambda: members.load(_ROOM))
    members.keep(_ROOM, [Change(_MEMBER, decided=True)], patient=True)
    after, same = members.load(_ROOM)
    assert same == complaint
    assert any(one.place == _MEMBER.place and one.trusted for one in after)
    assert {one.place for one in after} == {one.place for one in before} | {_MEMBER.place}


def history(data: bytes) -> None:
    """Whatever is in the file, an entry is put behind it and comes back."""
    choices = Choices(data)
    entry = choices.take(choices.number(40)).decode(errors="ignore")
    content = choices.take(choices.number(300)) * choices.pick((1, 1, 500)) + choices.rest()
    log = History(_written("history", content))
    assert len(cheap(log.load)) <= HISTORY_LINES
    log.append(entry)
    last = log.load()[-1:]
    assert last == [entry] or not log.keeps(entry) or not content.endswith(b"\n")
