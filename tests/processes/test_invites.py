"""Invites from end to end: made, kept, used, and seen by nobody who was not given them."""

import os
import re
import sys
import termios
from base64 import b64encode
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from chat.invite import Invite
from chat.kex import RoomKey
from chat.place import Endpoint
from tests.support.helpers import key, mode_of
from tests.support.processes import CHAT, Result, Stage
from tests.support.terminals import window_of

FINGERPRINT = key("server").public.fingerprint
LOOPBACK = "[!] 127.0.0.1 is this machine itself; other machines cannot use the invite.\n"
NEW_HERE = (
    f"[+] Fingerprint of the server: {FINGERPRINT} (new)\n"
    "[!] This server was not known here. Ask whoever runs it whether this is its fingerprint, "
    "before you pass the invite on.\n"
)
KNOWN = f"[+] Fingerprint of the server: {FINGERPRINT} (known since <day>)\n"


def without_day(text: str) -> str:
    return re.sub("since [0-9]{4}-[0-9]{2}-[0-9]{2}", "since <day>", text)


def make(stage: Stage, port: int, *arguments: str, status: int = 0) -> Result:
    """Make an invite."""
    keys = stage.keys("client", "ira")
    result = stage.start("invite", "127.0.0.1", str(port), *keys, *arguments).end()
    assert result.status == status, result
    return result


def folder_of(stage: Stage) -> Path:
    return Path(stage.keys("client", "ira")[1])


def secrets_of(text: str) -> list[str]:
    """All that must not be seen of an invite."""
    room_key = Invite.decode(text).room_key
    return [
        text.rpartition("/")[2][44:],
        room_key.hex(),
        repr(room_key)[2:-1],
        b64encode(room_key).decode().rstrip("="),
    ]


def assert_hidden(text: str, *places: str) -> None:
    for place in places:
        for secret in secrets_of(text):
            assert secret not in place


def test_room_is_made_kept_joined_and_forgotten(stage: Stage) -> None:
    server, port = stage.server()
    keys = stage.keys("client", "ira")
    _, out, err = make(stage, port, "--keep", "friends", "--tag")
    invite = Invite.decode(out)
    assert out == f"{invite.encode()}\n"
    assert invite.servers == (("127.0.0.1", port),)
    assert invite.fingerprint == FINGERPRINT
    tag = RoomKey(invite.room_key).at(key("server").public.digest).tag.hex()
    assert err == (
        f"{NEW_HERE}{LOOPBACK}"
        f"[+] Kept as friends: python -m chat client friends --keys '{keys[1]}'\n"
        "[+] The room's tag, which is a line for the server's --room-tags file:\n"
        f"{tag}\n"
    )
    assert mode_of(folder_of(stage) / "rooms") == 0o600
    listed = stage.start("rooms", *keys).end()
    assert listed == Result(0, f"friends 127.0.0.1:{port} {FINGERPRINT} {tag[:8]}\n", "")

    friend = stage.keys("client", "sahnawaz")
    client = stage.start("client", out.strip(), "Boris", *friend)
    client.expect(
        f"    {FINGERPRINT}\n    as in the invite\n",
        "[+] In a sealed room. You are the first here.\n",
    )
    for place in (["friends"], ["-"]):
        send = stage.start("send", *place, "Ira", "Hi", *keys, env={"CHAT_INVITE": out})
        assert send.end() == Result(0, "", "")
        client.expect("Ira: Hi\n")
    server.type("ROOMS")
    server.expect(f"Room {tag[:8]}: ")
    client.type("EXIT")
    assert client.end().status == 0
    server.type("TERMINATE")
    server_saw = server.end().out
    assert_hidden(out, server_saw)

    removed = stage.start("rooms", "remove", "FRIENDS", *keys).end()
    assert removed == Result(0, f"[+] Removed friends: 127.0.0.1:{port}\n", "")
    assert stage.start("rooms", *keys).end().out == ""


def test_every_room_is_another_and_the_server_hears_of_none(stage: Stage) -> None:
    server, port = stage.server()
    first, second = (make(stage, port) for _ in range(2))
    assert Invite.decode(first.out).room_key != Invite.decode(second.out).room_key
    assert (first.err, without_day(second.err)) == (NEW_HERE + LOOPBACK, KNOWN + LOOPBACK)
    assert not (folder_of(stage) / "rooms").exists()
    assert not (folder_of(stage) / "client_public_key.pem").exists()
    server.type("TERMINATE")
    assert not re.search("joined|New person", server.end().out)


def test_fingerprint_is_shown_of_what_an_invite_says_and_of_what_a_server_shows(
    stage: Stage,
) -> None:
    server, port = stage.server()
    keys = stage.keys("client", "ira")
    ask = ["fingerprint", f"127.0.0.1:{port}", *keys]
    assert stage.start(*ask).end() == Result(0, f"{FINGERPRINT}\n", "[+] The server is new here.\n")
    assert not (folder_of(stage) / "known_servers").exists()
    invite = make(stage, port, "--keep", "friends").out.strip()
    known = Result(0, f"{FINGERPRINT}\n", "[+] The server is known with this key since <day>.\n")
    status, out, err = stage.start(*ask).end()
    assert Result(status, out, without_day(err)) == known
    server.type("TERMINATE")
    server.end()
    for place in (invite, "friends"):
        assert stage.start("fingerprint", place, *keys).end() == Result(0, f"{FINGERPRINT}\n", "")


def test_invite_that_names_another_key_ends_with_status_four(stage: Stage) -> None:
    _, port = stage.server()
    other = Invite((Endpoint("127.0.0.1", port),), key("other").public.digest, bytes(32))
    client = stage.start("client", other.encode(), "Ira", *stage.keys("client", "ira"))
    status, _, err = client.end()
    assert status == 4
    assert err.startswith("chat: error: THE SERVER'S KEY IS NOT THE ONE IN THE INVITE\n")
    assert f"invite: {key('other').public.fingerprint}\n" in err
    assert f"shown: {FINGERPRINT}\n" in err
    assert "nothing of yours has been sent" in err
    assert not (folder_of(stage) / "known_servers").exists()


def test_wrong_server_gets_no_room(stage: Stage) -> None:
    _, port = stage.server()
    named = key("other").public.fingerprint
    result = make(stage, port, "--keep", "friends", "--fingerprint", named, status=4)
    assert result.out == ""
    assert not (folder_of(stage) / "rooms").exists()
    assert "new here" not in make(stage, port, "--fingerprint", FINGERPRINT).err


def test_invite_is_read_from_a_pipe_that_breaks_lines_and_never_from_the_arguments(
    stage: Stage,
) -> None:
    keys = stage.keys("client", "ira")
    text = Invite((Endpoint("chat.example", 9443),), bytes(32), os.urandom(32)).encode()
    add = stage.start("rooms", "add", "friends", *keys)
    add.type(f"  {text[:40]}", text[40:80])
    arguments = Path(f"/proc/{add.popen.pid}/cmdline").read_bytes().decode()
    add.type(text[80:], "")
    add.end_input()
    digest = "SHA256:" + "A" * 43
    assert add.end() == Result(0, f"[+] Kept as friends: chat.example:9443, {digest}\n", "")
    refused = stage.start("rooms", "add", "more", text, *keys).end()
    assert refused.status == 2
    assert_hidden(text, arguments, refused.err)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[:-1], "the invite is cut off"),
        (lambda text: text + "A" * 10_000, "the invite is too long"),
        (lambda text: text.swapcase(), "the invite "),
        (lambda text: text.replace("chat.", "chet."), "the invite is not as it was made"),
        (lambda _: "", "no invite"),
        (lambda _: "\xff" * 10_000, "this is no invite"),
    ],
    ids=["cut", "long", "swapped", "host", "empty", "junk"],
)
def test_damaged_invite_is_told_before_anything_is_dialled(
    stage: Stage, damage: Callable[[str], str], said: str
) -> None:
    text = Invite((Endpoint("chat.example", 9443),), bytes(32), os.urandom(32)).encode()
    keys = stage.keys("client", "ira")
    add = stage.start("rooms", "add", "friends", *keys)
    add.type(damage(text))
    add.end_input()
    results = [add.end()]
    if damage(text).isascii() and damage(text):
        results.append(stage.start("client", damage(text), "Ira", *keys).end())
        results.append(
            stage.start("send", "-", "I", "Hi", *keys, env={"CHAT_INVITE": damage(text)}).end()
        )
    for result in results:
        assert (result.status, result.out) == (2, "")
        assert said in result.err
        assert_hidden(text, result.err)
    assert not (folder_of(stage) / "rooms").exists()


def test_invite_is_asked_for_without_echo_and_shown_to_who_asks_inside(stage: Stage) -> None:
    _, port = stage.server()
    text = make(stage, port).out.strip()
    keys = stage.keys("client", "ira")
    journal = stage.folder / "journal"
    command = [*CHAT, "client", "-", "Ira", "--time", "", *keys]
    window = window_of(stage, command, 200, CHAT_LOG=str(journal))
    window.await_screen("Invite (it is not shown):")
    window.enter(text)
    window.await_screen("You are the first here.")
    assert_hidden(text, str(window), journal.read_text())
    assert_hidden(text, Path(f"/proc/{window.pid}/cmdline").read_text())
    window.enter("/invite")
    window.await_screen(text)
    window.enter(f"come to {text}")
    window.await_screen(f"Ira: come to {text}")
    window.enter("/quit")
    assert window.end() == 0
    kept = (stage.home / ".local/state/chat/history").read_text()
    assert kept.splitlines() == ["/invite", "/quit"]
    assert_hidden(text, journal.read_text(), kept)


def test_invite_that_mail_has_broken_is_read_to_its_end(stage: Stage) -> None:
    _, port = stage.server()
    text = make(stage, port).out.strip()
    command = [*CHAT, "client", "-", "Ira", *stage.keys("client", "ira")]
    window = window_of(stage, command, 80)
    window.await_screen("Invite (it is not shown):")
    window.type(f"{text[:7]}\r{text[7:50]} \r  {text[50:]}\r")
    window.await_screen("You are the first here.")
    assert_hidden(text, str(window))


def test_invite_that_is_cut_off_ends_with_an_empty_line(stage: Stage) -> None:
    command = [*CHAT, "client", "-", "Ira", *stage.keys("client", "ira")]
    window = window_of(stage, command, 80)
    window.await_screen("Invite (it is not shown):")
    window.enter("chat://chat.example:9443/AdG0")
    window.await_screen("The rest of it (Enter if that was all):")
    window.enter("chat", "")
    assert window.end() == 2
    assert any("the invite is cut off" in line for line in window.lines())


def test_question_for_an_invite_can_be_interrupted(stage: Stage) -> None:
    command = [*CHAT, "client", "-", "Ira", *stage.keys("client", "ira")]
    window = window_of(stage, command, 80)
    window.await_screen("Invite (it is not shown):")
    before = window.settings()
    window.key("C-c")
    assert window.end() == 1
    assert any("chat: error: interrupted" in line for line in window.lines())
    assert not before[3] & termios.ECHO


def test_terminal_is_told_what_an_invite_is_and_sees_it_drawn(stage: Stage) -> None:
    _, port = stage.server()
    keys = stage.keys("client", "ira")
    command = [*CHAT, "invite", "127.0.0.1", str(port), "--qr", *keys]
    window = window_of(stage, command, 200, 80)
    assert window.end() == 0
    shown = "\n".join(window.lines())
    assert "This invite is the key to a new room" in shown
    assert "Give it only to the people who are to be there" in shown
    assert "They join with: python -m chat client -, which" in shown
    if find_spec("segno") is None:
        assert "A QR code needs the package segno: " in shown
    else:
        assert any(line.count("█") > 40 for line in window.lines())


FAULTY = (
    "import sys; from chat.client.client import Client; Client.run = lambda self: 1 // 0; "
    "from chat.__main__ import main; sys.exit(main())"
)


def test_sentences_are_broken_between_words_on_a_terminal(stage: Stage) -> None:
    _, port = stage.server()
    keys = stage.keys("client", "ira")
    command = [*CHAT, "invite", "127.0.0.1", str(port), *keys]
    window = window_of(stage, command, 80, 40)
    assert window.end() == 0
    lines = window.lines()
    assert "[+] Give it only to the people who are to be there, where nobody else can read" in lines
    assert "    it. They join with: python -m chat client -, which asks for the invite." in lines


def test_traceback_of_a_fault_shows_nothing_of_an_invite(stage: Stage) -> None:
    text = Invite((Endpoint("127.0.0.1", 9),), bytes(32), os.urandom(32)).encode()
    client = stage.run(
        [sys.executable, "-c", FAULTY, "client", "-", "Ira", *stage.keys("client", "ira")],
        env={"CHAT_INVITE": text},
    )
    client.end_input()
    result = client.end()
    assert "ZeroDivisionError" in result.err
    assert_hidden(text, result.out, result.err)


def test_list_that_cannot_be_used_is_told_before_a_room_is_made(stage: Stage) -> None:
    _, port = stage.server()
    path = folder_of(stage) / "rooms"
    path.write_text("# mine\n")
    path.chmod(0o644)
    result = make(stage, port, "--keep", "friends", status=1)
    hint = f"chat: hint: chmod 600 {path}\n"
    error = f"chat: error: others can read the list of kept rooms {path}\n"
    assert result == Result(1, "", error + hint)
    path.chmod(0o600)
    full = stage.run(
        [
            *("sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *CHAT, "invite", "127.0.0.1", str(port)),
            *("--keep", "friends", *stage.keys("client", "ira")),
        ]
    ).end()
    assert (full.status, full.out) == (1, "")
    assert "file too large" in full.err
    assert path.read_text() == "# mine\n"


@pytest.mark.parametrize("kept", [None, "# mine\n", "friends chat://x\nfriends\n\x00\n"])
def test_damaged_lines_are_listed_and_kept(stage: Stage, kept: str | None) -> None:
    path = folder_of(stage) / "rooms"
    if kept is not None:
        path.touch(mode=0o600)
        path.write_text(kept)
    status, out, err = stage.start("rooms", *stage.keys("client", "ira")).end()
    assert (status, out) == (0, "")
    if kept is None or kept.startswith("#"):
        assert err == "[+] No room is kept; python -m chat rooms add KEPT keeps one.\n"
    else:
        assert [line.split(" of ")[0] for line in err.splitlines()] == [
            f"[!] Line {number}" for number in (1, 2, 3)
        ]
    assert (path.read_text() if path.exists() else None) == kept
