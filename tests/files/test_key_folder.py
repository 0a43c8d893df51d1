"""Every list in the folder of the keys, in whatever state it is found: what cannot be trusted is
neither used nor changed, and whatever happens no line of it is lost.

What a line means, and which lines are damaged, is tested beside each kind of list.
"""

import os
import resource
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chat.client.known import Change, Known
from chat.errors import IdentityError
from chat.files.keyfolder import BANS, KNOWN_MEMBERS, KNOWN_SERVERS, NAMES, ROOMS
from chat.files.known_servers import KnownServers
from chat.files.lists import ListFile
from chat.files.members import MembersFile
from chat.files.rooms import KeptRooms
from chat.invite import Invite
from chat.limits import KNOWN_MEMBERS_BYTES, KNOWN_SERVERS_BYTES, LIST_BYTES, ROOMS_BYTES
from chat.place import Endpoint
from chat.server.access import Access
from chat.server.lists import Failed, Trouble
from tests.support.helpers import key, lying, mode_of, side_by_side

NOW = 1_793_800_000
ROOM = "0123456789abcdef"
INVITE = Invite((Endpoint("chat.example", 9443),), bytes(32), bytes(range(32)))
IRA = key("ira").public


def access(path: Path, change: Callable[[Access], object]) -> None:
    """Let a server use its list. It goes on where the list cannot be used, and tells so."""
    troubles: list[Trouble] = []
    file = ListFile(path, f"list of {path.name}")
    access = Access(troubles.append, keep_days=1, **{path.name: file})
    change(access)
    access.save_orders()
    for trouble in troubles:
        if isinstance(trouble, Failed):
            raise IdentityError(trouble.text)


def use_name(access: Access) -> None:
    access.used("Ira", IRA.digest, NOW)
    access.save()


@dataclass(frozen=True)
class Kind:
    """A list: how large it may be, what reads it and what adds a line, with these words in it."""

    name: str
    most: int
    read: Callable[[Path], object]
    add: Callable[[Path], object]
    added: str
    private: bool = False

    def __str__(self) -> str:
        return self.name


KINDS = [
    Kind(
        ROOMS,
        ROOMS_BYTES,
        lambda path: KeptRooms(path).all(),
        lambda path: KeptRooms(path).add("friends", INVITE),
        f"friends {INVITE.encode()}",
        private=True,
    ),
    Kind(
        KNOWN_SERVERS,
        KNOWN_SERVERS_BYTES,
        lambda path: KnownServers(path, read_only=True).check("example", 9443, IRA),
        lambda path: KnownServers(path).check("example", 9443, IRA),
        f"[example]:9443 {IRA.openssh}",
    ),
    Kind(
        KNOWN_MEMBERS,
        KNOWN_MEMBERS_BYTES,
        lambda path: MembersFile(path).load(ROOM),
        lambda path: MembersFile(path).keep(
            ROOM, [Change(Known("Ira", IRA.digest, NOW, NOW), decided=False)], patient=True
        ),
        f"{IRA.fingerprint} trusted Ira",
    ),
    Kind(
        BANS,
        LIST_BYTES,
        lambda path: access(path, Access.bans),
        lambda path: access(path, lambda one: one.ban(IRA.fingerprint, "Ira", "spams", NOW)),
        IRA.fingerprint,
    ),
    Kind(
        NAMES,
        LIST_BYTES,
        lambda path: access(path, lambda one: one.use_of("Ira")),
        lambda path: access(path, use_name),
        IRA.fingerprint,
    ),
]


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found = request.param
    assert isinstance(found, Kind)
    return found


@pytest.fixture
def path(tmp_path: Path, kind: Kind) -> Path:
    """Where the list is, in a folder that is ours alone."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    return folder / kind.name


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


# -- what cannot be trusted


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        # Its own path may be too long for a socket.
        os.chdir(path.parent)
        listener.bind(path.name)


STATES: dict[str, tuple[Callable[[Path, int], object], str]] = {
    "huge": (lambda path, most: write(path, bytes(most + 1)), "larger than"),
    "folder": (lambda path, _: path.mkdir(), "is a directory"),
    "FIFO": (lambda path, _: os.mkfifo(path), "a FIFO, not a file"),
    "socket": (lambda path, _: make_socket(path), "a socket, not a file"),
    "endless": (lambda path, _: path.symlink_to("/dev/zero"), "a device, not a file"),
    "link to itself": (lambda path, _: path.symlink_to(path.name), "symbolic links"),
    "others can change it": (lambda path, _: write(path, b"# mine\n", 0o666), "others can"),
    "a group can change it": (lambda path, _: write(path, b"# mine\n", 0o620), "others can"),
}


def content_of(path: Path) -> object:
    """What is there, without reading what never ends."""
    status = os.lstat(path)
    return status.st_mode, status.st_size, status.st_ino, os.listdir(path.parent)


@pytest.mark.parametrize("state", STATES)
def test_what_cannot_be_trusted_is_neither_read_nor_changed(
    kind: Kind, path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    make, said = STATES[state]
    make(path, kind.most)
    before = content_of(path)
    for action in (kind.read, kind.add):
        with pytest.raises(IdentityError, match=said) as caught:
            action(path)
        assert str(path) in str(caught.value)
    assert content_of(path) == before


@pytest.mark.parametrize("whose", ["file", "folder"])
def test_what_belongs_to_another_user_is_neither_read_nor_changed(
    kind: Kind, path: Path, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, b"# mine\n")
    name = "fstat" if whose == "file" else "stat"
    with monkeypatch.context() as patch:
        patch.setattr(os, name, lying(getattr(os, name), user=1000))
        for action in (kind.read, kind.add):
            with pytest.raises(IdentityError, match="belongs to another user"):
                action(path)
    assert path.read_bytes() == b"# mine\n"


def test_folder_that_others_can_change_is_refused(kind: Kind, path: Path) -> None:
    write(path, b"# mine\n")
    path.parent.chmod(0o777)
    for action in (kind.read, kind.add):
        with pytest.raises(IdentityError, match="others can change the files in"):
            action(path)
    assert path.read_bytes() == b"# mine\n"


def test_list_that_others_can_read_is_used_unless_it_is_secret(kind: Kind, path: Path) -> None:
    write(path, b"# mine\n", 0o644)
    if kind.private:
        for action in (kind.read, kind.add):
            with pytest.raises(IdentityError, match="others can read"):
                action(path)
    else:
        kind.read(path)
        kind.add(path)
        assert kind.added in path.read_text()
    assert path.read_bytes().startswith(b"# mine\n")
    assert mode_of(path) == 0o644


# -- what is lost


def test_list_that_is_not_there_is_made_for_us_alone(kind: Kind, path: Path) -> None:
    kind.read(path)
    assert not path.exists()
    kind.add(path)
    assert (mode_of(path), path.read_text().count(kind.added)) == (0o600, 1)
    assert os.listdir(path.parent) == [kind.name]


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe\n",
        b"\0\0\n",
        b"half a line",
        b"x" * 100_000 + b"\n",
        b"\n\r\n \t\n",
        b"\x1b[2J\n",
    ],
    ids=["no text", "zeros", "half", "long", "blank", "escape"],
)
def test_damaged_lines_stay_where_they_are_beside_a_new_one(
    kind: Kind, path: Path, damage: bytes
) -> None:
    write(path, damage)
    kind.read(path)
    kind.add(path)
    content = path.read_bytes()
    assert content.startswith(damage)
    assert content[len(damage) :].lstrip(b"\n").count(b"\n") == 1
    assert kind.added in content[len(damage) :].decode()


def test_list_without_place_for_another_line_stays_as_it_is(kind: Kind, path: Path) -> None:
    content = b"#" * (kind.most - 1) + b"\n"
    write(path, content)
    kind.read(path)
    with pytest.raises(IdentityError, match="larger than"):
        kind.add(path)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [kind.name]


@pytest.mark.parametrize("room", [0, 10, 30])
def test_list_stays_as_it_is_on_a_full_disk(kind: Kind, path: Path, room: int) -> None:
    """The limit of a file's size cuts a write off as a full disk does, for every user."""
    content = b"# mine, and a comment\n"
    write(path, content)

    def change() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(IdentityError, match="file too large"):
            kind.add(path)

    side_by_side(change)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [kind.name]
