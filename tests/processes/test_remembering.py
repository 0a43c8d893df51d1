"""What a person can look up later, and who comes and goes meanwhile: /last, --log, /quiet, /clear,
and a client that only listens."""

import re
import signal
from collections.abc import Callable

import pytest

from tests.support.processes import Stage, await_condition
from tests.support.terminals import Window, client_command, window_of

Sit = Callable[..., Window]


@pytest.fixture
def port(stage: Stage) -> int:
    return stage.server()[1]


@pytest.fixture
def sit(stage: Stage, port: int) -> Sit:
    """Begins Ira's client at a terminal."""

    def begin(*options: str) -> Window:
        command = client_command(port, "Ira", stage.keys("client", "ira"), *options)
        window = window_of(stage, command)
        window.await_screen("[+] In the room: ")
        return window

    return begin


def test_strangers_are_summed_up_and_whom_one_talks_with_is_shown(
    stage: Stage, port: int, sit: Sit
) -> None:
    ira = sit()
    thea = stage.member(port, "Thea", key="other")
    ira.await_rows("[+] New person joined the room. Username: Thea", "> |")
    zoe = stage.member(port, "Zoe", key="sahnawaz")
    ira.await_rows("[+] 2 joined: Thea, Zoe", "> |")
    thea.type("Hi")
    ira.await_rows("[+] 2 joined: Thea, Zoe", "Thea: Hi", "> |")
    for guest in (zoe, thea):
        guest.end_input()
        guest.end()
    ira.await_rows("[+] Zoe left the server.", "[+] Thea left the server.", "> |")
    ira.enter("/last joined")
    ira.await_rows(
        '── 2 with "joined" ──',
        "[+] New person joined the room. Username: Thea",
        "[+] New person joined the room. Username: Zoe",
        "── now ──",
        "> |",
    )
    ira.enter("/quiet off")
    stage.member(port, "Thea", key="other")
    ira.await_rows("[+] New person joined the room. Username: Thea", "> |")


def test_scrollback_is_cleared_when_it_is_asked_for(stage: Stage, port: int, sit: Sit) -> None:
    ira = sit()
    stage.member(port, "Thea", key="other")
    ira.await_screen("Username: Thea")
    ira.enter("/clear")
    notice = "[+] The scrollback still has what left the window; /clear all takes it."
    ira.until(lambda: ira.rows() == [notice, "> |"], "nobody who came before is told of")
    assert b"\x1b[3J" not in ira.written
    ira.enter("/clear all")
    ira.until(lambda: b"\x1b[2J\x1b[3J" in ira.written)
    ira.await_rows("> |")
    assert len(ira.rows()) == 1


def test_log_has_what_all_have_said_at_a_terminal_and_in_a_pipe(
    stage: Stage, port: int, sit: Sit
) -> None:
    thea_log, ira_log = stage.folder / "thea.log", stage.folder / "ira.log"
    thea = stage.member(port, "Thea", "--log", str(thea_log), key="other")
    ira = sit("--log", str(ira_log))
    ira.enter("hello", "/msg thea psst")
    thea.expect("psst\n")
    thea.type("one line")
    ira.await_screen("Thea: one line")
    thea.end_input()
    assert thea.end().status == 0
    ira.await_screen("Thea left the server.")
    ira.enter("/quit")
    assert ira.end() == 0
    date = "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} "
    said = {
        path: re.sub(date, "", path.read_text(), flags=re.M).splitlines()
        for path in (thea_log, ira_log)
    }
    assert said[thea_log] == [
        "[+] In the room: Thea",
        "[+] New person joined the room. Username: Ira",
        "Ira: hello",
        "Ira → you [private]: psst",
        "Thea: one line",
    ]
    assert said[ira_log] == [
        "[+] In the room: Thea, Ira",
        "Ira: hello",
        "you → Thea [private]: psst",
        "Thea: one line",
        "[+] Thea left the server.",
    ]
    assert ira_log.stat().st_mode & 0o777 == 0o600


def test_log_that_cannot_be_written_is_an_error_before_anything_is_dialled(stage: Stage) -> None:
    log = stage.folder / "log"
    log.touch(mode=0o644)
    client = stage.client(stage.free_port(), "Ira", "--log", str(log))
    status, out, err = client.end()
    assert (status, out) == (1, "")
    assert err.startswith(f"chat: error: cannot use the log {log}: others can read or change it")


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_client_listens_until_it_is_told_to_go(stage: Stage, port: int, json: list[str]) -> None:
    logger = stage.client(port, "logger", "--listen", *json, redirect="</dev/null")
    logger.expect("logger")
    ira = stage.member(port, "Ira", key="other")
    ira.type("heard")
    logger.expect("heard")
    logger.signal(signal.SIGTERM)
    assert logger.end().status == 0
    ira.expect("logger left the server.")


def test_listener_ends_well_with_its_server(stage: Stage) -> None:
    server, port = stage.server()
    logger = stage.client(port, "logger", "--listen", redirect="</dev/null")
    logger.expect("[+] In the room: logger\n")
    server.type("TERMINATE")
    status, out, err = logger.end()
    assert (status, err) == (0, "")
    assert out.endswith("[!] The server has shut down.\n")


def test_file_is_written_anew_when_it_was_moved_away(stage: Stage, port: int) -> None:
    log = stage.folder / "log"
    ira = stage.member(port, "Ira", "--log", str(log))
    ira.type("one")
    await_condition(lambda: "Ira: one" in log.read_text())
    log.rename(stage.folder / "log.1")
    ira.type("two")
    await_condition(lambda: log.exists() and "Ira: two\n" in log.read_text())
    assert "two" not in (stage.folder / "log.1").read_text()
