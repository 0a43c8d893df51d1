"""The file of settings: what is read, and what is refused with the file and the place in it."""

import os
from pathlib import Path

import pytest

from chat.errors import UsageError
from chat.files.config import ConfigFile
from chat.limits import CONFIG_BYTES

BELOW = "options go below the name of a command, as in [client]"
COMMANDS = ("client", "server", "rooms")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "config.toml"
    path.touch(mode=0o600)
    return path


def test_tables_are_those_of_commands_and_of_rooms(path: Path) -> None:
    path.write_bytes(
        b"\xef\xbb\xbf[client]\r\njson = true\r\n"
        b"[rooms]\nkeys = 'x'\n[rooms.Friends]\nname = 'Ira'\n"
    )
    config = ConfigFile(path, COMMANDS)
    assert config.command("client") == {"json": True}
    assert config.command("server") == {}
    assert config.command("rooms") == {"keys": "x"}
    assert config.room("friends") == ("[rooms.Friends]", {"name": "Ira"})
    assert config.room("keys") == config.room("") == ("", {})
    assert config.rooms == ["Friends"]


def test_file_that_is_empty_says_nothing(path: Path) -> None:
    assert ConfigFile(path, COMMANDS).command("client") == {}


def refusal(path: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        ConfigFile(path, COMMANDS)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.exit_status == 2
    return caught.value


@pytest.mark.parametrize(
    ("content", "text", "hint"),
    [
        (b"[clients]", "[clients] is no command", "did you mean [client]?"),
        (b"[xyzzy]", "[xyzzy] is no command", ""),
        (b'["\\u001b[31m"]', "is no command", ""),
        (b"time = '%H'", "time stands in no table", BELOW),
        (b"client = 3", "client stands in no table", BELOW),
        (b"[[client]]", "client stands in no table", BELOW),
        (
            b"[rooms.Ira]\n[rooms.b]\n[rooms.IRA]",
            "[rooms.Ira] and [rooms.IRA] are the same room",
            "",
        ),
        (b"[client]\ntime", "it is not TOML: ", ""),
        (b"[client]\ntime", "(at end of document)", ""),
        (b"[client]\ntime = \n", "(at line 2, column 8)", ""),
        (b"[client]\na=1\na=2\n", "it is not TOML: Cannot overwrite a value (at line 3", ""),
        (b"[client]\n# \xff", "line 2 is not UTF-8", ""),
        (b"a = " + b"[" * 100_000, "it is nested too deeply", ""),
        (b"a = " + b"9" * 10_000, "it is not TOML: ", ""),
        (b"#" * (CONFIG_BYTES + 1), "it cannot be read: larger than 262,144 bytes", ""),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_wrong_is_told_with_its_place(
    path: Path, content: bytes, text: str, hint: str
) -> None:
    path.write_bytes(content)
    error = refusal(path)
    assert text in str(error)
    assert error.hint == hint


@pytest.mark.parametrize(
    ("mode", "folder_mode", "text", "hint"),
    [
        (0o620, 0o700, "others can change the settings file", "chmod go-w "),
        (0o602, 0o700, "others can change the settings file", "chmod go-w "),
        (0o600, 0o770, "others can change the files in", "chmod go-w "),
    ],
)
def test_file_that_others_can_change_is_refused(
    path: Path, mode: int, folder_mode: int, text: str, hint: str
) -> None:
    path.chmod(mode)
    path.parent.chmod(folder_mode)
    with pytest.raises(UsageError, match=text) as caught:
        ConfigFile(path, COMMANDS)
    assert caught.value.hint.startswith(hint)


def test_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12_345)
    if path.stat().st_uid == 0:
        os.chown(path, 4_321, -1)
    error = refusal(path)
    assert "belongs to another user" in str(error)
    assert error.hint == "remove it, or move it away"


@pytest.mark.parametrize("kind", ["folder", "FIFO", "link to nowhere"])
def test_what_is_no_file_is_refused_at_once(path: Path, kind: str) -> None:
    path.unlink()
    match kind:
        case "folder":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
        case _:
            path.symlink_to("nowhere")
    assert "it cannot be read: " in str(refusal(path))
