"""Known members on the disk: what a line says, who may read it, and who is kept."""

import re
from pathlib import Path
from unittest import mock

import pytest

from chat.client.known import Change, Known
from chat.errors import IdentityError
from chat.files import members, storage
from chat.files.members import MembersFile
from chat.frozen import replace
from chat.limits import KNOWN_MEMBERS_BYTES, MAX_KNOWN_MEMBERS
from chat.text import fingerprint_of

ROOM, OTHER = "0123456789abcdef", "open:fedcba9876543210"
ONE, TWO = bytes([1]) * 32, bytes([2]) * 32
KEY, KEY_2 = map(fingerprint_of, (ONE, TWO))
AT, LATER = 1_793_800_000, 1_793_900_000
DATE, LATER_DATE = "2026-11-04T13:46:40Z", "2026-11-05T17:33:20Z"
IRA = Known("Ira Ärger", ONE, AT, AT)
LINE = f"{ROOM} {DATE} {DATE} {KEY} trusted Ira Ärger"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path / "known_members"


def keep(path: Path, *members: Known, room: str = ROOM, decided: bool = False) -> bool:
    changes = [Change(member, decided) for member in members]
    return MembersFile(path).keep(room, changes, patient=True)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("member", "line"),
    [
        (IRA, LINE),
        (
            Known("Ira", ONE, 0, AT, ignored=True),
            f"1970-01-01T00:00:00Z {DATE} {KEY} trusted,ignored Ira",
        ),
        (Known("[x]", TWO, AT, LATER, trusted=False), f"{DATE} {LATER_DATE} {KEY_2} untrusted [x]"),
        (Known("x", TWO, AT, AT, False, True), f"{DATE} {DATE} {KEY_2} untrusted,ignored x"),
        (
            Known("x", TWO, -5, 10**15),
            f"1970-01-01T00:00:00Z 9999-12-31T23:59:59Z {KEY_2} trusted x",
        ),
    ],
)
@pytest.mark.parametrize("room", [ROOM, OTHER])
def test_member_is_one_line_and_comes_back(path: Path, member: Known, line: str, room: str) -> None:
    assert keep(path, member, room=room)
    assert lines(path) == [f"{room} {line.removeprefix(ROOM + ' ')}"]
    (found,), complaint = MembersFile(path).load(room)
    assert complaint == ""
    assert (found.name, found.fingerprint) == (member.name, member.fingerprint)
    assert (found.trusted, found.ignored) == (member.trusted, member.ignored)
    assert found.first == max(0, member.first)
    assert path.stat().st_mode & 0o777 == 0o600


def test_nobody_is_known_before_the_list_is_there(path: Path) -> None:
    assert MembersFile(path).load(ROOM) == ([], "")


def test_rooms_know_nothing_of_each_other(path: Path) -> None:
    keep(path, IRA)
    here = replace(IRA, last=LATER)
    keep(path, here, room=OTHER)
    assert MembersFile(path).load(ROOM)[0] == [IRA]
    assert MembersFile(path).load(OTHER)[0] == [here]


@pytest.mark.parametrize("decided", [False, True])
def test_what_another_client_has_written_is_not_lost(path: Path, decided: bool) -> None:
    """The earlier first time counts, the later last one, and a decision only where one was made."""
    keep(path, Known("Ira", ONE, AT, LATER, trusted=False, ignored=True))
    keep(path, Known("Bob", TWO, AT, AT))
    keep(path, Known("IRA", ONE, AT + 5, AT + 9), decided=decided)
    marks = "trusted" if decided else "untrusted,ignored"
    assert lines(path) == [
        f"{ROOM} {DATE} {LATER_DATE} {KEY} {marks} IRA",
        f"{ROOM} {DATE} {DATE} {KEY_2} trusted Bob",
    ]


DAMAGED = [
    LINE[:-1].replace("Ira Ärge", ""),
    LINE.replace(ROOM, ROOM[:-1]),
    LINE.replace(ROOM, ROOM.upper()),
    LINE.replace(ROOM, "room"),
    LINE.replace("trusted", "Trusted"),
    LINE.replace("2026-11-04T", "2026-13-04T"),
    LINE.replace(DATE, "yesterday"),
    LINE.replace("SHA256:", "MD5:"),
    LINE.replace(KEY, KEY[:-4]),
    LINE.replace(KEY, KEY + "="),
    LINE.replace("Ira Ärger", "x" * 33),
    LINE.replace("Ira Ärger", "\udcff"),
    LINE.partition(" trusted")[0],
    LINE + "\r",
    "\0",
]


def test_empty_lines_are_kept_and_cost_hardly_anything(path: Path) -> None:
    """A list of nothing else that is as large as it may be is read in less than a second."""
    path.write_bytes(b"\n" * 1_000 + f"{LINE}\n".encode() + b"\n" * 1_000)
    path.chmod(0o600)
    with mock.patch.object(members, "_fields", wraps=members._fields) as looked_at:
        assert MembersFile(path).load(ROOM) == ([IRA], "")
        keep(path, replace(IRA, last=LATER))
    assert looked_at.call_count == 3, "once to load, and twice to change it"
    assert len(lines(path)) == 2_001
    assert lines(path)[1_000] == LINE.replace(DATE, LATER_DATE).replace(LATER_DATE, DATE, 1)


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_line_is_reported_and_kept(path: Path, line: str) -> None:
    content = f"# mine\n\n{line}\n{LINE}\n".encode(errors="surrogateescape")
    path.write_bytes(content)
    path.chmod(0o600)
    found, complaint = MembersFile(path).load(ROOM)
    assert found == [IRA]
    assert complaint == f"line 3 of {path} is damaged, and is left as it is"
    keep(path, Known("Bob", TWO, AT, AT))
    assert path.read_bytes() == content + f"{ROOM} {DATE} {DATE} {KEY_2} trusted Bob\n".encode()


def test_many_damaged_lines_are_counted(path: Path) -> None:
    path.write_text("nonsense\n" * 9, encoding="utf-8")
    path.chmod(0o600)
    _, complaint = MembersFile(path).load(ROOM)
    assert (
        complaint
        == f"lines 1, 2, 3, 4, 5 and 4 more of {path} are damaged, and are left as they are"
    )


# -- what cannot be read or written


@pytest.mark.parametrize("patient", [False, True])
def test_lock_of_another_program_is_waited_for_only_at_the_end(
    path: Path, patient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.files.members.LOCK_SECONDS", 0)
    changes = [Change(IRA, decided=False)]
    with storage.locked(path.parent, 0):
        if patient:
            with pytest.raises(IdentityError, match="another program is changing it"):
                MembersFile(path).keep(ROOM, changes, patient=True)
        else:
            assert not MembersFile(path).keep(ROOM, changes, patient=False)
    assert MembersFile(path).keep(ROOM, changes, patient=False)


def test_list_that_is_only_read_is_not_written(path: Path) -> None:
    assert MembersFile(path, read_only=True).keep(ROOM, [Change(IRA, False)], patient=True)
    assert not path.exists()


# -- no more than there is place for


def test_full_list_forgets_whom_the_largest_room_has_not_seen_for_longest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.files.members.MAX_KNOWN_MEMBERS", 4)
    keep(path, Known("friend", ONE, 0, 0), room=OTHER)
    keep(path, Known("ignored", ONE, 0, 0, ignored=True))
    for number in range(9):
        keep(path, Known(f"guest {number}", TWO, number, number))
    names = [re.split("ed ", line)[-1] for line in lines(path)]
    assert names == ["friend", "ignored", "guest 7", "guest 8"]


def test_ten_thousand_long_names_fit(path: Path) -> None:
    longest = Known("\U00020000" * 32, ONE, AT, AT, trusted=False, ignored=True)
    keep(path, longest, room=OTHER)
    assert path.stat().st_size * MAX_KNOWN_MEMBERS < KNOWN_MEMBERS_BYTES
