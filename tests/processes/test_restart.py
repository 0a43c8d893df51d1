"""Real servers that restart: everybody comes back, nothing is lost, and nothing comes twice."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.processes.test_end_to_end import is_listening
from tests.support.processes import CHAT, ROOT, Piped, Stage, await_condition
from tests.support.terminals import window_of

TOLD = "[+] The server restarts and will be back in a moment; waiting for it.\n"


def numbers_in(client: Piped) -> list[int]:
    """The numbers that Ira has said, as somebody was shown them."""
    return [int(number) for number in re.findall(r" Ira: (\d+)\n", client.out)]


def restart(stage: Stage, server: Piped, port: int, way: str) -> Piped:
    """Let the server restart; the one that runs then."""
    if way == "RESTART":
        server.type("RESTART")
        server.expect("[+] Server starts anew\n", f"[+] Running on port: {port}\n")
        return server
    server.signal(signal.SIGTERM)
    status, out, err = server.end()
    assert (status, err) == (0, "")
    assert out.endswith("[+] Server is shut down\n")
    keys = stage.keys("server", "server")
    server = stage.run([*CHAT, "server", "--port", str(port), *keys])
    server.expect("[+] Running on port: ", "[+] For a private room: ")
    return server


@pytest.mark.parametrize("way", ["RESTART", "SIGTERM"])
def test_open_and_sealed_room_survive_two_restarts_in_the_middle_of_the_talk(
    stage: Stage, way: str
) -> None:
    server, port = stage.server()
    invite = ["invite", "127.0.0.1", str(port), *stage.keys("client", "ira")]
    made = stage.start(*invite).end().out.split()[-1]
    sealed = {"CHAT_INVITE": made}
    heard: list[Piped] = []
    said: list[Piped] = []
    for env, where in (({}, ["127.0.0.1", str(port)]), (sealed, ["-"])):
        for listening, key in ((True, "other"), (False, "ira")):
            name = "Bob" if listening else "Ira"
            command = [*CHAT, "client", *where, name, *stage.keys("client", key)]
            client = stage.run(command, env=env)
            client.expect("[+] In " if listening else "Bob")
            (heard if listening else said).append(client)
    for number in range(1, 301):
        for client in said:
            client.type(str(number))
        if number in (100, 200):
            server = restart(stage, server, port, way)
            for client in heard:
                client.expect(TOLD, "[+] The connection is back, in a new room.")
    for client in said:
        client.end_input()
        assert client.end().status == 0, "every line was acknowledged"
    for client in heard:
        client.expect(" Ira: 300\n")
        assert numbers_in(client) == list(range(1, 301))
        assert client.out.count(TOLD) == 2
    server.type("TERMINATE")
    assert server.end().status == 0
    for client in heard:
        assert client.end().out.endswith("[!] The server has shut down.\n")


def test_single_message_is_sent_while_its_server_is_away(stage: Stage) -> None:
    """It is frozen in the middle, so that what `send` says waits in the kernel."""
    server, port = stage.server()
    server.freeze()
    sent = stage.start(
        *("send", "127.0.0.1", str(port), "Ira", "done"), *stage.keys("client", "ira")
    )
    server.type("RESTART")
    server.signal(signal.SIGCONT)
    status, out, err = sent.end()
    assert (status, out, err) == (0, "", "")
    server.type("TERMINATE")
    assert server.end().out.count("Message exchanged") == 1


def test_server_with_passing_keys_refuses_and_goes_on(stage: Stage) -> None:
    server, port = stage.server("--ephemeral", "--bits", "2048", keys=[])
    ira = stage.member(port, "Ira")
    server.type("RESTART", "SAY hello")
    server.expect("[!] A server with --ephemeral cannot restart: ")
    ira.expect("hello")
    server.signal(signal.SIGTERM)
    assert server.end().status == 0
    assert ira.end().out.endswith("[!] The server has shut down.\n")


# -- SIGHUP


def test_hang_up_in_the_middle_of_a_restart_ends_nothing(stage: Stage) -> None:
    server, _ = stage.server()
    admin_socket = Path(stage.keys("server", "server")[1]) / "admin.sock"
    server.type("RESTART")
    server.expect("[+] Server starts anew\n")

    def is_back() -> bool:
        server.signal(signal.SIGHUP)
        return admin_socket.exists()

    await_condition(is_back)
    server.expect("[+] Running on port: ", "[+] The lists were read again")
    server.type("TERMINATE")
    assert server.end().status == 0


def test_hang_up_by_hand_reads_the_lists_again(stage: Stage, tmp_path: Path) -> None:
    server, port = stage.server()
    ira = stage.member(port, "Ira")
    bans = Path(stage.keys("server", "server")[1]) / "bans"
    bans.write_text("not a ban\n")
    server.signal(signal.SIGHUP)
    server.expect(f"[!] Line 1 of {bans}: damaged; passed over.\n", "[+] The lists were read again")
    ira.type("still here")
    server.expect("Message exchanged")


@pytest.mark.parametrize("redirect", ["", "</dev/null >log 2>&1"])
def test_server_ends_with_its_terminal_whatever_its_streams_are(
    stage: Stage, tmp_path: Path, redirect: str
) -> None:
    port = stage.free_port()
    command = [*CHAT, "server", "--port", str(port), *stage.keys("server", "server")]
    command = ["sh", "-c", f'cd {tmp_path} && exec "$@" {redirect}', "sh", *command]
    window = window_of(stage, command, PYTHONPATH=str(ROOT))
    await_condition(lambda: is_listening(port))
    bob = stage.member(port, "Bob", key="other")
    os.kill(window.pid, signal.SIGHUP)
    bob.type("one")
    bob.type("two")
    window.close()
    status, out, _ = bob.end()
    assert (status, out.endswith("[!] The server has shut down.\n")) == (1, True)
    await_condition(lambda: not is_listening(port))
