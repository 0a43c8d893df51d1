"""The programs in this process: what `main` returns, and what it says of a failure."""

import errno
import json
import os
import resource
import socket
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from chat.__main__ import _PROGRAMS, _how_to_install, main
from chat.limits import MAX_MEMBERS, MAX_PENDING, SPARE_DESCRIPTORS
from chat.serving import _allow_many_descriptors
from chat.ui.wrap import fitting
from tests.support.helpers import key
from tests.support.processes import place_key

ENDS = "chat: error: {}\n"


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with keys for both roles, and a standard input that is closed."""
    monkeypatch.setattr(sys, "stdin", None)
    folder = tmp_path / "keys"
    for role, name in (("server", "server"), ("client", "ira")):
        place_key(folder, role, name)
    return folder


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A port that is somebody's, who does not listen."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield str(held.getsockname()[1])


# -- what is missing


@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize("own", [True, False], ids=["in a venv", "the system's"])
def test_remedy_fits_to_whose_python_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, managed: bool, own: bool
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    monkeypatch.setattr("sys.prefix", "/venv" if own else sys.base_prefix)
    if managed:
        (tmp_path / "EXTERNALLY-MANAGED").touch()
    remedy = _how_to_install()
    assert ("-m venv .venv &&" in remedy) == (managed and not own)
    assert ("make demo" in remedy) == (managed and not own)
    assert remedy.startswith(f"{sys.executable} -m ")
    assert " -m pip install 'pycryptodomex>=3.21'" in remedy


@pytest.mark.parametrize("most", [0, 300, 10_240, 1_000_000])
@pytest.mark.parametrize("refusal", [ValueError, PermissionError])
@pytest.mark.parametrize("hard", [resource.RLIM_INFINITY, 4_096, 256])
def test_descriptors_that_the_system_refuses_are_gone_on_without(
    monkeypatch: pytest.MonkeyPatch, most: int, refusal: type[Exception], hard: int
) -> None:
    """macOS allows 256, says that there is no limit, and refuses more than 10,240."""
    allowed = [256]

    def set_limit(_which: int, limits: tuple[int, int]) -> None:
        if limits[0] > most or limits[1] != hard:
            raise refusal
        allowed.append(limits[0])

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, hard))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    _allow_many_descriptors(MAX_PENDING)
    wanted = MAX_MEMBERS + MAX_PENDING + SPARE_DESCRIPTORS
    reachable = min(most, wanted, wanted if hard == resource.RLIM_INFINITY else hard)
    assert reachable // 2 < allowed[-1] <= max(256, reachable)


# -- what fails


@pytest.mark.parametrize("role", [[], ["server"], ["client"], ["send"], ["forget"]])
def test_help_is_shown_where_the_encoding_is_poor(
    role: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*role, "--help"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("usage: chatapp ")
    assert out.isascii()
    assert err == ""


def test_what_the_system_refuses_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setitem(_PROGRAMS, "server", refuse)
    assert main(["server"]) == 1
    assert capfd.readouterr() == ("", ENDS.format("too many open files"))


def test_port_in_use_is_told_with_a_hint(keys: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert main(["server", "--port", port, "--keys", str(keys)]) == 1
    error = f"cannot listen on 127.0.0.1 port {port}: address already in use"
    hint = "chat: hint: another server may be running; --port 0 takes a free port\n"
    assert capfd.readouterr() == ("", ENDS.format(error) + hint)


@pytest.mark.parametrize(
    ("host", "error"),
    [("127.0.0.1", "connection refused"), ("127.255.255.255", "network is unreachable")],
    ids=["nobody listens", "no way at all"],
)
@pytest.mark.parametrize("json_too", [False, True])
def test_server_that_cannot_be_reached_is_told_with_a_hint(
    keys: Path,
    closed_port: str,
    host: str,
    error: str,
    json_too: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    options = ["--keys", str(keys), *["--json"] * json_too]
    assert main(["client", host, closed_port, "Ira", *options]) == 1
    text = f"cannot reach {host} port {closed_port}: {error}"
    hint = "is the server running, and is this its port?"
    out, err = capfd.readouterr()
    assert err == f"{ENDS.format(text)}chat: hint: {hint}\n"
    told = {"event": "error", "text": text, "hint": hint, "exit_status": 1}
    assert (json.loads(out) == told) if json_too else not out


@pytest.mark.parametrize("role", ["server", "client"])
def test_keys_that_cannot_be_used_are_told_with_a_hint(
    keys: Path, closed_port: str, role: str, capfd: pytest.CaptureFixture[str]
) -> None:
    place = ["127.0.0.1", closed_port, "Ira"] if role == "client" else ["--port", "0"]
    path = keys / f"{role}_private_key.pem"
    assert main([role, *place, "--keys", str(path / "keys")]) == 1
    error = f"cannot use {path / 'keys'}: not a directory"
    hint = "name another folder with --keys, or keep nothing with --ephemeral"
    assert capfd.readouterr() == ("", f"{ENDS.format(error)}chat: hint: {hint}\n")
    path.chmod(0o640)
    assert main([role, *place, "--keys", str(keys)]) == 1
    error = f"others can read the private key {path}"
    assert capfd.readouterr() == ("", f"{ENDS.format(error)}chat: hint: chmod 600 {path}\n")
    assert len(list(keys.iterdir())) == 2


def test_server_that_is_forgotten_is_told_and_one_that_is_not_known_too(
    keys: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    known = keys / "known_servers"
    known.write_text(f"[127.0.0.1]:9443 {key('other').public.openssh}\n")
    forget = ["forget", "127.0.0.1", "9443", "--keys", str(keys)]
    assert main(forget) == 0
    assert capfd.readouterr() == (f"[+] Forgot the key {key('other').public.fingerprint}\n", "")
    assert known.read_text() == ""
    assert main(forget) == 1
    error = "no key of the server [127.0.0.1]:9443 is known"
    hint = f"chat: hint: the servers that are known are in {known}\n"
    assert capfd.readouterr() == ("", ENDS.format(error) + hint)


def test_what_the_encoding_lacks_is_shown_as_an_escape(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poor = TextIOWrapper(BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", poor)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("CHAT_NAME", "Ира")
    assert main(["config", "client"]) == 0
    poor.seek(0)
    assert 'name = "\\u0418\\u0440\\u0430"' in poor.read()


@pytest.mark.parametrize(
    ("columns", "line", "rows"),
    [
        (None, "chat: error: one two three", ["chat: error: one two three"]),
        (20, "chat: error: one two three", ["chat: error: one two", "    three"]),
        (20, "  known: one two three four", ["  known: one two", "    three four"]),
        (20, "    a command that is copied whole", ["    a command that is copied whole"]),
    ],
)
def test_error_is_broken_between_words_on_a_terminal(
    columns: int | None, line: str, rows: list[str]
) -> None:
    assert fitting(line, columns) == rows
