"""Real processes of people who are here several times: a laptop, a home computer, scripts, bots."""

import signal

from chat.limits import MAX_CALLERS_OF_KEY
from tests.processes.test_cuts import Cable
from tests.support.processes import Piped, Stage, without_times


def told_of(name: str, client: Piped) -> list[str]:
    """What a client was told of somebody's coming and going, after it came in itself."""
    _, _, since = without_times(client.out).partition("In the room: ")
    lines = since.splitlines()[1:]
    return [line for line in lines if name in line and not line.startswith("<time>")]


def test_scripts_speak_at_the_same_moment_beside_a_person_and_disturb_nobody(stage: Stage) -> None:
    server, port = stage.server()
    bob = stage.member(port, "Bob", key="sahnawaz")
    zoe = stage.member(port, "Zoe")
    bob.expect("Zoe")
    texts = [f"from script {number}" for number in range(MAX_CALLERS_OF_KEY)]
    keys = stage.keys("client", "ira")
    scripts = [stage.start("send", "127.0.0.1", str(port), "Zoe", *keys, text) for text in texts]
    for script in scripts:
        assert script.end() == (0, "", "")
    zoe.type("good evening")
    for client in (bob, zoe):
        for _ in texts:
            client.expect("from script ")
    bob.expect("Zoe: good evening")
    zoe.end_input()
    assert zoe.end()[::2] == (0, "")
    bob.expect("Zoe left")
    bob.end_input()
    assert bob.end().status == 0
    said = [f"<time> Zoe: {text}" for text in texts]
    for client in (bob, zoe):
        shown = without_times(client.out).splitlines()
        assert sorted(line for line in shown if "from script" in line) == said
    joined, left = told_of("Zoe", bob)
    assert ("joined" in joined, left) == (True, "[+] Zoe left the server.")
    assert told_of("Zoe", zoe) == []
    server.type("TERMINATE")
    assert server.end().out.count("New connection. Username: Zoe") == 1


def test_laptop_that_wakes_up_throws_nobody_out(stage: Stage) -> None:
    """Nor is anybody told of it, as she is in from home."""
    _, port = stage.server()
    cable = Cable(stage, port)
    laptop = stage.member(cable.port, "Zoe")
    bob = stage.member(port, "Bob", key="sahnawaz")
    home = stage.member(port, "Zoe")
    laptop.freeze()
    cable.do("cut")
    home.type("I am at home")
    bob.expect("Zoe: I am at home")
    laptop.signal(signal.SIGCONT)
    laptop.expect("The connection is back", "Zoe: I am at home")
    laptop.type("I am at work")
    for client in (bob, home):
        client.expect("Zoe: I am at work")
    for client in (home, laptop):
        client.end_input()
        assert client.end()[::2] == (0, "")
    bob.expect("Zoe left")
    bob.end_input()
    assert bob.end().status == 0
    assert told_of("Zoe", bob) == ["[+] Zoe left the server."]


def test_bot_that_was_killed_is_back_at_once(stage: Stage) -> None:
    _, port = stage.server()
    bob = stage.member(port, "Bob", key="sahnawaz")
    bot = stage.member(port, "bot")
    bob.expect("bot")
    bot.signal(signal.SIGKILL)
    bob.expect("[!] bot lost the connection.")
    bot = stage.member(port, "bot")
    bob.expect("[+] bot is back.")
    bot.type("here I am")
    bob.expect("bot: here I am")
