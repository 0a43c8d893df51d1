"""Known servers: remembered, recognised, refused; and the list is never damaged."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from chat.errors import ChatError, IdentityError, ServerKeyError
from chat.files import storage as files
from chat.files.known_servers import KnownServers, check_fingerprint
from chat.limits import KNOWN_SERVERS_BYTES
from tests.support.helpers import key, mode_of, needs_ssh_keygen, output_of, side_by_side


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """The list of known servers."""
    return tmp_path / "known_servers"


def check(
    path: Path,
    host: str = "example",
    port: int = 9443,
    name: str = "server",
    *,
    read_only: bool = False,
) -> bool:
    return KnownServers(path, read_only=read_only).check(host, port, key(name).public) is not None


def refused(path: Path, kind: type[ChatError] = IdentityError, name: str = "server") -> ChatError:
    """The error when this server is refused; the list stays as it is."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(kind) as caught:
        check(path, name=name)
    assert (path.read_bytes() if path.is_file() else None) == before
    return caught.value


def entry(host: str = "example", port: int = 9443, name: str = "server") -> str:
    return f"[{host}]:{port} {key(name).public.openssh} 2026-11-27\n"


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat.files.known_servers.time.strftime", lambda _form: "2026-11-27")


def test_new_server_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "known_servers"
    assert not check(path)
    assert path.read_text() == entry()
    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == 0o700
    assert check(path)
    assert path.read_text() == entry()


def test_alias_stands_for_a_server_whatever_its_address(known: Path) -> None:
    known.write_text(entry("work", 1, "other"))
    servers = KnownServers(known)
    assert servers.check("Work", None, key("server").public) is None
    line = f"work {key('server').public.openssh} 2026-11-27\n"
    assert known.read_text() == entry("work", 1, "other") + line
    assert servers.check("work", None, key("server").public) == "2026-11-27"
    with pytest.raises(ServerKeyError, match="THE KEY OF THE SERVER work HAS CHANGED") as caught:
        servers.check("work", None, key("other").public)
    assert f"    chatapp forget --alias work --keys {known.parent}" in caught.value.hint
    assert servers.choose("work", None, key("other").public)
    assert servers.forget("work", None) == [key("other").public]
    assert known.read_text() == entry("work", 1, "other")


@pytest.mark.parametrize(
    ("comments", "since"),
    [
        (["2026-11-01"], "2026-11-01"),
        (["2026-11-02", "2026-11-01", ""], "2026-11-01"),
        ([""], ""),
        (["ira@home"], ""),
        (["\x1b[31m"], ""),
    ],
)
def test_day_since_which_a_server_is_known_is_told(
    known: Path, comments: list[str], since: str
) -> None:
    known.write_text("".join(f"{entry().rsplit(' ', 1)[0]} {comment}\n" for comment in comments))
    assert KnownServers(known).check("example", 9443, key("server").public) == since


def test_host_is_the_same_in_any_case(known: Path) -> None:
    assert not check(known, host="Example")
    assert known.read_text() == entry()
    assert check(known, host="EXAMPLE")
    known.write_text(entry(host="Example"))
    assert check(known)


@pytest.mark.parametrize(("host", "port"), [("example", 9444), ("example.org", 9443), ("ex", 9443)])
def test_another_address_is_another_server(known: Path, host: str, port: int) -> None:
    known.write_text(entry())
    assert not check(known, host=host, port=port, name="other")
    assert known.read_text() == entry() + entry(host, port, "other")


def test_ipv6_address_is_remembered(known: Path) -> None:
    assert not check(known, host="fe80::1%eth0")
    assert known.read_text().startswith("[fe80::1%eth0]:9443 ssh-rsa ")
    assert check(known, host="fe80::1%eth0")
    assert not check(known, host="fe80::1")


@pytest.mark.parametrize("before", ["", "# a comment\n\n", "garbage\n" * 9, "# page\fbreak\n"])
def test_changed_key_names_both_fingerprints_the_file_and_the_line(
    known: Path, before: str
) -> None:
    known.write_text(before + entry())
    error = refused(known, ServerKeyError, "other")
    text = str(error)
    assert "[example]:9443 HAS CHANGED" in text
    assert f"known: {key('server').public.fingerprint}\n" in text
    assert f"shown: {key('other').public.fingerprint}\n" in text
    assert "nothing of yours has been sent" in text
    line = before.count("\n") + 1
    assert error.hint == (
        "if whoever runs the server confirms the new key, run this, which removes "
        f"line {line} of {known}:\n"
        f"    chatapp forget example 9443 --keys {known.parent}"
    )
    assert error.exit_status == 4


def test_one_of_several_keys_of_a_server_is_enough(known: Path) -> None:
    known.write_text(entry() + entry(name="other"))
    assert check(known)
    assert check(known, name="other")
    refused(known, ServerKeyError, "ira")


ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="


@pytest.mark.parametrize(
    "line",
    [
        *("# [example]:9443 ssh-rsa AAAA", "   ", "garbage", "\x00\x01\x02", "# M\udcfcller"),
        *("[elsewhere]:9443 ssh-rsa !!!!", "[elsewhere]:9443 ssh-rsa Ärger", "\udcff"),
        *(entry("elsewhere").strip(), "example ssh-rsa AAAA"),
        *(f"@revoked [example]:9443 {ED25519}", "@revoked", "@cert-authority *.org ssh-rsa AAAA"),
        *("*,![example]:9443 ssh-rsa AAAA", f"[example]:9443 {ED25519}"),
        *("|1|!!!!|aGFzaA== ssh-rsa AAAA", "|1|c2FsdA== ssh-rsa AAAA"),
        "|1|c2FsdA==|aGFzaA== ssh-rsa AAAA",
    ],
)
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_line_that_is_not_about_this_server_is_skipped_and_kept_and_gets_its_newline(
    known: Path, line: str, end: bytes
) -> None:
    """Even where its bytes are no UTF-8."""
    before = os.fsencode(line)
    known.write_bytes(before + end)
    assert not check(known)
    assert known.read_bytes() == before + b"\n" + entry().encode()
    assert check(known)


def test_line_of_several_hosts_with_a_comment_is_understood(known: Path) -> None:
    hosts, _, public = entry().strip().partition(" ")
    known.write_text(f"  [elsewhere]:22,{hosts},10.0.0.1  {public} the comment\r\n")
    assert check(known)
    refused(known, ServerKeyError, "other")


@pytest.mark.parametrize(
    "damaged",
    ["ssh-rsa AAAA!", "ssh-rsa AAA", "ssh-rsa =", "ssh-rsa ÄAAA", "ssh-rsa AAAA", "ssh-rsa", ""],
)
@pytest.mark.parametrize("marker", ["", "@revoked ", "@Revoked "])
def test_damaged_line_of_this_server_is_neither_trusted_nor_replaced(
    known: Path, marker: str, damaged: str
) -> None:
    content = f"# first\n{marker}[example]:9443 {damaged}\n"
    known.write_text(content)
    assert str(refused(known)) == f"line 2 of {known} is damaged"
    if not marker:
        # Beside a whole line it does no harm.
        known.write_text(content + entry())
        assert check(known)


@pytest.mark.parametrize("newline", ["", "\n"])
def test_line_that_is_cut_off_anywhere_is_never_taken_for_a_changed_key(
    known: Path, newline: str
) -> None:
    # What stands behind the key is a comment.
    whole = entry().rpartition(" ")[0]
    said: set[bool | str] = set()
    for length in {*range(40), *range(0, len(whole), 7), *range(len(whole) - 12, len(whole))}:
        known.write_text(entry("elsewhere") + whole[:length] + newline)
        try:
            said.add(check(known))
        except IdentityError as error:
            said.add(str(error))
    # A line that is cut off within the address may be about any server.
    assert said == {False, f"line 2 of {known} is damaged"}


# -- what ssh understands, too


@pytest.mark.parametrize("hosts", ["*", "[example]:*", "[EX*LE]:944?", "!elsewhere,*"])
def test_address_is_found_by_a_pattern(known: Path, hosts: str) -> None:
    known.write_text(f"{hosts} {key('server').public.openssh}\n")
    assert check(known)
    assert "HAS CHANGED" in str(refused(known, ServerKeyError, "other"))


@pytest.mark.parametrize("hosts", ["[example]:9443", "*", "[other]:1,[EXAMPLE]:9443"])
@pytest.mark.parametrize("known_before", [True, False])
def test_revoked_key_is_refused_whoever_names_it(
    known: Path, hosts: str, known_before: bool
) -> None:
    revoked = f"@revoked {hosts} {key('server').public.openssh}\n"
    content = revoked + entry() * known_before
    known.write_text(content)
    for take in (check, choose):
        with pytest.raises(ServerKeyError) as caught:
            take(known)
        assert str(caught.value).startswith("THE KEY OF THE SERVER [example]:9443 IS REVOKED\n")
        assert f"shown: {key('server').public.fingerprint}\n" in str(caught.value)
        assert "nothing of yours has been sent" in str(caught.value)
        assert f"line 1 of {known} " in caught.value.hint
        assert caught.value.exit_status == 4
    assert known.read_text() == content
    known.write_text(revoked + entry(name="other") * known_before)
    assert check(known, name="other") == known_before


@pytest.mark.parametrize("kind", ["ssh-rsa", "ssh-ed25519"])
def test_line_that_wants_a_certificate_is_refused_unless_the_key_is_known(
    known: Path, kind: str
) -> None:
    line = f"@cert-authority [example]:9443 {kind} AAAA\n"
    known.write_text(line)
    assert f"line 1 of {known} demands a certificate" in str(refused(known))
    known.write_text(line + entry())
    assert check(known)


# -- what the person decides


def choose(path: Path, name: str = "server", *, read_only: bool = False) -> bool:
    return KnownServers(path, read_only=read_only).choose("example", 9443, key(name).public)


def test_key_that_was_named_takes_the_place_of_another(known: Path) -> None:
    before, behind = "# a comment\n" + entry("elsewhere"), entry("last")
    content = before + entry(name="other") + behind
    known.write_text(content)
    assert choose(known, read_only=True)
    assert known.read_text() == content
    assert choose(known)
    assert known.read_text() == before + behind + entry()
    assert check(known)
    # A key that is new, or known beside others, changes nothing.
    for content in ("", entry(), entry(name="other") + entry()):
        known.write_text(content)
        assert not choose(known)
        assert known.read_text() == content


def forget(path: Path) -> list[str]:
    keys = KnownServers(path).forget("Example", 9443)
    return [key.fingerprint if key else "damaged" for key in keys]


def test_server_is_forgotten_and_nothing_else(known: Path) -> None:
    openssh, revoked = key("other").public.openssh, f"@revoked * {key('ira').public.openssh}\n"
    before = entry("elsewhere") + revoked + "# Müller\n"
    known.write_text(
        before + entry() + f" [a]:1,[example]:9443 {openssh} both\n" + "[example]:9443 ssh-rsa\n"
    )
    known.chmod(0o400)
    assert forget(known) == [
        key("server").public.fingerprint,
        key("other").public.fingerprint,
        "damaged",
    ]
    assert known.read_text() == before + f" [a]:1 {openssh} both\n"
    assert mode_of(known) == 0o400
    assert not check(known, name="sahnawaz")


@pytest.mark.parametrize("content", [None, "", entry("elsewhere"), "@revoked " + entry()])
def test_server_that_is_not_known_cannot_be_forgotten(known: Path, content: str | None) -> None:
    if content is not None:
        known.write_text(content)
    with pytest.raises(IdentityError) as caught:
        forget(known)
    assert str(caught.value) == "no key of the server [example]:9443 is known"
    assert str(known) in caught.value.hint
    assert (known.read_text() if known.exists() else None) == content


def test_line_that_holds_for_others_too_is_not_forgotten(known: Path) -> None:
    content = entry() + f"[ex*]:9443 {key('other').public.openssh}\n"
    known.write_text(content)
    with pytest.raises(IdentityError, match=r"line . of .* is not about"):
        forget(known)
    assert known.read_text() == content


# -- side by side, and when the disk is full


def test_of_many_clients_at_once_none_is_lost(known: Path) -> None:
    hosts = [f"host{number}" for number in range(20)]
    side_by_side(*(partial(check, known, host) for host in hosts))
    assert sorted(known.read_text().splitlines()) == sorted(entry(host).strip() for host in hosts)


def test_what_another_client_has_learned_meanwhile_is_heeded(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(folder: Path, wait_seconds: float) -> AbstractContextManager[bool]:
        known.write_text(entry())
        return real(folder, wait_seconds)

    real = files.locked
    monkeypatch.setattr(files, "locked", locked)
    assert check(known)
    known.unlink()
    with pytest.raises(ServerKeyError, match="HAS CHANGED"):
        check(known, name="other")
    assert known.read_text() == entry()


def test_list_that_somebody_holds_for_too_long_is_told(
    known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.files.lines.LOCK_SECONDS", 0)
    with files.locked(known.parent, 0), pytest.raises(IdentityError, match="another program is"):
        check(known)
    assert not check(known)


def test_link_stays_one_and_its_target_is_written(known: Path) -> None:
    target = known.parent / "dotfiles" / "servers"
    target.parent.mkdir()
    known.symlink_to(target)
    assert not check(known)
    assert not check(known, host="elsewhere")
    assert known.is_symlink()
    assert target.read_text() == entry() + entry("elsewhere")


# -- who else can change it


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_list_that_others_can_write_is_refused(known: Path, mode: int) -> None:
    known.write_text(entry())
    known.chmod(mode)
    error = refused(known)
    assert str(error) == f"others can change the list of known servers {known}"
    assert error.hint == f"chmod go-w {known}"


def make_large(path: Path) -> None:
    path.touch()
    os.truncate(path, KNOWN_SERVERS_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "a FIFO, not a file"),
        (Path.mkdir, "is a directory"),
        (make_large, "larger than 4,194,304 bytes"),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_no_list_is_refused(
    known: Path, make: Callable[[Path], None], said: str, read_only: bool
) -> None:
    make(known)
    with pytest.raises(IdentityError, match=f"cannot use {known}: {said}") as caught:
        check(known, read_only=read_only)
    assert "--keys" in caught.value.hint


# -- read only


@pytest.mark.parametrize("line", ["", entry("elsewhere"), entry()])
def test_read_only_list_remembers_nothing_and_still_tells_friend_from_foe(
    known: Path, line: str
) -> None:
    known = known.parent / "folder" / "known_servers"
    assert not check(known, read_only=True)
    assert list(known.parent.parent.iterdir()) == []
    known.parent.mkdir()
    known.write_text(line)
    assert check(known, read_only=True) == (line == entry())
    if line == entry():
        with pytest.raises(ServerKeyError):
            check(known, name="other", read_only=True)
    assert known.read_text() == line


def test_read_only_list_that_is_not_there_needs_no_safe_folder(known: Path) -> None:
    """So --ephemeral helps where nothing can be kept from other users."""
    known.parent.chmod(0o777)
    assert not check(known, read_only=True)
    assert "others can change the files" in str(refused(known))
    known.write_text(entry())
    with pytest.raises(IdentityError, match="others can change"):
        check(known, read_only=True)


# -- other programs


@needs_ssh_keygen
def test_ssh_keygen_finds_known_servers_and_prints_the_same_fingerprint(known: Path) -> None:
    check(known, host="::1")
    found = output_of("ssh-keygen", "-l", "-F", "[::1]:9443", "-f", known)
    assert key("server").public.fingerprint.encode() in found
    output_of("ssh-keygen", "-q", "-H", "-f", known)
    assert known.read_text().startswith("|1|")
    assert check(known, host="::1")
    assert not check(known)


# -- a fingerprint that the user was told


def test_wrong_fingerprint_is_refused_with_both_and_the_right_one_passes() -> None:
    expected, shown = key("other").public.fingerprint, key("server").public.fingerprint
    check_fingerprint(shown, key("server").public)
    with pytest.raises(ServerKeyError) as caught:
        check_fingerprint(expected, key("server").public)
    assert f"named: {expected}\n" in str(caught.value)
    assert f"shown: {shown}\n" in str(caught.value)
    assert "nothing of yours has been sent" in str(caught.value)
    assert caught.value.exit_status == 4
