"""Who may come in, with real processes and real files."""

from pathlib import Path

from chat.limits import LIST_BYTES
from tests.support.helpers import key, mode_of
from tests.support.processes import Stage

STATUS_REFUSED = 3


def test_refused_client_is_told_the_line_that_lets_it_in(stage: Stage, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# friends\nbroken\n{key('sahnawaz').public.openssh} Sahnawaz\n")
    server, port = stage.server("--authorized-keys", str(keys))
    assert f"[!] Line 2 of {keys}: damaged; passed over.\n" in server.out
    stage.member(port, "Sahnawaz", key="sahnawaz")
    public = key("ira").public
    status, out, err = stage.client(port, "Ira").end()
    assert (status, "In the room" in out) == (STATUS_REFUSED, False)
    line = f"{public.openssh} Ira"
    assert err == (
        f"chat: error: the key {public.fingerprint} of Ira is not on the server's list of keys\n"
        f"chat: hint: whoever runs the server can let you in; this is your key:\n    {line}\n"
    )
    with keys.open("a") as file:
        file.write(f"{line}\n")
    stage.member(port, "Ira")
    assert stage.client(port, "Thea", key="other").end().status == STATUS_REFUSED
    server.type("ALLOW Thea")
    server.expect("[+] Thea may come in now")
    assert keys.read_text().endswith(f"{line}\n{key('other').public.openssh} Thea\n")
    stage.member(port, "Thea", key="other")


def test_bans_and_names_outlive_the_server_and_a_damaged_file(stage: Stage) -> None:
    server, port = stage.server()
    stage.member(port, "Ira")
    eve = stage.member(port, "Eve", key="other")
    server.type("BAN Eve spams")
    status, _, err = eve.end()
    assert (status, err.rstrip().endswith(": spams")) == (STATUS_REFUSED, True)
    server.type("TERMINATE")
    assert server.end().status == 0

    folder = Path(stage.keys("server", "server")[1])
    bans, names = folder / "bans", folder / "names"
    assert mode_of(bans) == mode_of(names) == 0o600
    assert [line.split()[-1] for line in names.read_text().splitlines()] == ["Eve", "Ira"]
    with bans.open("a") as file:
        file.write("not a ban\n")
    server, port = stage.server()
    assert f"[!] Line 2 of {bans}: damaged; passed over.\n" in server.out
    status, _, err = stage.client(port, "Boris", key="other").end()
    assert (status, err.count(key("other").public.fingerprint)) == (STATUS_REFUSED, 1)
    assert "hint" not in err
    status, _, err = stage.client(port, "\u0406ra", key="sahnawaz").end()
    assert (status, "another key used it last" in err) == (STATUS_REFUSED, True)

    names.write_bytes(bytes(LIST_BYTES + 1))
    stage.member(port, "Ira")
    server.expect(f"cannot use {names}: larger than", "what was known before still holds.\n")
    server.type("UNBAN Eve", "TERMINATE")
    assert server.end().status == 0
    assert (bans.read_text(), names.stat().st_size) == ("not a ban\n", LIST_BYTES + 1)


def test_list_of_keys_that_is_missing_keeps_the_server_from_starting(stage: Stage) -> None:
    missing = str(stage.folder / "missing")
    status, _, err = stage.start(
        *("server", "--port", "0", *stage.keys("server", "server")),
        *("--authorized-keys", missing),
    ).end()
    assert (status, "no such file" in err) == (1, True)


def test_bans_that_cannot_be_read_keep_the_server_from_starting(stage: Stage) -> None:
    folder = stage.keys("server", "server")
    bans = Path(folder[1]) / "bans"
    bans.write_bytes(bytes(LIST_BYTES + 1))
    status, _, err = stage.start("server", "--port", "0", *folder).end()
    assert (status, f"cannot use {bans}: larger than" in err) == (1, True)
