"""The examples for programs, and what `docs/BOTS.md` promises of events and commands."""

import json
import re
import shutil
import signal
import sys

import pytest

from chat.client.events import ClientEvent, Entered, KeyChanged, MemberJoined, NameChanged
from chat.frozen import fields_of
from chat.ui import jsonlines
from tests.support.processes import ROOT, Stage, await_condition, place_key
from tests.support.terminals import window_of

BOTS = (ROOT / "docs/BOTS.md").read_text()
EXAMPLES = ROOT / "examples"
PROGRAM = f"{sys.executable} -m chat"
"""What the examples run in place of the installed command."""


def test_dice_are_rolled_for_whoever_asks(stage: Stage) -> None:
    _, port = stage.server()
    ira = stage.member(port, "Ira", key="ira")
    dice = str(EXAMPLES / "dice.py")
    bot = stage.run(
        [sys.executable, dice, "127.0.0.1", str(port), *stage.keys("client", "other")],
        env={"CHATAPP": PROGRAM},
    )
    ira.expect("Username: dice\n")
    ira.type("hello", "roll 3d6", "roll 100d6", "please roll 1d6", "roll 0d6", "roll 1d0")
    ira.expect(" dice: Ira: ", " dice: Ira: 1 = 1\n")
    answer = re.search(r"dice: Ira: (\d) \+ (\d) \+ (\d) = (\d+)\n", ira.out)
    assert answer is not None
    *rolled, total = map(int, answer.groups())
    assert sum(rolled) == total
    assert ira.out.count(" dice: ") == 2
    bot.kill()


def test_dice_that_are_rolled_in_private_are_told_in_private(stage: Stage) -> None:
    _, port = stage.server()
    ira = stage.client(port, "Ira", "--json", key="ira")
    ira.expect('"event": "entered"')
    dice = str(EXAMPLES / "dice.py")
    bot = stage.run(
        [sys.executable, dice, "127.0.0.1", str(port), *stage.keys("client", "other")],
        env={"CHATAPP": PROGRAM},
    )
    ira.expect('"event": "joined", "name": "dice"')
    ira.type('{"direct": {"to": "dice", "text": "roll 1d0"}}')
    ira.expect('"text": "Ira: 1 = 1"')
    events = map(json.loads, ira.out.splitlines())
    answers = [event for event in events if event.get("name") == "dice" and "text" in event]
    assert [answer["direct"] for answer in answers] == ["Ira"]
    bot.kill()


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (["true"], 0, "true is done"),
        (["sh", "-c", "exit 7"], 7, "sh -c exit 7 failed with status 7"),
        (["sh", "-c", f": {'ü' * 9000}"], 0, f"sh -c : {'ü' * 496} is done"),
        (["true", "not \udcfftext"], 0, "true not text is done"),
    ],
)
def test_room_is_told_how_a_command_ended(
    stage: Stage, command: list[str], status: int, told: str
) -> None:
    _, port = stage.server()
    ira = stage.member(port, "Ira", key="ira")
    config = stage.home / ".config/chat"
    place_key(config, "client", "other")
    script = stage.run(
        ["sh", str(EXAMPLES / "tell.sh"), "127.0.0.1", str(port), "builder", *command],
        env={"CHATAPP": PROGRAM},
    )
    ira.expect(f" builder: {told}\n")
    assert script.end() == (status, "", "")


@pytest.mark.parametrize(
    ("example", "name"),
    [
        (["dice.py", "friends"], "dice"),
        (["bridge.sh", "{folder}", "friends"], "bridge"),
        (["tell.sh", "friends", "builder", "true"], "builder"),
    ],
)
def test_example_goes_to_a_kept_room(stage: Stage, example: list[str], name: str) -> None:
    _, port = stage.server()
    config = stage.home / ".config/chat"
    place_key(config, "client", "other")
    made = stage.start("invite", "127.0.0.1", str(port), "--keep", "friends").end()
    ira = stage.start(
        *("client", "-", "Ira", *stage.keys("client", "ira")),
        env={"CHAT_INVITE": made.out.strip()},
    )
    ira.expect("In a sealed room")
    file, *arguments = (word.format(folder=stage.folder / "room") for word in example)
    program = sys.executable if file.endswith(".py") else "sh"
    stage.run([program, str(EXAMPLES / file), *arguments], env={"CHATAPP": PROGRAM})
    ira.expect("true is done\n" if name == "builder" else f"Username: {name}\n")


def test_example_without_its_arguments_says_what_they_are(stage: Stage) -> None:
    for name in ("dice.py", "remind.py", "tell.sh", "builds.sh", "bridge.sh"):
        program = sys.executable if name.endswith(".py") else "sh"
        status, out, err = stage.run([program, str(EXAMPLES / name), "--help"]).end()
        assert (status > 0, out) == (True, "")
        assert err.startswith(f"usage: {name} ")
        assert len((EXAMPLES / name).read_text().splitlines()) <= 40


def test_command_has_its_own_status_when_the_room_cannot_be_told(stage: Stage) -> None:
    place_key(stage.home / ".config/chat", "client", "other")
    script = stage.run(
        ["sh", str(EXAMPLES / "tell.sh"), "127.0.0.1", str(stage.free_port()), "builder", "true"],
        env={"CHATAPP": PROGRAM},
    )
    status, _, err = script.end()
    assert (status, err.splitlines()[-1]) == (0, "tell.sh: the room was not told")


def test_who_asks_for_it_is_reminded(stage: Stage) -> None:
    _, port = stage.server()
    ira = stage.member(port, "Ira", key="ira")
    remind = str(EXAMPLES / "remind.py")
    bot = stage.run(
        [sys.executable, remind, "127.0.0.1", str(port), *stage.keys("client", "other")],
        env={"CHATAPP": PROGRAM},
    )
    ira.expect("Username: reminder\n")
    ira.type("remind 9999h never", "remind 1s the second", "remind 0s the first", "remind me")
    ira.expect(" reminder: Ira: the first\n", " reminder: Ira: the second\n")
    ira.type("remind 0s that is all")
    ira.expect(" reminder: Ira: that is all\n")
    assert ira.out.count(" reminder: Ira: ") == 3
    bot.kill()


@pytest.mark.parametrize(
    ("bot", "name", "asked", "answer"),
    [
        ("dice.py", "dice", "roll 1d1", "1 = 1"),
        ("remind.py", "reminder", "remind 0s now", "now"),
    ],
)
def test_bot_that_is_interrupted_says_nothing(
    stage: Stage, bot: str, name: str, asked: str, answer: str
) -> None:
    _, port = stage.server()
    ira = stage.member(port, "Ira", key="ira")
    where = ["127.0.0.1", str(port), *stage.keys("client", "other")]
    window = window_of(stage, [sys.executable, str(EXAMPLES / bot), *where], CHATAPP=PROGRAM)
    ira.expect(f"Username: {name}\n")
    # Before it has heard that it is in, it is interrupted amid its joining.
    ira.type(asked)
    ira.expect(f" {name}: Ira: {answer}\n")
    window.key("C-c")
    assert window.end() == 0
    assert window.lines() == ["^C"]
    ira.expect(f"{name} left the server.\n")


def test_builds_tell_when_they_begin_to_fail_and_when_they_work_again(stage: Stage) -> None:
    _, port = stage.server()
    ira = stage.member(port, "Ira", key="ira")
    place_key(stage.home / ".config/chat", "client", "other")
    build = stage.folder / "build"
    build.write_text("true")
    arguments = ["127.0.0.1", str(port), "builder", "sh", str(build), r"a\nb"]
    builds = stage.run(
        ["sh", str(EXAMPLES / "builds.sh"), *arguments],
        env={"CHATAPP": PROGRAM, "EVERY": "0"},
    )
    for _ in range(2):
        (stage.folder / "new").write_text(
            r"printf 'one\n\033[31mtwo\033[m\n\377four'; printf 'ö%.0s' $(seq 100); exit 1"
        )
        (stage.folder / "new").rename(build)
        ira.expect(f" builder: sh {build} a\\nb fails\n    one\n    two\n    four{'ö' * 97}\n")
        (stage.folder / "new").write_text("true")
        (stage.folder / "new").rename(build)
        ira.expect(f" builder: sh {build} a\\nb works\n")
    assert ira.out.count(" fails\n") == ira.out.count(" works\n") == 2
    # It ends when what it says is acknowledged. Without a server that would be tried for an hour.
    builds.signal(signal.SIGTERM)
    assert builds.end().status == 1


def test_bridge_leads_a_room_into_a_folder(stage: Stage) -> None:
    _, port = stage.server()
    ira = stage.member(port, "Ira", key="ira")
    folder = stage.folder / "room"
    bridge = stage.run(
        [
            *("sh", str(EXAMPLES / "bridge.sh"), str(folder), "127.0.0.1", str(port)),
            *stage.keys("client", "other"),
        ],
        env={"CHATAPP": PROGRAM},
    )
    ira.expect("Username: bridge\n")
    for text in ("one", "two"):
        # Each writer closes it again.
        (folder / "in").write_text(f"{text}\n")
        ira.expect(f" bridge: {text}\n")
    ira.type("three")
    await_condition(lambda: " Ira: three\n" in (folder / "out").read_text())
    assert " bridge: two\n" in (folder / "out").read_text()
    (folder / "in").write_text("EXIT\n")
    assert bridge.end() == (0, "", "")


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_greeter_of_the_manual_greets(stage: Stage) -> None:
    _, port = stage.server()
    place_key(stage.home / ".config/chat", "client", "other")
    found = re.search(r"```sh\n(.*mkfifo .*)\n```", BOTS)
    assert found is not None
    line = (
        found[1]
        .replace("HOST PORT", f"127.0.0.1 {port}")
        .replace("chatapp", f"{sys.executable} -m chat")
    )
    watcher = stage.member(port, "watcher", key="sahnawaz")
    folder = stage.folder / "greeter"
    folder.mkdir()
    stage.run(["sh", "-c", f"cd {folder} && {line}"], env={"PYTHONPATH": str(ROOT)})
    watcher.expect("Username: greeter\n")
    ira = stage.member(port, "Ira", key="ira")
    ira.expect(" greeter: Welcome, Ira!\n")


def table(heading: str) -> dict[str, str]:
    """The first two columns of the table of the manual that begins with this."""
    rows = BOTS.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    return {first.strip("`"): second for first, second, *_ in cells}


SAMPLES: list[tuple[str, ClientEvent]] = [
    ("entered", Entered(())),
    ("joined", MemberJoined("Ira")),
    ("key-changed", KeyChanged("Ira", b"", b"", 0)),
    ("name-changed", NameChanged("Ira", "Bob", b"", 0)),
]
"""Events whose fields in JSON are not those of their class."""


def test_manual_lists_exactly_the_events() -> None:
    kinds = {*jsonlines.EVENTS.values(), "message", "acknowledged", "left"}
    kinds |= {"members", "invite", "security", "ignored", *(kind for kind, _ in SAMPLES)}
    assert set(table("event")) == kinds


def test_manual_lists_the_fields_of_each_event() -> None:
    fields = table("event")
    for event_type, kind in jsonlines.EVENTS.items():
        listed = re.findall("`([a-z_]+)`", fields[kind])
        assert listed == [*fields_of(event_type)]
    for kind, event in SAMPLES:
        shown = jsonlines.fields_of(event)
        assert shown is not None
        assert shown.keys() == {"event", *re.findall("`([a-z_]+)`", fields[kind])}


def test_commands_of_the_manual_are_obeyed(stage: Stage) -> None:
    _, port = stage.server()
    ira = stage.member(port, "Ira")
    program = stage.client(port, "program", "--json", key="other")
    program.type(*table("command"), "a plain line")
    program.end_input()
    status, out, _ = program.end()
    assert status == 0
    events = [json.loads(line) for line in out.splitlines()]
    # Behind `leave` nothing is taken.
    said = [
        (event["text"], event["action"], event["direct"])
        for event in events
        if event["event"] == "acknowledged"
    ]
    assert said == [("text", False, None), ("waves", True, None), ("text", False, "Ira")]
    ira.expect("program → you [private]: text\n")
    answers = [event for event in events if event["event"] in ANSWERS]
    assert [event["event"] for event in answers] == [
        *("members", "invite", "security", "members", "ignored", "ignored")
    ]
    assert [event["names"] for event in answers if event["event"] == "ignored"] == [["Ira"], []]


ANSWERS = ("members", "invite", "security", "ignored", "warning")


@pytest.mark.parametrize(
    ("layer", "shown"),
    [
        ("seal", "opened      Hello\nof 1024 copies with one bit flipped, 0 opened\n"),
        (
            "handshake",
            "C → S  LINK        131 bytes   server RELAY, client RELAY\nthe link stands\n",
        ),
        ("room", "Boris is shown: NoticeReceived(text='The server speaks, too.')\n"),
    ],
)
def test_layer_works_alone(stage: Stage, layer: str, shown: str) -> None:
    command = [sys.executable, str(EXAMPLES / f"{layer}.py")]
    status, out, err = stage.run(command, env={"PYTHONPATH": str(ROOT)}).end()
    assert (status, err) == (0, "")
    assert shown in out


def test_line_is_edited_in_a_loop_of_ones_own(stage: Stage) -> None:
    command = [sys.executable, str(EXAMPLES / "edit.py")]
    window = window_of(stage, command, PYTHONPATH=str(ROOT))
    window.await_rows("> |")
    window.type("half\x17whole\r")
    window.await_screen("you typed 'whole'")
    window.until(lambda: re.search("^it is [0-9:]+$", "\n".join(window.lines()), re.M))
    window.key("C-d")
    assert window.end() == 0
