"""The command line: arguments, keys, first contact, and how every failure is told."""

import errno
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from Cryptodome.PublicKey import RSA

from chat.__main__ import _PROGRAMS, _allow_many_descriptors, _fitting, _how_to_install, main
from chat.kex import SignedShare
from chat.limits import MAX_MEMBERS, MAX_PENDING, SPARE_DESCRIPTORS
from chat.wire import PROTOCOL, Hello
from tests.support.helpers import key
from tests.support.processes import (
    CHAT,
    DEADLINE_SECONDS,
    Result,
    Stage,
    environment,
    free_port,
    place_key,
)
from tests.support.terminals import Window, client_command


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as stage:
        yield stage


FINGERPRINT = key("server").public.fingerprint
OTHER = key("other").public.fingerprint


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


# -- the Makefile


FOREIGN = {"HOST": "x86_64-conda-linux-gnu", "PORT": "8080", "NAME": "DESKTOP-A1B2C3"}


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("given", "server", "client"),
    [
        ([], "--host 127.0.0.1 --port 9443", '127.0.0.1 9443 "[^"]+"'),
        (["HOST=::", "PORT=7", "NAME=ira"], "--host :: --port 7", ':: 7 "ira"'),
    ],
    ids=["as it is", "told otherwise"],
)
def test_make_takes_host_port_and_name_from_its_command_line_alone(
    stage: Stage, given: list[str], server: str, client: str
) -> None:
    for env in ({}, FOREIGN):
        status, out, _ = stage.run(["make", "-n", "server", "client", *given], env=env).end()
        assert status == 0
        commands = [line.split("-m chat ")[1] for line in out.splitlines() if "-m chat " in line]
        assert commands[0] == f"server {server}"
        assert re.fullmatch(f"client {client}", commands[1])
        assert "DESKTOP" not in out


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


@pytest.mark.parametrize("module", ["fcntl", "resource", "termios"])
@pytest.mark.parametrize("arguments", [["server"], ["client", "::1", "9", "I"]])
def test_system_that_is_no_unix_is_told_so(stage: Stage, module: str, arguments: list[str]) -> None:
    command = [sys.executable, "-c", BLOCKING.format(module), *arguments]
    text = "chat runs on Linux, macOS and other Unix systems; on Windows use WSL"
    assert_fails(stage.run(command).end(), 1, text)


@pytest.mark.parametrize("redirect", ["2>/dev/full", ">/dev/full 2>&1"])
def test_misuse_that_cannot_be_told_is_still_misuse(stage: Stage, redirect: str) -> None:
    assert stage.start("server", "--port", "x", redirect=redirect).end() == (2, "", "")


@pytest.mark.parametrize("module", ["Cryptodome", "fcntl", "resource", "termios"])
def test_help_needs_nothing(stage: Stage, module: str) -> None:
    command = [sys.executable, "-c", BLOCKING.format(module), "--help"]
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
    assert_fails(
        result, 1, f"the host {host} is not known", "is it spelled right, and are you online?"
    )


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
    assert _fitting(line, columns) == rows


def test_error_fits_into_a_narrow_window(stage: Stage) -> None:
    command = client_command(free_port(), "Ira", stage.keys("client", "ira"))
    window = Window(command, environment(stage.home, {}), 40)
    try:
        assert window.end() == 1
        assert window.lines()[-2:] == [
            "chat: hint: is the server running, and",
            "    is this its port?",
        ]
    finally:
        window.kill()


def status_of(stage: Stage, command: list[str], how: str, number: int = 2) -> int:
    """The status of a process one of whose standard streams takes nothing."""
    redirect = {"closed": f"{number}>&-", "full": f"{number}>/dev/full"}.get(how, "")
    process = stage.run(command, redirect=redirect)
    if not redirect:
        process.stop_reading(number)
    return process.end().status


ENDINGS = {
    "no server": (1, ["client", "127.0.0.1", "{port}", "Ira"]),
    "an unknown option": (2, ["client", "--quickly"]),
    "nothing": (2, []),
    "a name that is taken": (3, ["send", "127.0.0.1", "{taken}", "Bob", "Hi"]),
    "another key": (4, ["send", "127.0.0.1", "{taken}", "Ira", "Hi", "--fingerprint", OTHER]),
}


@pytest.mark.parametrize("how", ["closed", "full", "nobody reads"])
def test_status_is_the_same_where_standard_error_takes_nothing(stage: Stage, how: str) -> None:
    _, port = stage.server()
    stage.member(port, "Bob", key="sahnawaz")
    keys = stage.keys("client", "ira")
    places = {"port": free_port(), "taken": port}
    for expected, arguments in ENDINGS.values():
        command = [*CHAT, *(argument.format(**places) for argument in arguments)]
        assert status_of(stage, command + keys * (len(arguments) > 3), how) == expected, arguments


@pytest.mark.parametrize("how", ["full", "nobody reads"])
def test_help_that_cannot_be_shown_has_failed(stage: Stage, how: str) -> None:
    assert status_of(stage, [*CHAT, "--help"], how, 1) == 1


def test_what_the_system_refuses_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setitem(_PROGRAMS, "server", refuse)
    assert main(["server"]) == 1
    assert capfd.readouterr() == ("", "chat: error: too many open files\n")


FAULTY = """
import sys
from chat.__main__ import main
from chat.server.connection import Connection

received, faults = Connection.received, [ZeroDivisionError("the key is 0x5eC8E7")]

def faulty(connection, data):
    if faults and connection.member is not None:
        raise faults.pop()
    received(connection, data)

Connection.received = faulty
sys.exit(main())
"""


def test_error_in_the_server_costs_nobody_a_message(stage: Stage) -> None:
    """It is written down; the connection that it ended comes back, and nothing is lost."""
    keys = stage.keys("server", "server")
    server = stage.run([sys.executable, "-c", FAULTY, "server", "--port", "0", *keys])
    server.expect("[+] Running on port: ", "[+] Fingerprint: ", "\n")
    port = server.out.partition("port: ")[2].partition("\n")[0]
    send = stage.start("send", "127.0.0.1", port, "Ira", "hello", *stage.keys("client", "ira"))
    assert send.end().status == 0
    server.expect("[!] There is an error in this program", "ZeroDivisionError", "[+] Ira is back.")
    server.type("TERMINATE")
    status, out, err = server.end()
    assert (status, err) == (0, "")
    assert "0x5eC8E7" not in out


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
        assert soft == min(hard, MAX_MEMBERS + MAX_PENDING + SPARE_DESCRIPTORS)
    server.type("TERMINATE")
    assert server.end().status == 0


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


# -- the clock


CLOCK = (
    "import sys, time; real = time.time; time.time = lambda: real() + {}; "
    "from chat.__main__ import main; sys.exit(main())"
)
YEARS = 365 * 86_400


def test_clocks_that_differ_are_told_with_both_times(stage: Stage) -> None:
    _, port = stage.server()
    command = [sys.executable, "-c", CLOCK.format(YEARS), "send", "127.0.0.1", str(port), "Ira"]
    result = stage.run([*command, "Hi", *stage.keys("client", "ira")]).end()
    assert (result.status, result.out) == (1, "")
    time = "[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}"
    told = re.fullmatch(
        "chat: error: one of the two clocks is wrong: what the server signed was good until "
        f"({time}), and here it is ({time})\n"
        "chat: hint: set this machine's clock right, or ask for the server's\n",
        result.err,
    )
    assert told is not None
    assert int(told[2][:4]) - int(told[1][:4]) in (0, 1)
    assert told[1] < told[2]


@pytest.mark.parametrize("years", [-1_000, -100, 30, 7_000])
def test_any_clock_that_both_have_will_do(stage: Stage, years: int) -> None:
    """Before 1970, after 2038 and beyond the calendar: no traceback, and what is said arrives."""
    chat = [sys.executable, "-c", CLOCK.format(years * YEARS)]
    server = stage.run([*chat, "server", "--port", "0", *stage.keys("server", "server")])
    server.expect("[+] Running on port: ", "\n", "[+] Fingerprint: ", "\n")
    port = server.out.split("port: ")[1].split("\n")[0]
    client = stage.run([*chat, "client", "127.0.0.1", port, "Ira", *stage.keys("client", "ira")])
    client.expect("[+] In the room: Ira\n")
    client.type("Hi")
    client.end_input()
    assert (client.end().status, client.end().err) == (0, "")
    server.type("WHO", "TERMINATE")
    result = server.end()
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_before_one_is_in_is_a_failure(stage: Stage, number: int) -> None:
    """Whoever waits for it must not take it for done."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = stage.client(mute.getsockname()[1], "Ira")
        client.expect("[+] Connected successfully.\n")
        client.signal(number)
        status, _, err = client.end()
    assert (status, err) == (1, "chat: error: interrupted\n")


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


def test_tilde_in_an_option_is_the_home(stage: Stage) -> None:
    place_key(stage.home / "keys", "server", "server")
    server = stage.start("server", "--port", "0", "--keys=~/keys")
    server.expect(f"[+] Fingerprint: {FINGERPRINT}\n")


@pytest.mark.parametrize("name", ["client_private_key.pem", "client_public_key.pem"])
@pytest.mark.parametrize("what", ["FIFO", "device"])
def test_what_is_no_file_in_place_of_a_key_ends_at_once(
    stage: Stage, tmp_path: Path, name: str, what: str
) -> None:
    path = place_key(tmp_path / "keys", "client", "ira").with_name(name)
    path.unlink(missing_ok=True)
    os.mkfifo(path) if what == "FIFO" else path.symlink_to("/dev/zero")
    result = stage.start("client", "127.0.0.1", "9", "Ira", "--keys", str(path.parent)).end()
    assert_fails(
        result,
        1,
        f"cannot use {path}: a {what}, not a file",
        "name another folder with --keys, or keep nothing with --ephemeral",
    )


def test_key_folder_that_others_can_write_is_refused(stage: Stage, tmp_path: Path) -> None:
    folder = place_key(tmp_path / "keys", "server", "server").parent
    folder.chmod(0o777)
    result = stage.start("server", "--port", "0", "--keys", str(folder)).end()
    error = f"others can change the files in {folder}"
    assert_fails(result, 1, error, f"chmod go-w {folder}")


LIMIT = """import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
os.execv(sys.argv[1], sys.argv[1:])"""
LIMITED = [sys.executable, "-c", LIMIT, *CHAT]
"""The program when it may write no more than 600 bytes to a file, as if the disk was full then."""


def test_full_disk_leaves_no_piece_of_a_key(stage: Stage) -> None:
    command = [*LIMITED, "server", "--port", "0", "--bits", "2048"]
    status, _, err = stage.run(command).end()
    assert status == 1
    assert ": file too large\n" in err
    assert files(stage.home / ".config") == ["chat"]


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
        offer = SignedShare.make(key("server"), time.time(), os.urandom)
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
        "chat: hint: if whoever runs the server confirms the new key, run this, which removes "
        f"line 1 of {known}:\n"
        f"    python -m chat forget 127.0.0.1 {impostor.port} "
        f"--keys {shlex.quote(str(known.parent))}\n"
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


def known_servers(stage: Stage, *lines: str) -> Path:
    """The list of known servers of a client, with these lines."""
    path = Path(stage.keys("client", "ira")[1]) / "known_servers"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_key_that_was_named_takes_the_place_of_another(stage: Stage, options: list[str]) -> None:
    _, port = stage.server()
    address = f"[127.0.0.1]:{port}"
    known = known_servers(stage, "# mine", f"{address} {key('other').public.openssh}")
    client = stage.client(port, "Ira", "--fingerprint", FINGERPRINT, *options)
    client.end_input()
    status, out, err = client.end()
    assert (status, err) == (0, "")
    assert "The server had another key before" in out
    assert known.read_text() == f"# mine\n{address} {key('server').public.openssh}\n"
    again = stage.client(port, "Ira", *options)
    again.end_input()
    assert again.end().status == 0


def test_revoked_key_ends_with_status_four_and_nothing_is_sent(
    stage: Stage, impostor: Impostor
) -> None:
    known = known_servers(stage, f"@revoked * {key('server').public.openssh}")
    client = stage.client(impostor.port, "Ira", "--fingerprint", FINGERPRINT)
    assert impostor.receive() == b""
    status, _, err = client.end()
    assert status == 4
    assert f"[127.0.0.1]:{impostor.port} IS REVOKED\n" in err
    assert f"line 1 of {known} revokes this one\n" in err


def test_server_is_forgotten_and_then_new(stage: Stage) -> None:
    _, port = stage.server()
    keys, address = stage.keys("client", "ira"), f"[127.0.0.1]:{port}"
    known_servers(stage, f"{address} {key('other').public.openssh}")
    changed = stage.client(port, "Ira").end()
    assert changed.status == 4
    command = shlex.split(changed.err.rpartition("    python -m chat ")[2])
    assert stage.start(*command).end() == (0, f"[+] Forgot the key {OTHER}\n", "")
    client = stage.client(port, "Ira")
    client.end_input()
    assert f"{FINGERPRINT} (new)\n" in client.end().out
    known = known_servers(stage)
    assert_fails(
        stage.start("forget", "127.0.0.1", str(port), *keys).end(),
        1,
        f"no key of the server {address} is known",
        f"the servers that are known are in {known}",
    )


def test_full_disk_leaves_known_servers_as_they_were(stage: Stage) -> None:
    _, port = stage.server()
    line = f"[elsewhere]:1 {key('other').public.openssh}"
    known = known_servers(stage, line)
    keys = stage.keys("client", "ira")
    stage.start("client", "127.0.0.1", str(free_port()), "Ira", *keys).end()
    command = [*LIMITED, "client", "127.0.0.1", str(port), "Ira", *keys]
    status, _, err = stage.run(command).end()
    assert (status, err.splitlines()[0]) == (
        1,
        f"chat: error: cannot use {known}: file too large",
    )
    assert known.read_text() == f"{line}\n"
    assert files(known.parent) == [
        "client_private_key.pem",
        "client_public_key.pem",
        "known_servers",
    ]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("folder", "is a directory"),
        ("FIFO", "a FIFO, not a file"),
        ("device", "a device, not a file"),
    ],
)
def test_list_of_known_servers_that_cannot_be_used_is_told_and_nothing_is_sent(
    stage: Stage, impostor: Impostor, what: str, said: str
) -> None:
    known = Path(stage.keys("client", "ira")[1]) / "known_servers"
    if what == "device":
        known.symlink_to("/dev/zero")
    else:
        (os.mkfifo if what == "FIFO" else os.mkdir)(known)
    client = stage.client(impostor.port, "Ira")
    assert impostor.receive() == b""
    status, _, err = client.end()
    assert status == 1
    assert err.startswith(f"chat: error: cannot use {known}: {said}\n")
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
