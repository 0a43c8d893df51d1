"""The admin socket in the folder of the keys: whose it is, and what stands in its place."""

import os
import socket
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from chat.errors import IdentityError
from chat.files import adminsocket as module
from chat.files import keyfolder
from chat.files import storage as files
from chat.files.adminsocket import AdminSocket, dial
from chat.limits import MAX_ADMIN_CONNECTIONS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.sock"


def leave_stale(path: Path) -> None:
    """Leave a socket as a server does that is killed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()


def test_socket_is_private_whatever_the_mask_and_goes_with_its_server(path: Path) -> None:
    mask = os.umask(0)
    try:
        with closing(AdminSocket(path)):
            assert path.stat().st_mode & 0o777 == 0o600
            dial(path).close()
        assert os.umask(0) == 0
    finally:
        os.umask(mask)
    assert not path.exists()


def test_socket_that_a_killed_server_left_is_taken_over(path: Path) -> None:
    leave_stale(path)
    with closing(AdminSocket(path)):
        dial(path).close()


def test_second_server_in_a_folder_leaves_the_socket_to_the_first(path: Path) -> None:
    with closing(AdminSocket(path)) as first:
        with pytest.raises(IdentityError, match="another server with the same keys has "):
            AdminSocket(path)
        # Even when the first is too busy to take anybody in.
        waiting = []
        with suppress(BlockingIOError):
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(str(path))
        with pytest.raises(IdentityError, match="another server"):
            AdminSocket(path)
        for one in waiting:
            one.close()
        first.listener.accept()[0].close()
    assert not path.exists()


def test_socket_of_a_later_server_stays_when_an_earlier_one_ends(path: Path) -> None:
    first = AdminSocket(path)
    path.unlink()
    with closing(AdminSocket(path)):
        first.close()
        dial(path).close()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("mine")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    with pytest.raises(IdentityError, match="is no socket"):
        AdminSocket(path)
    assert os.path.lexists(path)


@pytest.mark.parametrize("absolute", [True, False])
def test_path_may_be_longer_than_the_address_of_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("x" * 100)
    folder.mkdir()
    path = (tmp_path / folder if absolute else folder) / "admin.sock"
    monkeypatch.chdir(folder)
    leave_stale(Path("admin.sock"))
    monkeypatch.chdir(tmp_path)
    with closing(AdminSocket(path)):
        dial(path).close()
        with pytest.raises(IdentityError, match="another server"):
            AdminSocket(path)
        assert Path.cwd() == tmp_path
    assert not path.exists()


def test_folder_that_others_can_change_has_no_socket(path: Path) -> None:
    path.parent.chmod(0o777)
    with pytest.raises(IdentityError, match="others can change the files"):
        AdminSocket(path)
    assert not path.exists()
    path.parent.chmod(0o700)


def test_socket_of_others_is_neither_taken_over_nor_asked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_stale(path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(keyfolder, "check", lambda _path: None)
    monkeypatch.setattr(files, "is_own", lambda _status: False)
    for make in (AdminSocket, dial):
        with pytest.raises(IdentityError, match="belongs to another user"):
            make(path)
    assert path.exists()


def test_server_that_lets_nobody_in_is_not_waited_for_without_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ADMIN_ANSWER_SECONDS", 0.01)
    with closing(AdminSocket(path)), ExitStack() as waiting:

        def crowd() -> None:
            for _ in range(2 * MAX_ADMIN_CONNECTIONS):
                waiting.enter_context(dial(path))

        with pytest.raises(IdentityError, match="nobody is let in at ") as caught:
            crowd()
    assert "stopped" in caught.value.hint


@pytest.mark.parametrize("stale", [True, False])
def test_where_no_server_runs_that_is_said(path: Path, stale: bool) -> None:
    if stale:
        leave_stale(path)
    with pytest.raises(IdentityError, match="no server runs with the keys in ") as caught:
        dial(path)
    assert "--keys" in caught.value.hint
