"""The programs about invites in this process: what is refused at once, and the drawing."""

import pwd
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.__main__ import main
from chat.invitations import _draw
from chat.invite import Invite
from chat.place import Endpoint
from chat.text import fingerprint_of

TEXT = Invite((Endpoint("chat.example", 9443),), bytes(32), bytes(range(32))).encode()


@pytest.fixture
def port() -> Iterator[str]:
    """A port that is somebody's, who does not listen."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield str(held.getsockname()[1])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, where the room `friends` is kept."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("CHAT_INVITE", TEXT)
    assert main(["rooms", "add", "friends"]) == 0
    return tmp_path / "chat"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["127.0.0.1", "PORT", "--keep", "Friends"], 2, "a room is kept as Friends already"),
        (["127.0.0.1", "PORT", "--keep", "a@b"], 2, "the name of a kept room has"),
        (["127.0.0.1", "PORT", "--keep", TEXT], 2, "the name of a kept room has"),
        (["fe80::1%eth0", "PORT"], 2, "names a network interface"),
        (["a b", "PORT"], 2, "is no host that an invite can name"),
        (["a.example,b/c"], 2, "a host has no slash"),
        (["127.0.0.1,fe80::1%eth0", "PORT"], 2, "names a network interface"),
        (["127.0.0.1,127.0.0.2", "PORT"], 1, "connection refused"),
        ([TEXT], 2, "a new room needs the host of its server"),
        (["-"], 2, "a new room needs the host of its server"),
        (["friends"], 2, "friends is a room that is kept"),
        (["127.0.0.1", "PORT", "--keep", "more"], 1, "connection refused"),
    ],
)
def test_room_that_cannot_be_made_is_told_and_nothing_is_kept(
    folder: Path,
    port: str,
    words: list[str],
    status: int,
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = (folder / "rooms").read_text()
    capfd.readouterr()
    assert main(["invite", *(port if word == "PORT" else word for word in words)]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert said in " ".join(err.split())
    assert TEXT[40:] not in err
    assert (folder / "rooms").read_text() == before
    assert [path.name for path in folder.iterdir()] == ["rooms"]


def test_name_that_is_taken_is_told_before_an_invite_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("chat.invitations._read_invite", None)
    assert main(["rooms", "add", "friends"]) == 2
    assert "a room is kept as friends already" in capfd.readouterr().err


def test_room_that_is_kept_already_may_be_added_again_after_it_was_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["rooms", "remove", "friends"]) == 0
    assert (folder / "rooms").read_text() == ""
    monkeypatch.setenv("CHAT_INVITE", TEXT)
    assert main(["rooms", "add", "friends"]) == 0
    assert main(["rooms", "remove", "work"]) == 1


def test_fingerprint_in_an_invite_is_shown_to_who_has_no_home(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    account = pwd.struct_passwd(["ira", "x", 1000, 1000, "", "", "/bin/sh"])
    monkeypatch.setattr("pwd.getpwuid", lambda _uid: account)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    capsys.readouterr()
    assert main(["fingerprint", TEXT]) == 0
    assert capsys.readouterr() == (f"{fingerprint_of(bytes(32))}\n", "")


def test_code_is_drawn_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("segno", reason="the package segno is not installed")
    _draw(TEXT)
    out, err = capsys.readouterr()
    assert out == ""
    rows = err.splitlines()
    assert len(rows) > 20
    assert len({len(row) for row in rows}) == 1
    assert set("".join(rows)) == set(" █▀▄")


def test_package_that_is_missing_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    _draw(TEXT)
    assert capsys.readouterr() == (
        "",
        f"[!] A QR code needs the package segno: {sys.executable} -m pip install segno\n",
    )
