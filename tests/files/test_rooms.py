"""Kept rooms: found by name, private, and never lost, whatever stands in the file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from chat.errors import ChatError, IdentityError, UsageError
from chat.files import storage as files
from chat.files.keyfolder import ROOMS
from chat.files.rooms import KeptRooms, check_name
from chat.invite import Invite
from chat.limits import MAX_NAME_CHARS
from chat.place import Endpoint
from tests.support.helpers import mode_of, side_by_side

FRIENDS = Invite((Endpoint("chat.example", 9443),), bytes(32), bytes(range(32)))
WORK = Invite((Endpoint("2001:db8::1", 22),), bytes(32), bytes(range(32, 64)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of kept rooms."""
    return tmp_path / ROOMS


def write(path: Path, content: str | bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def entry(name: str, invite: Invite = FRIENDS) -> str:
    return f"{name} {invite.encode()}\n"


def add(path: Path, name: str, invite: Invite = FRIENDS) -> bool:
    return KeptRooms(path).add(name, invite)


def refused(change: Callable[[], object], kind: type[ChatError] = IdentityError) -> ChatError:
    with pytest.raises(kind) as caught:
        change()
    assert FRIENDS.encode()[40:80] not in caught.value.advice
    return caught.value


def test_room_is_kept_privately_and_found_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "new" / ROOMS
    assert add(path, "Friends")
    assert path.read_text() == entry("Friends")
    assert (mode_of(path), mode_of(path.parent)) == (0o600, 0o700)
    assert add(path, "work", WORK)
    rooms = KeptRooms(path)
    assert rooms.find("fRIENDS") == FRIENDS
    assert rooms.find("work") == WORK
    assert rooms.find("Friend") is None
    assert [(room.number, room.name, room.invite) for room in rooms.all()] == [
        (1, "Friends", FRIENDS),
        (2, "work", WORK),
    ]
    assert FRIENDS.encode()[40:80] not in repr(rooms.all())


def test_where_nothing_is_kept_nothing_is_found_or_made(tmp_path: Path) -> None:
    rooms = KeptRooms(tmp_path / "none" / ROOMS)
    assert rooms.all() == []
    assert rooms.find("friends") is None
    assert "no room is kept as friends" in str(refused(partial(rooms.remove, "friends")))
    assert list(tmp_path.iterdir()) == []


def test_name_is_that_of_one_room_until_that_is_removed(path: Path) -> None:
    assert add(path, "friends")
    assert not add(path, "FRIENDS")
    rooms, before = KeptRooms(path), path.read_text()
    for change in (partial(rooms.add, invite=WORK), rooms.require_free):
        error = refused(partial(change, "friends"), UsageError)
        assert str(error) == "a room is kept as friends already"
    assert path.read_text() == before
    assert [room.invite for room in rooms.remove("Friends")] == [FRIENDS]
    rooms.require_free("friends")
    assert add(path, "friends", WORK)
    assert path.read_text() == entry("friends", WORK)


@pytest.mark.parametrize("name", ["a", "my-room_1.2", "друзья", "9", "..", "x" * MAX_NAME_CHARS])
def test_name_is_made_of_letters_digits_and_what_joins_them(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "-", "-a", "a b", "a@b", "a:1", "a/b", "[::1]", "a\n", "a\x1b", "\udcff", "#a"),
        *("x" * (MAX_NAME_CHARS + 1), FRIENDS.encode()),
    ],
)
def test_name_that_could_be_taken_for_something_else_is_refused(path: Path, name: str) -> None:
    refused(partial(add, path, name), UsageError)
    assert not path.exists()


# -- what is in the file


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (entry("friends")[:-2], "cut off"),
        (entry("friends")[:20], "cut off"),
        ("friends", "this is no invite"),
        ("friends SHA256:x", "this is no invite"),
        (entry("friends").replace("9443", "9444").strip(), "not as it was made"),
        ("friends " + "x" * 10_000, "this is no invite"),
    ],
    ids=lambda value: value[-20:],
)
def test_damaged_line_is_told_with_its_number_and_kept(path: Path, line: str, why: str) -> None:
    content = (
        f"# mine\n\n{line}\nmüll \x00\n".encode() + b"\xff\xfe\n" + entry("work", WORK).encode()
    )
    write(path, content)
    rooms = KeptRooms(path)
    assert rooms.find("work") == WORK
    for change in (rooms.find, rooms.require_free, partial(rooms.add, invite=FRIENDS)):
        error = refused(partial(change, "Friends"))
        assert str(error).startswith(f"line 3 of {path} is damaged: ")
        assert why in str(error)
        assert "chatapp rooms remove friends" in error.hint
    damaged = [room for room in rooms.all() if room.invite is None]
    assert [room.number for room in damaged] == [3, 4, 5]
    assert why in damaged[0].damage
    add(path, "more")
    assert path.read_bytes() == content + entry("more").encode()
    assert [room.number for room in rooms.remove("friends")] == [3]
    assert line.encode() + b"\n" not in path.read_bytes()


def test_of_two_lines_of_one_name_the_first_counts_and_the_second_is_told(path: Path) -> None:
    write(path, entry("a") + entry("A", WORK) + entry("b"))
    rooms = KeptRooms(path)
    assert rooms.find("a") == FRIENDS
    assert rooms.all()[1].damage == "line 1 has the same name"
    rooms.remove("a")
    assert path.read_text() == entry("b")


def test_last_line_without_its_end_and_line_ends_of_other_systems_are_understood(
    path: Path,
) -> None:
    write(path, entry("a").replace("\n", "\r\n") + entry("b").strip())
    assert add(path, "c")
    assert [room.name for room in KeptRooms(path).all() if room.invite == FRIENDS] == [
        "a",
        "b",
        "c",
    ]


# -- whose the file is, and whether it can be written


@pytest.mark.parametrize(
    ("mode", "said"), [(0o640, "read"), (0o604, "read"), (0o620, "read"), (0o602, "read")]
)
def test_list_that_others_can_read_or_change_is_refused(path: Path, mode: int, said: str) -> None:
    write(path, entry("friends"))
    path.chmod(mode)
    for change in (KeptRooms(path).all, partial(add, path, "more")):
        error = refused(change)
        assert str(error) == f"others can {said} the list of kept rooms {path}"
        assert error.hint == f"chmod 600 {path}"
    assert path.read_text() == entry("friends")


def test_of_many_that_are_kept_at_once_none_is_lost(path: Path) -> None:
    names = [f"room{number}" for number in range(10)]
    side_by_side(*(partial(add, path, name) for name in names))
    assert sorted(room.name for room in KeptRooms(path).all()) == sorted(names)


def test_list_that_somebody_holds_for_too_long_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.files.lines.LOCK_SECONDS", 0)
    with files.locked(path.parent, 0):
        assert "another program is changing it" in str(refused(partial(add, path, "friends")))
