"""Clients that are given several servers, as whole programs: one is killed, and they go to another.

The servers know nothing of each other: they have the same key, and each has a room of its own.
"""

import pytest

from chat.invite import Invite
from tests.support.helpers import key
from tests.support.processes import Piped, Result, Stage, place_key


@pytest.fixture
def servers(stage: Stage) -> list[tuple[Piped, str]]:
    """Two servers with the same key, and the address of each."""
    found = []
    for name in ("a", "b"):
        place_key(stage.folder / name, "server", "server")
        server, port = stage.server(keys=["--keys", str(stage.folder / name)])
        found.append((server, f"127.0.0.1:{port}"))
    return found


def both(servers: list[tuple[Piped, str]]) -> str:
    return ",".join(address for _, address in servers)


def test_client_goes_to_the_other_server_with_what_is_unacknowledged(
    stage: Stage, servers: list[tuple[Piped, str]]
) -> None:
    (first, at), (second, elsewhere) = servers
    ira = stage.start("client", both(servers), "Ira", *stage.keys("client", "ira"))
    ira.expect("[+] In the room: Ira\n")
    zoe = stage.start("client", elsewhere, "Zoe", *stage.keys("client", "other"))
    zoe.expect("[+] In the room: Zoe\n")
    near = stage.start("client", at, "Bob", *stage.keys("client", "sahnawaz"))
    near.expect("[+] In the room: Ira, Bob\n")
    ira.type("one")
    near.expect("Ira: one\n")
    near.type("EXIT")
    # Or Ira would wait for Bob in the new room.
    ira.expect("Bob left the server")
    first.freeze()
    ira.type("two")
    first.kill()
    ira.expect("; trying to get it back.\n", f"[+] Connected to {elsewhere}, in a new room.")
    zoe.expect("Username: Ira\n", "Ira: two\n")
    ira.type("three")
    ira.end_input()
    zoe.expect("Ira: three\n")
    assert ira.end().status == 0, "every line was acknowledged"
    assert [zoe.out.count(f"Ira: {said}\n") for said in ("two", "three")] == [1, 1]
    assert at not in zoe.out
    known = (stage.folder / "client ira" / "known_servers").read_text()
    hosts = [line.split()[0] for line in known.splitlines()]
    assert hosts == ["[{}]:{}".format(*address.split(":")) for address in (at, elsewhere)]
    second.type("TERMINATE")
    assert zoe.end().out.endswith("[!] The server has shut down.\n")


def test_last_server_that_shuts_down_ends_the_client_well(
    stage: Stage, servers: list[tuple[Piped, str]]
) -> None:
    ira = stage.start("client", both(servers), "Ira", "--listen", *stage.keys("client", "ira"))
    ira.end_input()
    ira.expect("[+] In the room: Ira\n")
    for server, _ in servers:
        server.type("TERMINATE")
        server.end()
    status, out, err = ira.end()
    assert (status, err) == (0, "")
    assert out.endswith("[!] The server has shut down.\n")
    assert out.count("has shut down") == 1


def test_server_with_another_key_is_not_taken_for_one_of_them(
    stage: Stage, servers: list[tuple[Piped, str]]
) -> None:
    """The one that is known is dead, so that a stranger may answer."""
    (first, at), _ = servers
    _, port = stage.server(keys=stage.keys("server", "other"))
    ira = stage.keys("client", "ira")
    assert stage.start("send", at, "Ira", "Hi", *ira).end() == Result(0, "", "")
    first.kill()
    status, _, err = stage.start("send", f"{at},127.0.0.1:{port}", "Ira", "Hi", *ira).end()
    assert status == 4
    known = at.replace("127.0.0.1", "[127.0.0.1]")
    assert f"THE KEY OF THE SERVER [127.0.0.1]:{port} IS NOT THAT OF {known}\n" in err


def test_invite_to_two_servers_is_kept_and_leads_to_the_one_that_is_there(
    stage: Stage, servers: list[tuple[Piped, str]]
) -> None:
    where, ira = both(servers), stage.keys("client", "ira")
    made = stage.start("invite", where, "--keep", "friends", *ira).end()
    assert made.status == 0
    assert Invite.decode(made.out).address == where
    (listed,) = stage.start("rooms", *ira).end().out.splitlines()
    assert listed.startswith(f"friends {where} {key('server').public.fingerprint} ")
    servers[0][0].kill()
    friend = stage.start(
        "client", "-", "Boris", *stage.keys("client", "other"), env={"CHAT_INVITE": made.out}
    )
    friend.expect("as in the invite\n", "[+] In a sealed room. You are the first here.\n")
    assert stage.start("send", "friends", "Ira", "Hi", *ira).end() == Result(0, "", "")
    friend.expect("Ira: Hi\n")
    again = stage.start("invite", where, *ira).end()
    assert again.status == 0
    assert "names a server that could not be checked: cannot reach 127.0.0.1 port" in again.err
    asked = stage.start("fingerprint", where, *ira).end()
    assert asked.out == f"{key('server').public.fingerprint}\n"
    assert "known with this key" in asked.err
