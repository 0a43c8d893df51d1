"""The command line: arguments, keys, first contact, and how every failure is told."""

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

from chat.kex import SignedShare
from chat.limits import MAX_MEMBERS, MAX_PENDING, SPARE_DESCRIPTORS
from chat.wire import PROTOCOL, Hello
from tests.support.helpers import key
from tests.support.processes import CHAT, DEADLINE_SECONDS, Result, Stage
from tests.support.terminals import client_command, window_of

FINGERPRINT = key("server").public.fingerprint
HALVES = ("private", "public")


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


def test_misuse_of_a_process_leaves_no_traceback(stage: Stage) -> None:
    status, out, err = stage.start("client", "localhost", "9443", os.fsdecode(b"\xff")).end()
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == "chat: error: a name has printable characters only"
    assert err.splitlines()[1].startswith("chat: hint: usage: python -m chat client ")


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", ""])
def test_status_is_the_same_where_nobody_can_be_told(stage: Stage, redirect: str) -> None:
    forget = ["forget", "127.0.0.1", "9", *stage.keys("client", "ira")]
    for arguments, status in ((["server", "--port", "x"], 2), (forget, 1)):
        process = stage.start(*arguments, redirect=redirect)
        if not redirect:
            process.stop_reading(2)
        assert process.end().status == status


def test_help_is_a_success_where_nobody_is_to_be_shown_it(stage: Stage) -> None:
    assert stage.start("--help", redirect=">&-").end().status == 0


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


BLOCKING = (
    "import sys; sys.modules.update(dict.fromkeys({!r})); "
    "from chat.__main__ import main; sys.exit(main())"
)


@pytest.mark.parametrize("module", ["Cryptodome", "Cryptodome.Protocol.DH"], ids=["none", "old"])
def test_missing_package_is_told_with_the_remedy(stage: Stage, module: str) -> None:
    command = [sys.executable, "-c", BLOCKING.format([module]), "client", "127.0.0.1", "9", "Ira"]
    assert_fails(
        stage.run(command).end(),
        1,
        "the package pycryptodomex (3.21 or newer) is not installed",
        f"{sys.executable} -m pip install 'pycryptodomex>=3.21'",
    )


@pytest.mark.parametrize("module", ["fcntl", "resource", "termios"])
def test_system_that_is_no_unix_is_told_so(stage: Stage, module: str) -> None:
    command = [sys.executable, "-c", BLOCKING.format([module]), "server"]
    text = "chat runs on Linux, macOS and other Unix systems; on Windows use WSL"
    assert_fails(stage.run(command).end(), 1, text)


@pytest.mark.parametrize("buffering", ["PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED="])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["send", "-h"]])
def test_help_that_cannot_be_written_is_a_failure(
    stage: Stage, arguments: list[str], buffering: str
) -> None:
    command = ["env", buffering, *CHAT, *arguments]
    assert_fails(stage.run(command, redirect=">/dev/full").end(), 1, "no space left on device")


def test_help_needs_nothing(stage: Stage) -> None:
    missing = ["Cryptodome", "fcntl", "resource", "termios"]
    status, out, err = stage.run([sys.executable, "-c", BLOCKING.format(missing), "-h"]).end()
    assert (status, err) == (0, "")
    assert out.startswith("usage: ")


# -- the system


def test_error_fits_into_a_narrow_window(stage: Stage) -> None:
    command = client_command(stage.free_port(), "Ira", stage.keys("client", "ira"))
    window = window_of(stage, command, 40)
    assert window.end() == 1
    assert window.lines()[-2:] == [
        "chat: hint: is the server running, and",
        "    is this its port?",
    ]


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
    server, port = stage.server(chat=[sys.executable, "-c", FAULTY])
    send = stage.start("send", "127.0.0.1", str(port), "Ira", "hello", *stage.keys("client", "ira"))
    assert send.end().status == 0
    server.expect("[!] There is an error in this program", "ZeroDivisionError", "Message exchanged")
    server.type("TERMINATE")
    status, out, err = server.end()
    assert (status, err) == (0, "")
    assert "0x5eC8E7" not in out


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of others cannot be seen here")
def test_server_takes_as_many_descriptors_as_it_may(stage: Stage) -> None:
    server, _ = stage.server(chat=["sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh", *CHAT])
    soft, hard = resource.prlimit(server.popen.pid, resource.RLIMIT_NOFILE)
    assert soft == min(hard, MAX_MEMBERS + MAX_PENDING + SPARE_DESCRIPTORS)


# -- the clock


CLOCK = (
    "import sys, time; real = time.time; time.time = lambda: real() + {}; "
    "from chat.__main__ import main; sys.exit(main())"
)
YEARS = 365 * 86_400


@pytest.mark.parametrize("years", [-1_000, 7_000])
def test_any_clock_that_both_have_will_do(stage: Stage, years: int) -> None:
    """Before 1970, after 2038 and beyond the calendar: no traceback, and what is said arrives."""
    chat = [sys.executable, "-c", CLOCK.format(years * YEARS)]
    server, port = stage.server(chat=chat)
    client = stage.client(port, "Ira", chat=chat)
    client.expect("[+] In the room: Ira\n")
    client.type("Hi")
    client.end_input()
    assert (client.end().status, client.end().err) == (0, "")
    server.type("WHO", "TERMINATE")
    result = server.end()
    assert (result.status, result.err) == (0, "")


def test_signal_before_one_is_in_is_a_failure(stage: Stage) -> None:
    """Whoever waits for it must not take it for done."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = str(mute.getsockname()[1])
        send = stage.start("send", "127.0.0.1", port, "Ira", "Hi", *stage.keys("client", "ira"))
        with mute.accept()[0]:
            send.signal(signal.SIGINT)
            assert send.end() == (1, "", "chat: error: interrupted\n")


# -- key files


def test_keys_are_made_at_the_first_run_and_used_again(stage: Stage) -> None:
    server, port = stage.server("--bits", "2048", keys=[])
    assert server.out.startswith("[+] Making a new RSA key, which takes a moment\n")
    client = stage.start("client", "127.0.0.1", str(port), "Ira", "--bits", "2048")
    client.expect("[+] Making a new RSA key, which takes a moment\n", "[+] In the room: Ira\n")
    client.type("EXIT")
    assert client.end().status == 0
    again = stage.start("client", "127.0.0.1", str(port), "Ira")
    again.end_input()
    status, out, err = again.end()
    assert (status, err) == (0, "")
    assert "Making" not in out
    assert "    known since 20" in out
    server.type("TERMINATE")
    assert server.end().err == ""
    folder = stage.home / ".config/chat"
    names = [f"{role}_{half}_key.pem" for role in ("client", "server") for half in HALVES]
    assert files(folder) == sorted([*names, "known_servers", "names"])
    for role in ("client", "server"):
        pem = (folder / f"{role}_private_key.pem").read_bytes()
        assert RSA.import_key(pem).size_in_bits() == 2048
    fingerprint = server.out.split("Fingerprint: ")[1].split("\n")[0]
    second, _ = stage.server(keys=[])
    assert f"[+] Fingerprint: {fingerprint}\n" in second.out
    assert "Making" not in second.out


def test_ephemeral_run_writes_nothing(stage: Stage) -> None:
    options = ["--bits", "2048", "--ephemeral"]
    server, port = stage.server(*options, keys=[])
    guest = stage.member(port, "Thea", key="other")
    client = stage.start("client", "127.0.0.1", str(port), "Ira", *options)
    client.expect("[+] In the room: Thea, Ira\n")
    client.type("Hi", "EXIT")
    status, out, err = client.end()
    assert (status, err) == (0, "")
    assert "    new: compare it " in out
    guest.type("EXIT")
    assert guest.end().status == 0
    server.type("TERMINATE")
    assert server.end().status == 0
    assert files(stage.home) == []


def test_one_message_keeps_nothing_of_the_members(stage: Stage) -> None:
    _, port = stage.server()
    guest = stage.member(port, "Thea", key="other")
    keys = stage.keys("client", "ira")
    sent = stage.start("send", "127.0.0.1", str(port), "Ira", *keys, "Hi")
    assert sent.end() == (0, "", "")
    guest.expect("Ira: Hi\n")
    assert "known_members" not in os.listdir(keys[1])


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


def known_servers(stage: Stage) -> Path:
    """The list of the servers that the client knows."""
    return Path(stage.keys("client", "ira")[1]) / "known_servers"


def know_another_key(stage: Stage, impostor: Impostor) -> tuple[Path, str]:
    """Write it where the client looks; the list, and what it holds now."""
    known = known_servers(stage)
    known.write_text(f"[127.0.0.1]:{impostor.port} {key('other').public.openssh}\n")
    return known, known.read_text()


def test_first_contact_is_remembered(stage: Stage) -> None:
    _, port = stage.server()
    known = known_servers(stage)
    line = f"[127.0.0.1]:{port} {key('server').public.openssh} 20"
    for state in ("new: compare it with the one", "known since 20"):
        client = stage.client(port, "Ira")
        client.end_input()
        status, out, err = client.end()
        assert (status, err) == (0, "")
        assert f"[+] The server 127.0.0.1 has the key\n    {FINGERPRINT}\n    {state}" in out
        assert known.read_text().startswith(line)


def test_changed_key_ends_with_status_four_and_nothing_is_sent(
    stage: Stage, impostor: Impostor
) -> None:
    known, line = know_another_key(stage, impostor)
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
    assert not known_servers(stage).exists()


def test_key_that_was_named_takes_the_place_of_another(stage: Stage) -> None:
    _, port = stage.server()
    known = known_servers(stage)
    address = f"[127.0.0.1]:{port}"
    known.write_text(f"# mine\n{address} {key('other').public.openssh}\n")
    client = stage.client(port, "Ira", "--fingerprint", FINGERPRINT)
    client.end_input()
    status, out, err = client.end()
    assert (status, err) == (0, "")
    assert "The server had another key before" in out
    assert f"{FINGERPRINT}\n    as you have named it\n" in out
    assert known.read_text().startswith(f"# mine\n{address} {key('server').public.openssh} 20")


def test_ephemeral_client_knows_known_servers_and_remembers_no_new_one(
    stage: Stage, impostor: Impostor
) -> None:
    known, line = know_another_key(stage, impostor)
    client = stage.client(impostor.port, "Ira", "--ephemeral", "--bits", "2048")
    assert impostor.receive() == b""
    assert client.end().status == 4
    assert known.read_text() == line


AS_IRA = """
import pwd, sys
pwd.getpwuid = lambda _uid: pwd.struct_passwd(["ira", "x", 1000, 1000, "", "/", "/bin/sh"])
from chat.__main__ import main
sys.exit(main())
"""


def test_person_who_gives_no_name_is_told_which_one_it_is(stage: Stage) -> None:
    _, port = stage.server()
    said = "[+] You are ira, as you are logged in. --name gives another.\n"
    for more, told in (([], True), (["--name", "Zoe"], False)):
        place = ["client", f"127.0.0.1:{port}", *more, *stage.keys("client", "ira")]
        client = stage.run([sys.executable, "-c", AS_IRA, *place])
        client.end_input()
        status, out, err = client.end()
        assert (status, err) == (0, "")
        assert out.startswith(said) == told
        assert f"In the room: {'ira' if told else 'Zoe'}\n" in out
