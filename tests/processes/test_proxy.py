"""A real SOCKS 5 proxy between real programs: a name, a password, a cut; and aliases."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes.test_end_to_end import is_listening
from tests.support.helpers import key
from tests.support.processes import Piped, Stage, await_condition

StartProxy = Callable[..., Piped]


@pytest.fixture
def port(stage: Stage) -> int:
    """Where the proxy listens."""
    return stage.free_port()


@pytest.fixture
def start_proxy(stage: Stage, port: int) -> StartProxy:
    """Start a proxy that is ready."""
    microsocks = shutil.which("microsocks")
    if microsocks is None:
        pytest.skip("the package microsocks is not installed")

    def start(*arguments: str) -> Piped:
        proxy = stage.run([microsocks, "-i", "127.0.0.1", "-p", str(port), *arguments])
        await_condition(lambda: is_listening(port))
        return proxy

    return start


def test_all_commands_reach_the_server_through_the_proxy(
    stage: Stage, start_proxy: StartProxy, port: int
) -> None:
    proxy = start_proxy("-1", "-u", "ira", "-P", "h:u@sh")
    env = {"CHAT_PROXY": f"socks5h://ira:h%3Au%40sh@127.0.0.1:{port}"}
    server, server_port = stage.server()
    keys = stage.keys("client", "ira")
    where = ["localhost", str(server_port)]
    looked = stage.start("fingerprint", *where, *keys, env=env).end()
    assert looked.out == f"{key('server').public.fingerprint}\n"
    made = stage.start("invite", *where, *keys, env=env).end()
    invited = stage.client(server_port, "Ira", host="localhost", env=env)
    invited.expect("[+] In the room: ")
    sent = stage.start("send", "-", "Ira", "hi", *keys, env={**env, "CHAT_INVITE": made.out})
    assert sent.end() == (0, "", "")
    server.type("TERMINATE")
    server.end()
    proxy.signal(signal.SIGTERM)
    assert proxy.end().err.count(f"connected to localhost:{server_port}\n") == 4


def test_wrong_password_and_lost_proxy_are_told_without_the_password(
    stage: Stage, start_proxy: StartProxy, port: int
) -> None:
    proxy = start_proxy("-u", "ira", "-P", "right")
    url = f"socks5h://127.0.0.1:{port}"
    command = ["send", "127.0.0.1", "9", "Ira", "hi", *stage.keys("client", "ira"), "--proxy"]
    wrong = stage.start(*command, url.replace("//", "//ira:hush@")).end()
    assert (wrong.status, wrong.out) == (1, "")
    assert "it does not accept the user and the password" in wrong.err
    assert "hush" not in wrong.err
    assert "it asks for a user and a password" in stage.start(*command, url).end().err
    proxy.kill()
    lost = stage.start(*command, url).end()
    assert f"chat: error: no way to the proxy {url}: " in lost.err
    assert "chat: hint: is the proxy running, and is this its port?\n" in lost.err


def test_client_comes_back_through_the_proxy(
    stage: Stage, start_proxy: StartProxy, port: int
) -> None:
    """The proxy dies, which cuts the connection; while it is away there is no other way."""
    proxy = start_proxy()
    server, server_port = stage.server()
    sahnawaz = stage.member(server_port, "Sahnawaz", key="sahnawaz")
    ira = stage.client(server_port, "Ira", "--proxy", f"socks5h://127.0.0.1:{port}")
    ira.expect("[+] In the room: ")
    sahnawaz.expect("Ira")
    proxy.kill()
    sahnawaz.expect("[!] Ira lost the connection.")
    ira.type("said while it was away")
    sahnawaz.type("what Ira has missed")
    server.expect("Message exchanged")
    start_proxy()
    ira.expect("what Ira has missed")
    sahnawaz.expect("Ira: said while it was away")
    ira.end_input()
    assert ira.end().status == 0
    server.type("TERMINATE")
    assert ira.out.count("what Ira has missed") == 1
    assert sahnawaz.end().out.count("said while it was away") == 1


def test_two_servers_at_one_address_are_known_by_their_aliases(stage: Stage) -> None:
    keys = stage.keys("client", "ira")
    port = stage.free_port()
    for alias, name in (("work", "server"), ("home", "other"), ("work", "server")):
        server = stage.start("server", "--port", str(port), *stage.keys("server", name))
        server.expect("[+] Running on port: ", "[+] Fingerprint: ")
        command = ["send", "127.0.0.1", str(port), "Ira", "hi", *keys, "--alias", alias]
        assert stage.start(*command).end().status == 0
        server.type("TERMINATE")
        server.end()
    known = (Path(keys[1]) / "known_servers").read_text().split("\n")
    assert [line.split(" ")[0] for line in known if line] == ["work", "home"]
    server = stage.start("server", "--port", str(port), *stage.keys("server", "other"))
    server.expect("[+] Running on port: ", "[+] Fingerprint: ")
    refused = stage.start("send", "127.0.0.1", str(port), "Ira", "hi", *keys, "--alias", "work")
    status, _, err = refused.end()
    assert status == 4
    assert "THE KEY OF THE SERVER work HAS CHANGED" in err
    assert f"chat forget --alias work --keys '{keys[1]}'" in err
    forgotten = stage.start("forget", "--alias", "work", *keys).end()
    assert forgotten.out == f"[+] Forgot the key {key('server').public.fingerprint}\n"
