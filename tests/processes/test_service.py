"""The server under a service manager: what it is handed, what it tells, and the units for it."""

import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.test_end_to_end import is_listening
from tests.support.processes import CHAT, DEADLINE_SECONDS, ROOT, Stage

HAND_OVER = """
import fcntl, os, socket, sys
sockets = [socket.socket(type=getattr(socket, kind)) for kind in sys.argv[1].split()]
for one in sockets:
    one.bind(("127.0.0.1", 0))
    if one.type == socket.SOCK_STREAM:
        one.listen()
spare = [fcntl.fcntl(one, fcntl.F_DUPFD, 20) for one in sockets]
for number, one in enumerate(spare, 3):
    os.dup2(one, number)
os.environ.update(LISTEN_FDS=str(len(spare)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""A program that opens these sockets and becomes another one, to which it hands them."""


def handed(kinds: str) -> list[str]:
    return [sys.executable, "-c", HAND_OVER, kinds, *CHAT, "server"]


def test_manager_hands_two_sockets_and_hears_of_start_restart_reload_and_stop(
    stage: Stage, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE_SECONDS)

        def hear(*expected: str) -> None:
            for line in expected:
                assert manager.recv(4096).decode().startswith(line)

        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        command = [*handed("SOCK_STREAM SOCK_STREAM"), *stage.keys("server", "server")]
        server = stage.run(command, env=env)
        server.expect("[+] Running on host: 127.0.0.1, 127.0.0.1\n", "[+] Fingerprint: ")
        hear("READY=1", "STATUS=people: 0")
        (port,) = map(int, re.findall("port: ([0-9]+)", server.out))
        assert is_listening(port)
        server.type("RESTART")
        hear("RELOADING=1", "READY=1", "STATUS=people: 0")
        assert is_listening(port)
        server.signal(signal.SIGHUP)
        hear("RELOADING=1", "READY=1")
        server.signal(signal.SIGTERM)
        hear("STOPPING=1")
        assert server.end().status == 0


@pytest.mark.parametrize(("kinds", "number"), [("SOCK_DGRAM", 3), ("SOCK_STREAM SOCK_DGRAM", 4)])
def test_socket_that_is_not_for_connections_is_refused(
    stage: Stage, kinds: str, number: int
) -> None:
    status, out, err = stage.run([*handed(kinds), *stage.keys("server", "server")]).end()
    assert (status, out) == (1, "")
    expected = f"chat: error: LISTEN_FDS: the descriptor {number} does not listen for TCP\n"
    assert err == expected


# -- the units

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="the package systemd is not installed"
)
PACKAGING = ROOT / "packaging"


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


@needs_systemd
def test_units_are_understood_by_systemd(tmp_path: Path) -> None:
    service = (PACKAGING / "chatapp.service").read_text()
    # It looks whether the program is there.
    here = service.replace("/opt/chatapp/bin/chatapp server", f"{sys.executable} -m chat server")
    assert here != service
    (tmp_path / "chatapp.service").write_text(here)
    shutil.copy(PACKAGING / "chatapp.socket", tmp_path)
    units = sorted(tmp_path.iterdir())
    done = analyze("verify", "--man=no", *units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_service_is_exposed_as_little_as_a_network_service_can_be() -> None:
    done = analyze("security", "--offline=true", "--threshold=20", PACKAGING / "chatapp.service")
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_checks_of_the_units_can_fail(tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text(f"[Service]\nExecStart={sys.executable}\nNoSuchThing=1\n")
    assert "NoSuchThing" in analyze("verify", "--man=no", bare).stderr
    assert analyze("security", "--offline=true", "--threshold=20", bare).returncode != 0
