"""A server that is operated as a service, with real processes: by `admin`, from the room, by its
log."""

import json
import re
import signal
from contextlib import closing
from pathlib import Path

import pytest

from chat.files.adminsocket import AdminSocket
from tests.support.processes import Result, Stage, await_condition


def admin(stage: Stage, *words: str, keys: list[str] | None = None, typed: str = "") -> Result:
    """What `admin` does with these words."""
    keys = stage.keys("server", "server") if keys is None else keys
    process = stage.start("admin", *keys, *words)
    process.type(*typed.splitlines())
    process.end_input()
    return process.end()


def test_service_is_operated_over_its_socket_and_its_log_says_who_came(
    stage: Stage, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    server, port = stage.server("--log", str(log), "--quiet")
    assert admin(stage, "ROOMS") == Result(0, "[+] The open room: 0\n", "")
    ira = stage.member(port, "Ira")
    who = admin(stage, "WHO")
    assert (who.status, who.err) == (0, "")
    assert re.search(r"\[\+\] Ira, since .*, SHA256:\S+, from 127\.0\.0\.1:\d+\n", who.out)
    several = admin(stage, "-", typed="TOPIC tea\n\nKICK Zoe\nSAY one two\n")
    assert several == Result(
        1,
        "[+] Everybody is told the topic: tea\n[+] Everybody is told: one two\n",
        "[!] Nobody here is called Zoe.\n",
    )
    ira.expect("tea", "The server says: one two")
    log.rename(tmp_path / "log.1")
    server.signal(signal.SIGHUP)
    await_condition(log.exists)
    assert admin(stage, "KICK", "Ira") == Result(0, "[+] Ira is put out.\n", "")
    assert ira.end().status == 3
    assert admin(stage, "TERMINATE") == Result(0, "[+] The server ends, for everybody.\n", "")
    status, out, err = server.end()
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("[+] For a private room: "), (
        "nothing but the first lines"
    )
    before, after = (tmp_path / "log.1").read_text(), log.read_text()
    assert re.findall("event=([a-z]+)", before) == ["started", "joined", "operator", "operator"]
    assert re.findall("event=([a-z]+)", after) == ["kicked", "operator", "operator", "stopped"]
    assert "one two" not in before
    gone = admin(stage, "WHO")
    assert gone.status == 1
    assert gone.err.startswith("chat: error: no server runs with the keys in ")


def test_socket_outlives_a_restart_and_a_kill_and_belongs_to_the_first_of_two(
    stage: Stage,
) -> None:
    server, _ = stage.server()
    assert admin(stage, "restart").out == "[+] The server starts anew, and everybody comes back.\n"
    server.expect("[+] admin: RESTART\n", "[+] Server starts anew\n", "[+] For a private room: ")
    assert admin(stage, "ROOMS").status == 0
    server.signal(signal.SIGKILL)
    server.wait()
    first, _ = stage.server()
    second, _ = stage.server()
    second.expect("[!] There is no admin socket: another server with the same keys has ")
    assert admin(stage, "TERMINATE").status == 0
    assert first.end().status == 0
    second.type("TERMINATE")
    assert second.end().status == 0


def test_server_that_does_not_answer_is_not_waited_for_once_it_is_gone(stage: Stage) -> None:
    server, _ = stage.server()
    server.freeze()
    asked = stage.start("admin", *stage.keys("server", "server"), "WHO")
    server.signal(signal.SIGKILL)
    assert asked.end()[0] == 1


def test_server_of_others_cannot_act_on_the_terminal_of_root(stage: Stage) -> None:
    keys = stage.keys("server", "server")
    with closing(AdminSocket(Path(keys[1]) / "admin.sock")) as theirs:
        asked = stage.start("admin", *keys, "WHO")
        theirs.listener.setblocking(True)
        with theirs.listener.accept()[0] as caller:
            assert caller.recv(100) == b"WHO\n"
            caller.sendall(b" \x1b]0;root\a\xc2\x9b2J\r\ndone\n")
            assert asked.end() == Result(0, "\\x1b]0;root\\x07\\x9b2J\\r\n", "")


def test_ephemeral_server_has_no_socket(stage: Stage) -> None:
    server, _ = stage.server("--ephemeral")
    assert admin(stage, "WHO").status == 1
    server.type("TERMINATE")
    assert "admin socket" not in server.end().out


@pytest.mark.parametrize("words", [[], [" "], ["SAY a\nTERMINATE"]])
def test_what_is_no_command_is_misuse(stage: Stage, words: list[str]) -> None:
    server, _ = stage.server()
    assert admin(stage, *words).status == 2
    server.type("TERMINATE")
    assert server.end().status == 0


def test_member_on_the_list_operates_the_server_from_the_room_with_json(stage: Stage) -> None:
    server, port = stage.server()
    ira = stage.client(port, "Ira", "--json")
    eve = stage.client(port, "Eve", "--json", key="other")
    for client in (ira, eve):
        client.expect('"entered"')
    ira.type('{"op": "ROOMS"}')
    ira.expect('{"event": "answer", "command": "ROOMS", "done": false, "lines": ["You are no ')
    who = admin(stage, "WHO").out
    fingerprint = re.search(r"Ira, .*(SHA256:\S+),", who)
    assert fingerprint is not None
    Path(stage.keys("server", "server")[1], "operators").write_text(f"{fingerprint[1]} Ira\n")
    ira.type('{"op": "KICK Eve"}')
    answer = {"event": "answer", "command": "KICK Eve", "done": True, "lines": ["Eve is put out."]}
    ira.expect(json.dumps(answer))
    assert eve.end().status == 3
    server.expect(f"[+] Ira, {fingerprint[1]}: KICK Eve\n")
    ira.type('{"op": "TERMINATE"}')
    ira.expect('"command": "TERMINATE", "done": true', '{"event": "closed"}')
    assert server.end().status == 0
