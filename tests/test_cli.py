"""The command line: arguments, keys, first contact, and how every failure is told."""

import errno
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from Cryptodome.PublicKey import RSA

from chat.__main__ import _PROGRAMS, main
from chat.kex import Offer
from chat.limits import MAX_HANDSHAKES, MAX_MEMBERS, SPARE_DESCRIPTORS
from chat.wire import PROTOCOL, Hello
from tests.helpers import key
from tests.processes import CHAT, DEADLINE_SECONDS, Result, Stage, free_port, place_key


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


FINGERPRINT = key("server").public.fingerprint


def assert_fails(result: Result, status: int, error: str, hint: str = "") -> None:
    """It shows nothing, says this on standard error and nothing else, and ends with the status."""
    expected = f"chat: error: {error}\n"
    if hint:
        expected += f"chat: hint: {hint}\n"
    assert result == Result(status, "", expected)


def files(folder: Path) -> list[str]:
    """Every file and folder below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# -- arguments


@pytest.mark.parametrize(
    "arguments", [[], ["client", "localhost", "9443", os.fsdecode(b"\xff")], ["server", "-p", "x"]]
)
def test_misuse_of_a_process_leaves_no_traceback(stage: Stage, arguments: list[str]) -> None:
    status, out, err = stage.start(*arguments).end()
    assert (status, out) == (2, "")
    assert err.startswith("usage: chat ")
    assert "chat" in err.splitlines()[-1]
    assert ": error: " in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("role", [[], ["server"], ["client"], ["send"]])
def test_help_is_shown_where_the_encoding_is_poor(stage: Stage, role: list[str]) -> None:
    status, out, err = stage.start(*role, "--help", env={"PYTHONIOENCODING": "ascii"}).end()
    assert (status, err) == (0, "")
    assert out.startswith("usage: chat ")


# -- what is missing


BLOCKING = "import sys; sys.modules[{!r}] = None; from chat.__main__ import main; sys.exit(main())"


@pytest.mark.parametrize("module", ["Cryptodome", "Cryptodome.Protocol.DH"], ids=["none", "old"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["server", "--port", "0"],
        ["client", "127.0.0.1", "9", "Ira"],
        ["send", "127.0.0.1", "9", "Ira", "Hi"],
    ],
)
def test_missing_package_is_told_with_the_remedy(
    stage: Stage, module: str, arguments: list[str]
) -> None:
    command = [sys.executable, "-c", BLOCKING.format(module), *arguments]
    assert_fails(
        stage.run(command).end(),
        1,
        "the package pycryptodomex (3.21 or newer) is not installed",
        f"{sys.executable} -m pip install 'pycryptodomex>=3.21'",
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["send", "--help"]])
def test_help_that_cannot_be_shown_is_a_failure(stage: Stage, arguments: list[str]) -> None:
    """Python would end with status 120, and a complaint of its own."""
    assert stage.start(*arguments, redirect=">/dev/full").end() == (1, "", "")


@pytest.mark.parametrize("redirect", ["2>/dev/full", ">/dev/full 2>&1"])
def test_misuse_that_cannot_be_told_is_still_misuse(stage: Stage, redirect: str) -> None:
    assert stage.start("server", "--port", "x", redirect=redirect).end() == (2, "", "")


def test_help_needs_no_package(stage: Stage) -> None:
    command = [sys.executable, "-c", BLOCKING.format("Cryptodome"), "--help"]
    status, out, err = stage.run(command).end()
    assert (status, err) == (0, "")
    assert out.startswith("usage: ")


# -- the network


def test_port_in_use_is_told_with_a_hint(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = stage.start("server", "-p", str(port), *stage.keys("server", "server")).end()
    assert_fails(
        result,
        1,
        f"cannot listen on 127.0.0.1 port {port}: address already in use",
        "another server may be running; --port 0 takes a free port",
    )


@pytest.mark.parametrize("host", ["", "a..b", "x" * 64])
def test_server_on_an_unknown_host_is_told(stage: Stage, host: str) -> None:
    result = stage.start("server", "--host", host, "--port", "0").end()
    assert_fails(result, 1, f"the host {host} is not known")


@pytest.mark.parametrize("host", ["", "a..b", "x" * 64])
def test_client_of_an_unknown_host_is_told(stage: Stage, host: str) -> None:
    result = stage.start("client", host, "9443", "Ira", *stage.keys("client", "ira")).end()
    assert_fails(
        result,
        1,
        f"the host {host} is not known",
        "is it spelled right, and are you online?",
    )


@pytest.mark.parametrize(
    ("host", "error"),
    [("127.0.0.1", "connection refused"), ("127.255.255.255", "network is unreachable")],
    ids=["nobody listens", "no way at all"],
)
def test_server_that_cannot_be_reached_is_told_with_a_hint(
    stage: Stage, host: str, error: str
) -> None:
    port = free_port()
    client = stage.start("client", host, str(port), "Ira", *stage.keys("client", "ira"))
    assert_fails(
        client.end(),
        1,
        f"cannot reach {host} port {port}: {error}",
        "is the server running, and is this its port?",
    )


def test_error_without_a_standard_error_still_has_its_status(stage: Stage) -> None:
    port = free_port()
    keys = stage.keys("client", "ira")
    client = stage.start("client", "127.0.0.1", str(port), "Ira", *keys, redirect="2>&-")
    assert client.end() == Result(1, "", "")


def test_what_the_system_refuses_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setitem(_PROGRAMS, "server", refuse)
    assert main(["server"]) == 1
    assert capfd.readouterr() == ("", "chat: error: too many open files\n")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of others cannot be seen here")
@pytest.mark.parametrize("limit", ["-Sn 256", "-n 256"], ids=["soft", "hard"])
def test_server_takes_as_many_descriptors_as_it_may(stage: Stage, limit: str) -> None:
    keys = stage.keys("server", "server")
    limited = ["sh", "-c", f'ulimit {limit}; exec "$@"', "sh"]
    server = stage.run([*limited, *CHAT, "server", "--port", "0", *keys])
    server.expect("[+] Fingerprint: ")
    soft, hard = resource.prlimit(server.popen.pid, resource.RLIMIT_NOFILE)
    if hard == 256:
        assert soft == 256
    else:
        assert soft == min(hard, MAX_MEMBERS + MAX_HANDSHAKES + SPARE_DESCRIPTORS)
    server.type("TERMINATE")
    assert server.end().status == 0


# -- key files


@pytest.mark.parametrize("arguments", [["server", "-p", "0"], ["client", "127.0.0.1", "9", "Ira"]])
def test_key_folder_that_cannot_be_used_is_told_with_a_hint(
    stage: Stage, tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "keys"
    status, out, err = stage.start(*arguments, "--keys", str(folder)).end()
    assert (status, out) == (1, "")
    error, hint = err.splitlines()
    assert error == f"chat: error: cannot use {folder}: not a directory"
    assert hint == ("chat: hint: name another folder with --keys, or keep nothing with --ephemeral")


@pytest.mark.parametrize("role", ["server", "client"])
def test_private_key_that_others_can_read_is_refused(
    stage: Stage, tmp_path: Path, role: str
) -> None:
    path = place_key(tmp_path / "keys", role, "ira")
    path.chmod(0o640)
    arguments = {"server": ["--port", "0"], "client": ["127.0.0.1", "9", "Ira"]}[role]
    result = stage.start(role, *arguments, "--keys", str(path.parent)).end()
    assert_fails(result, 1, f"others can read the private key {path}", f"chmod 600 {path}")
    assert files(path.parent) == [path.name]


def test_damaged_private_key_is_refused_and_kept(stage: Stage, tmp_path: Path) -> None:
    path = place_key(tmp_path / "keys", "server", "ira")
    path.write_text("damaged")
    result = stage.start("server", "--port", "0", "--keys", str(path.parent)).end()
    assert_fails(
        result,
        1,
        f"the private key {path} is damaged",
        "restore it from a copy, or move it away to have a new one made",
    )
    assert path.read_text() == "damaged"


@pytest.mark.parametrize("configured", [False, True])
def test_keys_are_made_at_the_first_run_and_used_again(
    stage: Stage, tmp_path: Path, configured: bool
) -> None:
    folder = tmp_path / "config" if configured else stage.home / ".config"
    env = {"XDG_CONFIG_HOME": str(folder)} if configured else {}
    server = stage.start("server", "--port", "0", "--bits", "2048", env=env)
    server.expect("[+] Making a new RSA key, which takes a moment\n", "[+] Fingerprint: ", "\n")
    port = server.out.split("port: ")[1].split("\n")[0]
    client = stage.start("client", "127.0.0.1", port, "Ira", "--bits", "2048", env=env)
    client.expect("[+] Making a new RSA key, which takes a moment\n", "[+] In the room: Ira\n")
    client.type("EXIT")
    assert client.end().status == 0
    again = stage.start("client", "127.0.0.1", port, "Ira", env=env)
    again.end_input()
    status, out, err = again.end()
    assert (status, err) == (0, "")
    assert "Making" not in out
    assert " (known)\n" in out
    server.type("TERMINATE")
    assert server.end().err == ""
    assert files(folder) == [
        "chat",
        "chat/client_private_key.pem",
        "chat/client_public_key.pem",
        "chat/known_servers",
        "chat/server_private_key.pem",
        "chat/server_public_key.pem",
    ]
    for role in ("client", "server"):
        pem = (folder / "chat" / f"{role}_private_key.pem").read_bytes()
        assert RSA.import_key(pem).size_in_bits() == 2048
    fingerprint = server.out.split("Fingerprint: ")[1].split("\n")[0]
    second = stage.start("server", "--port", "0", env=env)
    second.expect(f"[+] Fingerprint: {fingerprint}\n")
    assert "Making" not in second.out


def test_ephemeral_run_writes_nothing(stage: Stage) -> None:
    server = stage.start("server", "--port", "0", "--bits", "2048", "--ephemeral")
    server.expect("[+] Making a new RSA key, which takes a moment\n", "[+] Fingerprint: ", "\n")
    port = server.out.split("port: ")[1].split("\n")[0]
    client = stage.start("client", "127.0.0.1", port, "Ira", "--bits", "2048", "--ephemeral")
    client.type("Hi", "EXIT")
    status, out, err = client.end()
    assert (status, err) == (0, "")
    assert " (new)\n" in out
    server.type("TERMINATE")
    assert server.end().status == 0
    assert files(stage.home) == []


def test_interrupted_making_of_a_key_leaves_nothing(stage: Stage) -> None:
    server = stage.start("server", "--port", "0", "--bits", "4096")
    server.expect("[+] Making a new RSA key, which takes a moment\n")
    server.signal(signal.SIGINT)
    status, _, err = server.end()
    assert (status, err) == (1, "chat: error: interrupted\n")
    assert [name for name in files(stage.home) if "pem" in name] == []


# -- whom to trust


class Impostor:
    """Somebody who shows a server's key that is not the expected one, and takes notes."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE_SECONDS)
        self.port = int(self.listener.getsockname()[1])

    def receive(self) -> bytes:
        """All that a client sends when it is shown this key."""
        offer = Offer.make(key("server"), time.time(), os.urandom)
        blob = offer.server_key.blob
        hello = Hello(PROTOCOL, offer.share.public, offer.not_after, blob, offer.signature)
        connected, _ = self.listener.accept()
        with connected:
            connected.settimeout(DEADLINE_SECONDS)
            connected.sendall(hello.to_wire())
            received = b""
            while data := connected.recv(1 << 16):
                received += data
        return received


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    impostor = Impostor()
    with impostor.listener:
        yield impostor


def test_first_contact_is_remembered(stage: Stage) -> None:
    _, port = stage.server()
    known = Path(stage.keys("client", "ira")[1]) / "known_servers"
    line = f"[127.0.0.1]:{port} {key('server').public.openssh}\n"
    for state in ("new", "known"):
        client = stage.client(port, "Ira")
        client.end_input()
        status, out, err = client.end()
        assert (status, err) == (0, "")
        assert f"[+] Fingerprint of the server: {FINGERPRINT} ({state})\n" in out
        assert known.read_text() == line


def test_changed_key_ends_with_status_four_and_nothing_is_sent(
    stage: Stage, impostor: Impostor
) -> None:
    known = Path(stage.keys("client", "ira")[1]) / "known_servers"
    line = f"[127.0.0.1]:{impostor.port} {key('other').public.openssh}\n"
    known.write_text(line)
    client = stage.client(impostor.port, "Ira")
    client.type("secret")
    assert impostor.receive() == b""
    status, out, err = client.end()
    assert status == 4
    assert out == (
        "[+] Connected successfully.\n"
        "[+] Exchanging keys.\n"
        "[+] Getting public key from the server\n"
    )
    assert err == (
        f"chat: error: THE KEY OF THE SERVER [127.0.0.1]:{impostor.port} HAS CHANGED\n"
        "  Somebody may be in the middle, reading along; or the server was set up anew.\n"
        f"  known: {key('other').public.fingerprint}\n"
        f"  shown: {FINGERPRINT}\n"
        "  nothing of yours has been sent\n"
        "chat: hint: if whoever runs the server confirms the new key, "
        f"remove line 1 of {known}\n"
    )
    assert known.read_text() == line


def test_wrong_fingerprint_ends_with_status_four_and_nothing_is_sent_or_remembered(
    stage: Stage, impostor: Impostor
) -> None:
    expected = key("other").public.fingerprint
    client = stage.client(impostor.port, "Ira", "--fingerprint", expected)
    assert impostor.receive() == b""
    status, _, err = client.end()
    assert status == 4
    assert err == (
        "chat: error: THE SERVER'S KEY IS NOT THE ONE YOU NAMED\n"
        f"  named: {expected}\n"
        f"  shown: {FINGERPRINT}\n"
        "  nothing of yours has been sent\n"
        "chat: hint: ask whoever runs the server for its fingerprint\n"
    )
    assert not (Path(stage.keys("client", "ira")[1]) / "known_servers").exists()


def test_right_fingerprint_lets_one_in(stage: Stage) -> None:
    _, port = stage.server()
    client = stage.client(port, "Ira", "--fingerprint", FINGERPRINT)
    client.end_input()
    status, out, err = client.end()
    assert (status, err) == (0, "")
    assert "[+] In the room: Ira\n" in out


def test_list_of_known_servers_that_cannot_be_used_is_told_and_nothing_is_sent(
    stage: Stage, impostor: Impostor
) -> None:
    known = Path(stage.keys("client", "ira")[1]) / "known_servers"
    known.mkdir()
    client = stage.client(impostor.port, "Ira")
    assert impostor.receive() == b""
    status, _, err = client.end()
    assert status == 1
    assert err.startswith(f"chat: error: cannot use {known}: is a directory\n")
    assert "Traceback" not in err


def test_ephemeral_client_knows_known_servers_and_remembers_no_new_one(
    stage: Stage, impostor: Impostor
) -> None:
    known = Path(stage.keys("client", "ira")[1]) / "known_servers"
    line = f"[127.0.0.1]:{impostor.port} {key('other').public.openssh}\n"
    known.write_text(line)
    client = stage.client(impostor.port, "Ira", "--ephemeral", "--bits", "2048")
    assert impostor.receive() == b""
    assert client.end().status == 4
    assert known.read_text() == line
