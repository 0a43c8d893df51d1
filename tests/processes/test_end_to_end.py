"""Real processes: the conversation this program grew out of, and what becomes of one in trouble."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

from chat.limits import CONSOLE_QUEUE_BYTES, MAX_TEXT_BYTES
from tests.client.test_client import FINGERPRINT, LOADING_ROSTER
from tests.support.helpers import key
from tests.support.processes import (
    CHAT,
    NameServer,
    Piped,
    Stage,
    await_condition,
    place_key,
    without_times,
    zone_file,
)
from tests.support.terminals import Window, client_command, window_of

ON_THE_WAY_IN = "".join(f"{line}\n" for line in LOADING_ROSTER)
ENDED = "[+] All connections had been terminated\n[+] Server is shut down\n"


def assert_ends_well(process: Piped) -> str:
    """It ends with status 0 and without complaint; what it has shown."""
    status, out, err = process.end()
    assert (status, err) == (0, "")
    return out


def assert_ends_with_the_room(client: Piped) -> str:
    """The server shuts down while more may come from the client's pipe; what the client has
    shown."""
    status, out, err = client.end()
    error = "the server has shut down before the end of the input"
    assert (status, err) == (1, f"chat: error: {error}\n")
    assert out.endswith("[!] The server has shut down.\n")
    return out


def test_journal_follows_a_connection_and_holds_no_text_and_no_name(
    stage: Stage, tmp_path: Path
) -> None:
    server, port = stage.server(env={"CHAT_LOG": str(tmp_path / "server")})
    env = {"CHAT_LOG": str(tmp_path / "client")}
    piped = stage.client(port, "Sahnawaz", host="localhost", env=env)
    piped.type("the words", "EXIT")
    assert_ends_well(piped)
    server.type("TERMINATE")
    assert_ends_well(server)
    steps = {
        "client": ["tries 127.0.0.1", "connected to", "AWAIT_SESSION_KEY -> RELAY", "LIVE", "Bye"],
        "server": ["listens on 127.0.0.1:", "accepted from", "is member 1", "Submit", "closed"],
    }
    for end, expected in steps.items():
        journal = (tmp_path / end).read_text()
        assert re.search(".*".join(map(re.escape, expected)), journal, flags=re.S), journal
        assert not re.search("words|Sahnawaz", journal), journal
    wrong = stage.client(port, "Ira", env={"CHAT_LOG": str(tmp_path)}).end()
    error = f"chat: error: CHAT_LOG: {tmp_path} cannot be written: is a directory\n"
    assert wrong == (2, "", error)


# -- the conversation


def test_conversation_through_pipes(stage: Stage) -> None:
    server, port = stage.server()
    sahnawaz = stage.member(port, "sahnawaz", key="sahnawaz")
    ira = stage.member(port, "Ira", key="ira")
    sahnawaz.expect("[+] New person joined the room. Username: Ira\n")
    zofia = stage.member(port, "Žofia 漢", key="other")
    for process in (sahnawaz, ira):
        process.expect("[+] New person joined the room. Username: Žofia 漢\n")
    ira.type("Hi")
    sahnawaz.expect(" Ira: Hi\n")
    zofia.expect(" Ira: Hi\n")
    sahnawaz.type("Hello Ira")
    ira.expect(" sahnawaz: Hello Ira\n")
    zofia.expect(" sahnawaz: Hello Ira\n")
    zofia.type("Grüße aus 北京 👋🏽")
    ira.expect(" Žofia 漢: Grüße aus 北京 👋🏽\n")
    sahnawaz.expect(" Žofia 漢: Grüße aus 北京 👋🏽\n")
    ira.type("EXIT")
    sahnawaz.expect("[+] Ira left the server.\n")
    zofia.end_input()
    sahnawaz.expect("[+] Žofia 漢 left the server.\n")
    sahnawaz.type("EXIT")
    assert without_times(assert_ends_well(ira)) == (
        ON_THE_WAY_IN + "[+] In the room: sahnawaz, Ira\n"
        "[+] New person joined the room. Username: Žofia 漢\n"
        "<time> sahnawaz: Hello Ira\n"
        "<time> Žofia 漢: Grüße aus 北京 👋🏽\n"
    )
    assert without_times(assert_ends_well(sahnawaz)) == (
        ON_THE_WAY_IN + "[+] In the room: sahnawaz\n"
        "[+] New person joined the room. Username: Ira\n"
        "[+] New person joined the room. Username: Žofia 漢\n"
        "<time> Ira: Hi\n"
        "<time> Žofia 漢: Grüße aus 北京 👋🏽\n"
        "[+] Ira left the server.\n"
        "[+] Žofia 漢 left the server.\n"
    )
    assert_ends_well(zofia)
    server.expect("[+] sahnawaz left the server.\n")
    server.type("TERMINATE")
    assert without_times(assert_ends_well(server)) == (
        "[+] Running on host: 127.0.0.1\n"
        f"[+] Running on port: {port}\n"
        f"[+] Fingerprint: {FINGERPRINT}\n"
        "[+] Only this machine can connect; --host :: lets others in.\n"
        f"[+] Others join with: python -m chat client 127.0.0.1 {port} "
        f"--fingerprint {FINGERPRINT}\n"
        f"[+] For a private room: python -m chat invite 127.0.0.1 {port} "
        f"--fingerprint {FINGERPRINT}\n"
        "[+] New connection. Username: sahnawaz\n"
        "[+] Client public key had been received\n"
        "[+] Secret key had been sent to the client\n"
        "[+] New connection. Username: Ira\n"
        "[+] Broadcast message:  New person joined the room. Username: Ira\n"
        "[+] Client public key had been received\n"
        "[+] Secret key had been sent to the client\n"
        "[+] New connection. Username: Žofia 漢\n"
        "[+] Broadcast message:  New person joined the room. Username: Žofia 漢\n"
        "[+] Client public key had been received\n"
        "[+] Secret key had been sent to the client\n"
        "<time> Message exchanged\n"
        "<time> Message exchanged\n"
        "<time> Message exchanged\n"
        "[+] Ira left the server.\n"
        "[+] Žofia 漢 left the server.\n"
        "[+] sahnawaz left the server.\n" + ENDED
    )


def window(stage: Stage, command: list[str], **env: str) -> Window:
    """Any command at a terminal, which ends when the test does."""
    return window_of(stage, command, 200, 24, **{"TERM": "dumb", **env})


def test_server_whose_address_has_changed_is_found_again(stage: Stage) -> None:
    names = NameServer(stage.folder, "127.0.0.1")
    port = stage.free_port()
    server, _ = stage.server("--port", str(port))
    ira = stage.client(port, "Ira", chat=names.chat, host="chat.example")
    ira.expect("[+] In the room: Ira\n")
    server.kill()
    names.answer("127.0.0.2")
    server, _ = stage.server("--host", "127.0.0.2", "--port", str(port))
    ira.expect("[+] The connection is back, in a new room.\n")
    ira.type("Hi", "EXIT")
    assert_ends_well(ira)
    server.expect(" Message exchanged\n")


ASLEEP = """
import sys, chat.session, chat.sleep
from pathlib import Path
from types import SimpleNamespace
night = Path(sys.argv.pop(1))
chat.sleep.time = SimpleNamespace(
    CLOCK_REALTIME=0, monotonic=lambda: 0.0, clock_gettime=lambda _: 3600.0 * night.exists()
)
chat.session.AWAKE_PONG_SECONDS = 0
from chat.__main__ import main
sys.exit(main())
"""
"""A client whose machine has slept once a file is there, and which gives no time to answer then."""


def test_client_whose_machine_has_slept_doubts_the_connection(stage: Stage) -> None:
    server, port = stage.server()
    night = stage.folder / "night"
    ira = stage.client(port, "Ira", chat=[sys.executable, "-c", ASLEEP, str(night)])
    ira.expect("[+] In the room: Ira\n")
    # Whatever it hears would be an answer.
    server.freeze()
    night.touch()
    ira.type("Hi")
    ira.expect("[!] The connection was lost: the server has not answered for ")
    server.signal(signal.SIGCONT)
    ira.expect("[+] The connection is back")
    ira.type("EXIT")
    assert_ends_well(ira)
    server.expect(" Message exchanged\n")


def test_server_that_looks_its_host_up_can_be_interrupted(stage: Stage) -> None:
    names = NameServer(stage.folder, "silence")
    server = stage.run([*names.chat, "server", "--host", "chat.example", "--port", "0"])
    await_condition(lambda: names.asked_by)
    server.signal(signal.SIGINT)
    assert server.end() == (1, "", "chat: error: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(names.asked_by, 0)


# -- scripts


def test_script_ends_with_status_zero_when_everything_is_acknowledged(
    stage: Stage, tmp_path: Path
) -> None:
    _, port = stage.server()
    listener = stage.member(port, "listener", key="other")
    path = tmp_path / "input"
    lines = [f"line {number}" for number in range(3000)]
    # As other systems write it.
    path.write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    with path.open("rb") as file:
        script = stage.client(port, "script", stdin=file)
        listener.expect(*(f" script: {line}\n" for line in lines))
        assert without_times(assert_ends_well(script)).startswith(ON_THE_WAY_IN)
    listener.expect("[+] script left the server.\n")


def test_single_message_arrives_and_nothing_is_shown(stage: Stage) -> None:
    _, port = stage.server()
    listener = stage.member(port, "listener", key="other")
    command = ["send", "127.0.0.1", str(port), "Ira", *stage.keys("client", "ira")]
    assert stage.start(*command, "EXIT").end() == (0, "", "")
    listener.expect(" Ira: EXIT\n")
    script = stage.start(*command, "-")
    script.type("\ufeffone\r", "two", "")
    script.end_input()
    assert script.end() == (0, "", "")
    listener.expect(" Ira: one\n    two\n    \n")


def test_what_is_no_message_on_standard_input_is_refused_before_anything_is_dialled(
    stage: Stage,
) -> None:
    """It need not come to an end."""
    command = ["send", "127.0.0.1", str(stage.free_port()), "Ira", "-"]
    script = stage.start(*command, redirect="</dev/zero")
    assert script.end() == (2, "", "chat: error: a message has at most 16384 bytes\n")


def test_line_that_is_too_long_is_refused_and_the_others_arrive(
    stage: Stage, tmp_path: Path
) -> None:
    _, port = stage.server()
    listener = stage.member(port, "listener", key="other")
    path = tmp_path / "input"
    longest = "x" * MAX_TEXT_BYTES
    path.write_text(f"before\n{'y' * 3_000_000}\n{longest}\nafter\n")
    with path.open("rb") as file:
        script = stage.client(port, "script", stdin=file)
        listener.expect(" script: before\n", f" script: {longest}\n", " script: after\n")
        status, out, err = script.end()
    why = (
        "a message of 3000000 bytes is too long: a message has at most 16384 bytes; "
        "send it in parts"
    )
    error = "chat: error: 1 line was not sent"
    assert (status, err) == (1, f"chat: line 2: {why}\n{error}\n")
    assert f"[!] {why.capitalize()}.\n" in out


def test_conversation_of_a_program(stage: Stage) -> None:
    _, port = stage.server()
    listener = stage.member(port, "listener", key="other")
    bot = stage.client(port, "bot", "--json")
    bot.expect('"event": "entered", "members": ["listener", "bot"]')
    bot.type('{"me": "beeps"}', "plain \x1b")
    listener.expect(" * bot beeps\n", r" bot: plain \x1b", "\n")
    listener.type("hello\x07")
    bot.expect('"event": "message"', "\n")
    bot.type('{"leave": true}')
    events = [json.loads(line) for line in assert_ends_well(bot).splitlines()]
    assert [event["event"] for event in events] == [
        "connected",
        "server",
        "entered",
        "acknowledged",
        "acknowledged",
        "message",
    ]
    assert [event.get("text") for event in events[3:]] == ["beeps", "plain \x1b", "hello\x07"]
    assert [event["action"] for event in events[3:]] == [True, False, False]


def test_private_messages_reach_one_alone_though_the_server_is_killed(stage: Stage) -> None:
    """One is heard just before, and one is said while there is no server. Boris hears both once,
    and Thea sees nothing."""
    port = stage.free_port()
    server, _ = stage.server("--port", str(port))
    thea = stage.client(port, "Thea", "--json", key="other")
    thea.expect('"event": "entered"')
    boris = stage.member(port, "Boris", "--time", "", key="sahnawaz")
    ira = stage.client(port, "Ira", "--json")
    ira.expect('"event": "entered"')
    ira.type('{"direct": {"to": "boris", "text": "the first"}}')
    ira.expect('"event": "acknowledged", "number": 1', '"direct": "Boris"', "\n")
    boris.expect("\nIra → you [private]: the first\n")
    server.kill()
    ira.expect('"event": "disconnected"')
    ira.type('{"direct": {"to": "Boris", "text": "the second"}}')
    stage.server("--port", str(port))
    boris.expect("\nIra → you [private]: the second\n")
    ira.type('{"direct": {"to": "Theo", "text": "the third"}}', '{"say": "that is all"}')
    ira.expect('"text": "nobody here is called Theo: perhaps Thea is meant"')
    for process in (boris, thea):
        process.expect("that is all")
    for process in (boris, thea, ira):
        process.end_input()
    out = assert_ends_well(boris)
    assert [out.count(text) for text in ("the first", "the second", "[private]")] == [1, 1, 2]
    told = [json.loads(line) for line in assert_ends_well(thea).splitlines()]
    assert [event.get("text") for event in told if event["event"] in ("message", "warning")] == [
        "that is all"
    ]
    status, _, err = ira.end()
    assert (status, err.count("\n")) == (1, 2)
    assert "1 line was not sent" in err


def test_client_with_closed_streams_says_what_it_has_to_say(stage: Stage) -> None:
    _, port = stage.server()
    listener = stage.member(port, "listener", key="other")
    deaf = stage.client(port, "deaf", redirect=">&- 2>&-")
    deaf.type("Hi")
    listener.expect(" deaf: Hi\n")
    deaf.end_input()
    assert deaf.end() == (0, "", "")
    mute = stage.client(port, "mute", redirect="<&-")
    assert assert_ends_well(mute).endswith("[+] In the room: listener, mute\n")


@pytest.mark.parametrize("keys", [[], ["--ephemeral", "--bits", "2048"]], ids=["", "new key"])
@pytest.mark.parametrize(
    ("redirect", "why"),
    [
        (">/dev/full", "what is shown cannot be written: no space left on device"),
        ("", "nobody reads what is shown"),
    ],
    ids=["full disk", "broken pipe"],
)
def test_client_whose_words_reach_nobody_ends_with_status_one(
    stage: Stage, redirect: str, why: str, keys: list[str]
) -> None:
    """With a new key the first words are shown before there is a client."""
    _, port = stage.server()
    keys = keys or stage.keys("client", "ira")
    client = stage.start("client", "127.0.0.1", str(port), "Ira", *keys, redirect=redirect)
    if not redirect:
        client.stop_reading()
    status, out, err = client.end()
    assert (status, out, err) == (1, "", f"chat: error: {why}\n")


@pytest.mark.parametrize(
    ("number", "redirect", "closed"),
    [
        (signal.SIGINT, "", False),
        (signal.SIGTERM, "2>&1", False),
        (signal.SIGINT, "2>&1", True),
        (signal.SIGTERM, "", True),
    ],
)
def test_one_signal_ends_a_client_whose_output_nobody_reads(
    stage: Stage, number: signal.Signals, redirect: str, closed: bool
) -> None:
    """Ctrl-S, for one, lets a terminal take nothing more."""
    server, port = stage.server()
    client = stage.client(port, "Ira", redirect=redirect)
    client.expect("[+] In the room: ", "\n")
    room = client.shrink_output()
    server.type(f"SAY {'x' * MAX_TEXT_BYTES}")
    await_condition(lambda: client.unread_output() == room)
    if closed:
        server.type("TERMINATE")
        assert_ends_well(server)
    client.signal(number)
    # After its end it has given the signals back.
    assert client.wait() in ((1, -number) if closed else (0,))


def test_time_zone_that_changes_is_seen(stage: Stage, tmp_path: Path) -> None:
    zone = tmp_path / "zone"
    zone.write_bytes(zone_file(0))
    _, port = stage.server()
    client = stage.client(port, "Ira", "--time", "%H", env={"TZ": f":{zone}"})
    client.expect("In the room")
    zoe = stage.member(port, "Zoe", key="other")

    def hour() -> int:
        zoe.type("Hi")
        client.expect(" Zoe: Hi\n")
        return int(re.findall("^([0-9]+) Zoe: ", client.out, re.M)[-1])

    before = hour()
    other = tmp_path / "other"
    other.write_bytes(zone_file(9 * 3600))
    other.replace(zone)
    client.signal(signal.SIGCONT)
    # A message may overtake the signal, and an hour may end meanwhile.
    await_condition(lambda: (hour() - before) % 24 in (9, 10))


# -- the server's standard streams


def test_server_obeys_one_writer_after_the_other(stage: Stage, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    keys = stage.keys("server", "server")
    server = stage.start("server", "--port", "0", *keys, redirect=f"<{fifo}")
    for word in ("who", "stats", "who"):
        fifo.write_text(f"{word}\n")
        server.expect("[+] Nobody is here.\n" if word == "who" else "[+] 0 members")
    fifo.write_text("TERMINATE")
    assert assert_ends_well(server).endswith(ENDED)


def talk(stage: Stage, server: Piped, port: int) -> None:
    """Two members talk; then the server is ended, and ends well."""
    ira = stage.client(port, "Ira")
    sahnawaz = stage.client(port, "sahnawaz", key="sahnawaz")
    for client in (ira, sahnawaz):
        client.expect("[+] In the room: ")
    ira.type("Hi")
    sahnawaz.expect(" Ira: Hi\n")
    server.signal(signal.SIGINT)
    for client in (ira, sahnawaz):
        assert_ends_with_the_room(client)


def is_listening(port: int) -> bool:
    """Whether somebody listens on this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    "redirect", ["<&- 2>&-", "<&- >&- 2>&-", ">/dev/full </dev/null", "nobody reads"]
)
def test_server_whose_standard_streams_are_of_no_use_goes_on(stage: Stage, redirect: str) -> None:
    port = stage.free_port()
    command = ["server", "--port", str(port), *stage.keys("server", "server")]
    server = stage.start(*command, redirect=redirect if redirect != "nobody reads" else "")
    if redirect == "nobody reads":
        server.stop_reading()
    await_condition(lambda: is_listening(port))
    talk(stage, server, port)
    assert server.wait() == 0


def test_server_whose_output_nobody_reads_goes_on_relaying(stage: Stage) -> None:
    server, port = stage.server()
    answer = "[!] Unknown command: x. HELP lists the commands.\n"
    enough = CONSOLE_QUEUE_BYTES // len(answer)
    server.type(*["x"] * (2 * enough))
    await_condition(lambda: server.unread_input() == 0)
    listener = stage.member(port, "listener", key="other")
    script = stage.client(port, "script")
    script.type(*(f"line {number}" for number in range(2000)))
    script.end_input()
    listener.expect(*(f" script: line {number}\n" for number in range(2000)))
    assert_ends_well(script)
    server.expect(*[answer] * (enough // 2))
    server.type("STATS")
    server.expect(" lines were not shown.\n", " 2000 messages exchanged, ")
    server.type("TERMINATE")
    assert_ends_with_the_room(listener)
    assert assert_ends_well(server).endswith(ENDED)


# -- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_lets_a_client_leave_and_interrupt_terminates_the_server(
    stage: Stage, number: signal.Signals
) -> None:
    server, port = stage.server()
    ira = stage.member(port, "Ira")
    sahnawaz = stage.member(port, "sahnawaz", key="sahnawaz")
    ira.signal(number)
    assert_ends_well(ira)
    server.expect("[+] Ira left the server.\n")
    server.signal(signal.SIGINT)
    assert_ends_with_the_room(sahnawaz)
    assert assert_ends_well(server).endswith(ENDED)


# -- whose key is whose


def test_person_with_another_key_is_shown_in_red_until_the_new_key_is_trusted(stage: Stage) -> None:
    _, port = stage.server()
    boris, ira = stage.member(port, "Boris", key="sahnawaz"), stage.member(port, "Ira")
    boris.expect("Username: Ira\n")
    for guest in (ira, boris):
        guest.type("EXIT")
        assert_ends_well(guest)
    keys = stage.keys("client", "sahnawaz")
    known = Path(keys[1], "known_members")
    assert known.stat().st_mode & 0o777 == 0o600
    old, new = key("ira").public.fingerprint, key("other").public.fingerprint
    (line,) = known.read_text().splitlines()
    assert re.fullmatch(rf"open:[0-9a-f]{{16}} \S+Z \S+Z {re.escape(old)} trusted Ira", line)
    # The same key in another folder, so that the server has nothing to remember either.
    place_key(stage.folder / "second", "server", "server")
    _, port = stage.server(keys=["--keys", str(stage.folder / "second")])
    command = client_command(port, "Boris", keys, "--color", "always", "--quiet", "off")
    screen = window(stage, command, TERM="xterm")
    screen.await_screen("[+] In the room: Boris")
    screen.enter("/quiet off")

    def come_and_go(*typed: tuple[str, str]) -> None:
        """Ira's visit, and what Boris types meanwhile and is then shown."""
        screen.enter("/clear")
        screen.until(lambda: "Ira" not in "".join(screen.lines()))
        guest = stage.member(port, "Ira", key="other")
        screen.await_screen("Username: Ira")
        for line, shown in typed:
            screen.enter(line)
            screen.await_screen(shown)
        guest.type("EXIT")
        screen.await_screen("Ira left the server.")

    for _ in range(2):
        come_and_go()
        rows = screen.lines()
        assert f"    known: {old}" in rows
        assert f"    shown: {new}" in rows
        assert screen.look("HAS ANOTHER KEY").colour == screen.look(new).colour == "red"
    come_and_go(("/trust ira", "[+] From now on this is the key of Ira:"))
    come_and_go()
    assert not any("ANOTHER KEY" in row for row in screen.lines())
    screen.enter("/exit")
    assert screen.end() == 0
    assert {line.split()[3:5] == [new, "trusted"] for line in known.read_text().splitlines()} == {
        True,
        False,
    }


# -- job control


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_server_in_the_background_reads_its_console_when_it_comes_back(stage: Stage) -> None:
    shell = window(stage, ["bash", "--norc", "--noprofile", "-i"])
    command = [*CHAT, "server", "--port", "0", *stage.keys("server", "server")]
    shell.type(f"{shlex.join(command)} &\n")
    shell.await_screen("[+] Others join with: ")
    shell.type("echo be''gun; cat\n")
    shell.until(lambda: "begun" in shell.lines())
    shell.type("typed for somebody else\n")
    shell.until(lambda: shell.lines()[-2:] == ["typed for somebody else"] * 2)
    shell.key("C-d")
    shell.type("fg\n")
    shell.until(lambda: "chat server" in "\n".join(shell.lines()).rpartition("fg")[2])
    shell.type("WHO\n")
    shell.await_screen("[+] Nobody is here.")
    shell.type("TERMINATE\n")
    shell.await_screen("[+] Server is shut down")
    shell.type("exit $?\n")
    assert shell.end() == 0
