"""What newcomers are told, and a word at leaving, with real processes at terminals and pipes."""

import json
import re
from pathlib import Path

import pytest

from tests.support.processes import CHAT, Stage
from tests.support.terminals import PLAIN, Look, client_command, window_of


def test_topic_and_motd_are_told_to_everybody_who_comes_and_outlive_the_server(
    stage: Stage, tmp_path: Path
) -> None:
    motd = tmp_path / "motd"
    motd.write_text("be kind\nand brief\n")
    server, port = stage.server("--motd", str(motd))
    keys = stage.keys("client", "ira")
    window = window_of(stage, client_command(port, "Ira", keys))
    window.until(lambda: "    and brief" in window.lines(), "the message of the day")
    assert window.look("Message of the day:").bold
    bob = stage.client(port, "Bob", "--json", key="other")
    bob.expect('"motd", "text": "be kind\\nand brief"')
    server.type("TOPIC tea \x1b[2J at \u202efour")
    server.expect(r"[+] Everybody is told the topic: tea \x1b[2J at \u202efour")
    shown = r"[+] The topic is now: tea \x1b[2J at \u202efour"
    window.until(lambda: shown in window.lines(), shown)
    assert window.look(shown) == Look(bold=True) != PLAIN
    bob.expect('{"event": "topic", "text": "tea \\u001b[2J at \\u202efour", "since": ')
    server.type("RESTART")
    server.expect("[+] Server starts anew\n", "[+] Running on port: ")
    window.until(lambda: "in a new room" in "\n".join(window.lines()), "back")
    thea = stage.client(port, "Thea", "--json", key="sahnawaz")
    thea.expect('"entered"', '"topic"', '"changed": false}\n', '"motd"')
    # If Bob comes behind Ira, too, their joining is summed up, in the order in which they come.
    joined = re.compile(r"joined.*\bThea\b")
    window.until(lambda: joined.search("\n".join(window.lines())), "all are back")
    text = "\n".join([*window.scrolled, *window.lines()])
    assert (text.count("four"), text.count("and brief")) == (1, 1), "told once"
    thea.type('{"topic": true}')
    thea.expect('"topic"')


@pytest.mark.parametrize("content", [None, b"\xff", b"x" * 16_385])
def test_motd_that_is_of_no_use_keeps_the_server_from_starting(
    stage: Stage, tmp_path: Path, content: bytes | None
) -> None:
    motd = tmp_path / "motd"
    if content is not None:
        motd.write_bytes(content)
    keys = stage.keys("server", "server")
    server = stage.run([*CHAT, "server", "--port", "0", "--motd", str(motd), *keys])
    status, out, err = server.end()
    assert (status, out) == (1, "")
    assert err.startswith(f"chat: error: the message of the day {motd} cannot be used: ")


def test_word_at_leaving_is_shown_with_it_and_nowhere_else(stage: Stage) -> None:
    server, port = stage.server()
    plain = stage.member(port, "Bob", key="other")
    program = stage.client(port, "Thea", "--json", key="sahnawaz")
    program.expect('"entered"')
    keys = stage.keys("client", "ira")
    window = window_of(stage, client_command(port, "Ira", keys))
    window.await_rows("> |")
    window.enter("/quit so long")
    assert window.end() == 0
    plain.expect('[+] Ira left the server: "so long"\n')
    program.expect('"left"')
    lines = [json.loads(line) for line in program.out.splitlines()]
    (left,) = [line for line in lines if line["event"] == "left"]
    assert (left["name"], left["text"]) == ("Ira", "so long")
    server.expect("[+] Ira left the server.\n")
    assert "so long" not in server.out


def test_what_the_operator_says_is_seen_at_both_ends_and_not_dim(stage: Stage) -> None:
    server, port = stage.server()
    keys = stage.keys("client", "ira")
    window = window_of(stage, client_command(port, "Ira", keys))
    window.await_rows("> |")
    server.type("SAY back at noon")
    server.expect("[+] Everybody is told: back at noon\n")
    said = "[+] The server says: back at noon"
    window.until(lambda: said in "\n".join(window.lines()), said)
    assert window.look(said) == Look(bold=True)
