"""Key files and known servers: made, found again, refused, and never damaged."""

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from Cryptodome.PublicKey import ECC, RSA
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.errors import IdentityError, ServerKeyError
from chat.identity import KnownServers, check_fingerprint, load_or_make_key
from chat.kex import PrivateKey
from tests.helpers import KEYS, key

PEM = (KEYS / "server.pem").read_bytes()


def never() -> PrivateKey:
    """In place of what makes a key, where none may be made."""
    raise AssertionError("a key is made in vain")


def other() -> PrivateKey:
    """In place of what makes a key."""
    return key("other")


def load(directory: Path) -> PrivateKey:
    """Load a server's key that is there already."""
    return load_or_make_key(directory, "server", never)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A private key file in a folder that is in order."""
    path = tmp_path / "server_private_key.pem"
    path.touch(mode=0o600)
    path.write_bytes(PEM)
    return path


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(directory: Path) -> dict[str, bytes]:
    """Every file of a folder and what is in it."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# -- making a key


def test_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    made = [key("other")]
    assert load_or_make_key(tmp_path, "server", made.pop) == key("other")
    assert made == []
    assert load(tmp_path) == key("other")


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_new_files_can_be_read_by_nobody_else_but_for_the_public_one(
    tmp_path: Path, role: str, umask: int
) -> None:
    directory = tmp_path / "chat"
    before = os.umask(umask)
    try:
        load_or_make_key(directory, role, other)
    finally:
        os.umask(before)
    assert mode_of(directory) == 0o700
    assert {path.name: mode_of(path) for path in directory.iterdir()} == {
        f"{role}_private_key.pem": 0o600,
        f"{role}_public_key.pem": 0o644 & ~umask,
    }


def test_new_files_are_pkcs8_and_spki(tmp_path: Path) -> None:
    load_or_make_key(tmp_path, "client", other)
    made = files(tmp_path)
    private, public = made["client_private_key.pem"], made["client_public_key.pem"]
    assert private.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert private.endswith(b"\n-----END PRIVATE KEY-----\n")
    assert public.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    assert public.endswith(b"\n-----END PUBLIC KEY-----\n")


def test_key_is_found_again_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_or_make_key(tmp_path, "server", other)
    before = files(tmp_path)
    monkeypatch.setattr("chat.identity._write_new", None)
    assert load(tmp_path) == key("other")
    assert files(tmp_path) == before


def test_server_and_client_have_keys_of_their_own(tmp_path: Path, private: Path) -> None:
    assert load_or_make_key(tmp_path, "client", other) == key("other")
    assert load(tmp_path) == key("server")
    assert len(files(tmp_path)) == 4


def test_missing_public_file_is_written_anew(tmp_path: Path, private: Path) -> None:
    assert load(tmp_path) == key("server")
    public = tmp_path / "server_public_key.pem"
    assert RSA.import_key(public.read_bytes()) == key("server").rsa.public_key()
    assert private.read_bytes() == PEM


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(IdentityError, match="no space left on device"):
        load_or_make_key(tmp_path, "server", other)
    assert files(tmp_path) == {}


def test_key_that_another_process_made_meanwhile_is_the_one(tmp_path: Path) -> None:
    path = tmp_path / "server_private_key.pem"

    def make() -> PrivateKey:
        path.touch(mode=0o600)
        path.write_bytes(PEM)
        return key("other")

    assert load_or_make_key(tmp_path, "server", make) == key("server")
    assert set(files(tmp_path)) == {"server_private_key.pem", "server_public_key.pem"}
    assert path.read_bytes() == PEM


def test_public_file_that_another_process_made_meanwhile_is_good(
    tmp_path: Path, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = tmp_path / "server_public_key.pem"
    real = os.link

    def link(source: Path, target: Path) -> None:
        shutil.copy(source, public)
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    assert load(tmp_path) == key("server")
    assert set(files(tmp_path)) == {"server_private_key.pem", "server_public_key.pem"}


# -- folders that cannot be used


@pytest.mark.parametrize("folder", ["file/chat", "file", "/proc/chat", "/dev/null/chat"])
def test_folder_that_cannot_be_made_is_refused_before_a_key_is(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(IdentityError, match="cannot use") as caught:
        load_or_make_key(tmp_path / folder, "server", never)
    assert "--keys" in caught.value.hint
    assert "--ephemeral" in caught.value.hint
    assert files(tmp_path) == {"file": b"in the way"}


def test_folder_that_cannot_be_written_is_refused_before_a_key_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    with pytest.raises(IdentityError) as caught:
        load_or_make_key(tmp_path, "server", never)
    assert str(caught.value) == f"cannot use {tmp_path}: permission denied"


def test_folder_in_place_of_the_private_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "server_private_key.pem").mkdir()
    with pytest.raises(IdentityError, match="is a directory"):
        load(tmp_path)


def test_folder_in_place_of_the_public_file_is_refused(tmp_path: Path, private: Path) -> None:
    (tmp_path / "server_public_key.pem").mkdir()
    with pytest.raises(IdentityError, match="is a directory"):
        load(tmp_path)


def test_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "server_private_key.pem").symlink_to(target)
    with pytest.raises(IdentityError, match="no such file"):
        load_or_make_key(tmp_path, "server", other)
    assert not target.exists()


# -- private keys that are refused


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o666])
def test_private_key_open_to_others_is_refused_with_the_remedy(
    tmp_path: Path, private: Path, mode: int
) -> None:
    private.chmod(mode)
    with pytest.raises(IdentityError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"others can read the private key {private}"
    assert caught.value.hint == f"chmod 600 {private}"
    assert files(tmp_path) == {private.name: PEM}
    assert mode_of(private) == mode


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_private_key_of_its_owner_alone_is_taken(tmp_path: Path, private: Path, mode: int) -> None:
    private.chmod(mode)
    assert load(tmp_path) == key("server")


def weak(bits: int, exponent: int) -> bytes:
    return bytes(RSA.generate(bits, e=exponent).export_key(pkcs=8))


BAD_KEYS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"this is not a key\n",
    "binary": lambda: bytes(range(256)),
    "truncated": lambda: PEM[:-200],
    "headless": lambda: PEM[30:],
    "altered": lambda: PEM.replace(b"\nMII", b"\nMIJ"),
    "footer only": lambda: PEM.splitlines()[-1],
    "base64 of nothing": lambda: b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
    "openssh cut": lambda: (
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n"
    ),
    "elliptic": lambda: ECC.generate(curve="P-256").export_key(format="PEM").encode(),
    "public only": lambda: bytes(key("server").rsa.public_key().export_key()),
    "too small": lambda: weak(1024, 65537),
    "other exponent": lambda: weak(2048, 3),
}


@pytest.mark.parametrize("what", BAD_KEYS)
def test_private_key_that_is_none_is_refused_and_left_as_it_was(
    tmp_path: Path, private: Path, what: str
) -> None:
    damaged = BAD_KEYS[what]()
    assert damaged != PEM
    private.write_bytes(damaged)
    with pytest.raises(IdentityError) as caught:
        load(tmp_path)
    assert str(private) in str(caught.value)
    assert "move it away" in caught.value.hint
    assert files(tmp_path) == {private.name: damaged}


@pytest.mark.parametrize(
    "protection", ["PBKDF2WithHMAC-SHA512AndAES256-CBC", "scryptAndAES128-CBC", None]
)
def test_encrypted_private_key_is_refused_with_the_remedy_and_left_as_it_was(
    tmp_path: Path, private: Path, protection: str | None
) -> None:
    encrypted = bytes(
        key("server").rsa.export_key(passphrase="secret", pkcs=8, protection=protection)
        if protection
        else key("server").rsa.export_key(passphrase="secret", pkcs=1)
    )
    private.write_bytes(encrypted)
    with pytest.raises(IdentityError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"the private key {private} is encrypted"
    assert caught.value.hint.startswith(f"openssl pkey -in {private}")
    assert files(tmp_path) == {private.name: encrypted}


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(PEM) - 1), byte=st.integers(0, 255))
def test_altered_private_key_is_the_same_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    directory = tmp_path_factory.mktemp("keys")
    path = directory / "server_private_key.pem"
    path.touch(mode=0o600)
    path.write_bytes(PEM[:at] + bytes((byte,)) + PEM[at + 1 :])
    try:
        assert load(directory).rsa.has_private()
    except IdentityError:
        assert list(files(directory)) == [path.name]


# -- public keys that are refused


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is damaged"),
        (b"-----BEGIN PUBLIC KEY-----\n", "is damaged"),
        (bytes(range(256)), "is damaged"),
        (key("other").rsa.public_key().export_key(), "does not belong to the private one"),
        (ECC.generate(curve="P-256").public_key().export_key(format="PEM").encode(), "is damaged"),
    ],
    ids=["empty", "cut", "binary", "another's", "elliptic"],
)
def test_wrong_public_file_is_refused_and_left_as_it_was(
    tmp_path: Path, private: Path, content: bytes, what: str
) -> None:
    public = tmp_path / "server_public_key.pem"
    public.write_bytes(content)
    with pytest.raises(IdentityError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"the public key {public} {what}"
    assert caught.value.hint == f"remove {public} to have it written anew"
    assert files(tmp_path) == {private.name: PEM, public.name: content}


# -- other programs


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_reads_both_files(tmp_path: Path) -> None:
    load_or_make_key(tmp_path, "server", other)

    def run(*arguments: str) -> str:
        command = ["openssl", "pkey", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    assert "Key is valid" in run("-in", "server_private_key.pem", "-check", "-noout")
    derived = run("-in", "server_private_key.pem", "-pubout")
    assert derived == run("-pubin", "-in", "server_public_key.pem")
    assert derived == (tmp_path / "server_public_key.pem").read_text()


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
def test_ssh_keygen_finds_known_servers_and_prints_the_same_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "known_servers"
    KnownServers(path, read_only=False).check("::1", 9443, key("server").public)
    command = ["ssh-keygen", "-l", "-F", "[::1]:9443", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert key("server").public.fingerprint in done.stdout


# -- known servers


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Where known servers are listed."""
    return tmp_path / "known_servers"


def check(path: Path, host: str = "example", port: int = 9443, name: str = "server") -> bool:
    return KnownServers(path, read_only=False).check(host, port, key(name).public)


def entry(host: str = "example", port: int = 9443, name: str = "server") -> str:
    return f"[{host}]:{port} {key(name).public.openssh}\n"


def test_new_server_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "known_servers"
    assert not check(path)
    assert path.read_text() == entry()
    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == 0o700
    assert check(path)
    assert path.read_text() == entry()


def test_host_is_the_same_in_any_case(known: Path) -> None:
    assert not check(known, host="Example")
    assert known.read_text() == entry()
    assert check(known, host="EXAMPLE")


def test_host_in_the_file_is_the_same_in_any_case(known: Path) -> None:
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
    content = before + entry()
    known.write_text(content)
    with pytest.raises(ServerKeyError) as caught:
        check(known, name="other")
    text = str(caught.value)
    assert "[example]:9443 HAS CHANGED" in text
    assert f"known: {key('server').public.fingerprint}\n" in text
    assert f"shown: {key('other').public.fingerprint}\n" in text
    assert "nothing of yours has been sent" in text
    line = before.count("\n") + 1
    assert caught.value.hint.endswith(f"remove line {line} of {known}")
    assert caught.value.exit_status == 4
    assert known.read_text() == content


def test_one_of_several_keys_of_a_server_is_enough(known: Path) -> None:
    known.write_text(entry() + entry(name="other"))
    assert check(known)
    assert check(known, name="other")
    with pytest.raises(ServerKeyError, match=r"known: .*"):
        check(known, name="ira")


@pytest.mark.parametrize(
    "line",
    [
        "# [example]:9443 ssh-rsa AAAA",
        "",
        "   ",
        "garbage",
        "[example]:9443",
        "[example]:9443 ssh-rsa",
        "[example]:9443 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==",
        "|1|c2FsdA==|aGFzaA== ssh-rsa AAAA",
        "[elsewhere]:9443 ssh-rsa !!!!",
        "[elsewhere]:9443 ssh-rsa Ärger",
        "example ssh-rsa AAAA",
        "\x00\x01\x02",
    ],
)
def test_line_that_is_not_about_this_server_is_skipped_and_kept(known: Path, line: str) -> None:
    known.write_text(f"{line}\n")
    assert not check(known)
    assert known.read_text() == f"{line}\n{entry()}"
    assert check(known)


def test_line_of_several_hosts_with_a_comment_is_understood(known: Path) -> None:
    hosts, _, public = entry().strip().partition(" ")
    known.write_text(f"  [elsewhere]:22,{hosts},10.0.0.1  {public} the comment\r\n")
    assert check(known)
    with pytest.raises(ServerKeyError):
        check(known, name="other")


def test_bytes_that_are_not_utf8_are_kept(known: Path) -> None:
    known.write_bytes(b"# M\xfcller\n")
    assert not check(known)
    assert known.read_bytes() == b"# M\xfcller\n" + entry().encode()
    assert check(known)


@pytest.mark.parametrize("before", [b"# no newline", b"\xff", entry("elsewhere").strip().encode()])
def test_file_without_a_final_newline_gets_one(known: Path, before: bytes) -> None:
    known.write_bytes(before)
    assert not check(known)
    assert known.read_bytes() == before + b"\n" + entry().encode()
    assert check(known)


@pytest.mark.parametrize("damaged", ["AAAA!", "AAA", "=", "\u00c4AAA", "\ufffd"])
def test_damaged_line_of_this_server_is_neither_trusted_nor_replaced(
    known: Path, damaged: str
) -> None:
    content = f"# first\n[example]:9443 ssh-rsa {damaged}\n"
    known.write_text(content)
    with pytest.raises(IdentityError) as caught:
        check(known)
    assert str(caught.value) == f"line 2 of {known} is damaged"
    assert known.read_text() == content


def test_key_that_is_cut_off_counts_as_another_key(known: Path) -> None:
    """Base64 that ends at a whole byte is no proof of damage."""
    known.write_text(entry().strip()[:-40] + "\n")
    with pytest.raises(ServerKeyError):
        check(known)


@pytest.mark.parametrize("line", ["", entry("elsewhere")])
def test_read_only_list_remembers_nothing(known: Path, line: str) -> None:
    if line:
        known.write_text(line)
    assert not KnownServers(known, read_only=True).check("example", 9443, key("server").public)
    assert known.exists() == bool(line)
    assert not line or known.read_text() == line


def test_read_only_list_makes_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "known_servers"
    KnownServers(path, read_only=True).check("example", 9443, key("server").public)
    assert list(tmp_path.iterdir()) == []


def test_read_only_list_still_tells_friend_from_foe(known: Path) -> None:
    known.write_text(entry())
    servers = KnownServers(known, read_only=True)
    assert servers.check("example", 9443, key("server").public)
    with pytest.raises(ServerKeyError):
        servers.check("example", 9443, key("other").public)


def test_list_below_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IdentityError, match="cannot use") as caught:
        check(tmp_path / "file" / "known_servers")
    assert "--keys" in caught.value.hint


def test_folder_in_place_of_the_list_cannot_be_used(known: Path) -> None:
    known.mkdir()
    with pytest.raises(IdentityError, match="is a directory"):
        check(known)


# -- a fingerprint that the user was told


def test_right_fingerprint_passes() -> None:
    check_fingerprint(key("server").public.fingerprint, key("server").public)


def test_wrong_fingerprint_is_refused_with_both() -> None:
    expected, shown = key("other").public.fingerprint, key("server").public.fingerprint
    with pytest.raises(ServerKeyError) as caught:
        check_fingerprint(expected, key("server").public)
    assert f"named: {expected}\n" in str(caught.value)
    assert f"shown: {shown}\n" in str(caught.value)
    assert "nothing of yours has been sent" in str(caught.value)
    assert caught.value.exit_status == 4
