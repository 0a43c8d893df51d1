"""`send`, and lines from a pipe: what they take, what they say of it, and that they wait."""

import json

import pytest

from tests.support.processes import Stage
from tests.support.terminals import client_command, window_of


def command(stage: Stage, port: int, *more: str) -> list[str]:
    return ["send", "127.0.0.1", str(port), "Ira", *stage.keys("client", "ira"), *more]


def test_words_are_one_message_and_without_any_standard_input_is_one(stage: Stage) -> None:
    _, port = stage.server()
    listener = stage.member(port, "listener", key="other")
    assert stage.start(*command(stage, port, "hello", "world", "--", "--fail")).end() == (0, "", "")
    listener.expect(" Ira: hello world --fail\n")
    script = stage.start(*command(stage, port))
    script.type("from a pipe")
    script.end_input()
    assert script.end() == (0, "", "")
    listener.expect(" Ira: from a pipe\n")


def test_script_says_as_json_what_became_of_its_message(stage: Stage) -> None:
    _, port = stage.server()
    status, out, err = stage.start(*command(stage, port, "Hi", "--json")).end()
    told = json.loads(out)
    assert (status, err, told["event"], told["text"]) == (0, "", "acknowledged", "Hi")
    status, out, err = stage.start(*command(stage, stage.free_port(), "Hi", "--json")).end()
    told = json.loads(out)
    assert (status, told["event"], told["exit_status"]) == (1, "error", 1)
    assert err.startswith(f"chat: error: {told['text']}\n")


def test_output_of_a_tool_is_stripped(stage: Stage) -> None:
    _, port = stage.server()
    listener = stage.member(port, "listener", key="other")
    script = stage.start(*command(stage, port, "--strip"))
    script.type(" 10%\r100%", "\x1b[32mpassed\x1b[m")
    script.end_input()
    assert script.end() == (0, "", "")
    listener.expect(" Ira: 100%\n    passed\n")
    assert stage.start(*command(stage, port, "--strip", "\x1b[1mbold\x1b[m")).end().status == 0
    listener.expect(" Ira: bold\n")
    status, _, err = stage.start(*command(stage, port, "--strip", "\x1b[m")).end()
    assert (status, err) == (2, "chat: error: a message has at least one character\n")
    pipe = stage.client(port, "pipe", "--strip", key="sahnawaz")
    pipe.type("\x1b[31mred\x1b[m\r")
    pipe.end_input()
    listener.expect(" pipe: red\n")


@pytest.mark.parametrize("patience", ["forever", "100"])
def test_script_that_comes_before_its_server_waits_for_it(stage: Stage, patience: str) -> None:
    port = stage.free_port()
    early = stage.start(
        *command(stage, port, "--patience", patience, "good morning"), redirect="2>&1"
    )
    early.expect("chat: warning: cannot reach 127.0.0.1 port", "; trying again\n")
    stage.server("--port", str(port))
    status, out, _ = early.end()
    assert (status, out.count("\n")) == (0, 1)


def test_plain_terminal_shows_each_line_once_and_no_codes(stage: Stage) -> None:
    _, port = stage.server()
    thea = stage.member(port, "Thea", key="other")
    options = client_command(port, "Ira", stage.keys("client", "ira"), "--plain")
    window = window_of(stage, [*options, "--color", "always"])
    window.await_screen("[+] In the room: Thea, Ira")
    window.enter("hello there")
    thea.expect(" Ira: hello there\n")
    thea.type("hello Ira")
    window.await_screen("Thea: hello Ira")
    window.enter("/quit")
    assert window.end() == 0
    assert b"\x1b" not in window.written
    assert b"\a" not in window.written
    assert window.written.count(b"hello there") == 1
    # The person asked for it.
    assert b"Plain input" not in window.written
