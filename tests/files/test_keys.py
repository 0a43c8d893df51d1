"""Key files: made, found again, refused, and never damaged."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from Cryptodome.IO import PEM as PEM_FORM
from Cryptodome.IO import PKCS8
from Cryptodome.PublicKey import ECC, RSA
from Cryptodome.Util.asn1 import DerNull, DerSequence

from chat.errors import IdentityError
from chat.files.keys import load_or_make_key
from chat.kex import PrivateKey
from tests.support.helpers import (
    KEYS,
    fork,
    key,
    lying,
    mode_of,
    needs_openssl,
    needs_ssh_keygen,
    output_of,
)

PEM = (KEYS / "server.pem").read_bytes()


def never() -> PrivateKey:
    """For `make`, where no key may be made."""
    raise AssertionError("a key is made in vain")


def other() -> PrivateKey:
    """For `make`: another key than the server's."""
    return key("other")


def load(directory: Path) -> PrivateKey:
    """Load a server's key that is there already."""
    return load_or_make_key(directory, "server", never)


def refused(directory: Path) -> IdentityError:
    """The error when a server's key is refused; none is made, and no file changes."""
    before = files(directory)
    with pytest.raises(IdentityError) as caught:
        load(directory)
    assert files(directory) == before
    return caught.value


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A private key file in a folder that is in order."""
    path = tmp_path / "server_private_key.pem"
    path.touch(mode=0o600)
    path.write_bytes(PEM)
    return path


def files(directory: Path) -> dict[str, bytes]:
    """Every file of a folder and what is in it."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# -- making a key


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


def test_new_files_are_pkcs8_and_spki_and_the_public_one_is_written_anew(tmp_path: Path) -> None:
    load_or_make_key(tmp_path, "server", other)
    private, public = (tmp_path / f"server_{kind}_key.pem" for kind in ("private", "public"))
    before = files(tmp_path)
    for path, label in ((private, b"PRIVATE KEY"), (public, b"PUBLIC KEY")):
        assert before[path.name].startswith(b"-----BEGIN " + label + b"-----\n")
        assert before[path.name].endswith(b"\n-----END " + label + b"-----\n")
    public.unlink()
    assert load(tmp_path) == key("other")
    assert files(tmp_path) == before
    assert RSA.import_key(public.read_bytes()) == key("other").rsa.public_key()


def test_key_is_made_once_and_found_again_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Server and client have keys of their own."""
    made = [key("other")]
    assert load_or_make_key(tmp_path, "server", made.pop) == key("other")
    assert load_or_make_key(tmp_path, "client", lambda: key("ira")) == key("ira")
    before = files(tmp_path)
    monkeypatch.setattr("chat.files.storage.create", None)
    assert load(tmp_path) == key("other")
    assert load_or_make_key(tmp_path, "client", never) == key("ira")
    assert files(tmp_path) == before
    assert len(before) == 4


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
    real = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    assert str(refused(tmp_path)) == f"cannot use {tmp_path}: permission denied"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702, 0o1777])
def test_folder_that_others_can_write_is_refused_with_the_remedy(
    tmp_path: Path, private: Path, mode: int
) -> None:
    """Both with a key in it and before one is made."""
    tmp_path.chmod(mode)
    for _ in range(2):
        error = refused(tmp_path)
        assert str(error) == f"others can change the files in {tmp_path}"
        assert error.hint == f"chmod go-w {tmp_path}"
        private.unlink(missing_ok=True)
    tmp_path.chmod(mode & ~0o022)
    assert load_or_make_key(tmp_path, "server", other) == key("other")


@pytest.mark.parametrize("of", ["the folder", "the private key"])
def test_what_belongs_to_another_user_is_refused(
    tmp_path: Path, private: Path, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path if of == "the folder" else private
    call = "stat" if of == "the folder" else "fstat"
    monkeypatch.setattr(os, call, lying(getattr(os, call), user=1))
    error = refused(tmp_path)
    assert str(error) == f"{of} {path} belongs to another user"
    assert "--keys" in error.hint


@pytest.mark.parametrize("calls", [("stat", "fstat"), ("fstat",)], ids=["all", "files alone"])
@pytest.mark.parametrize("there", [True, False], ids=["key there", "no key yet"])
def test_file_system_without_permissions_is_told_before_a_key_is_made(
    tmp_path: Path,
    there: bool,
    calls: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """It may show modes that only look safe for a folder."""
    if there:
        request.getfixturevalue("private")
    for call in calls:
        monkeypatch.setattr(os, call, lying(getattr(os, call), mode=0o777))
    error = refused(tmp_path)
    assert str(error) == f"{tmp_path} is no place for keys: this file system keeps no permissions"
    assert "--keys" in error.hint


@pytest.mark.parametrize("step", ["write", "fsync", "link", "replace", "unlink"])
@pytest.mark.parametrize("has_links", [True, False], ids=["links", "no links"])
def test_program_that_is_killed_leaves_nothing_that_the_next_one_does_not_clear(
    tmp_path: Path, has_links: bool, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", refuse_to_link)

    def be_killed() -> None:
        monkeypatch.setattr(os, step, lambda *_arguments: os.kill(os.getpid(), signal.SIGKILL))
        load_or_make_key(tmp_path, "server", lambda: key("server"))

    _, status = os.waitpid(fork(be_killed), 0)
    if (has_links, step) == (True, "replace"):
        assert status == 0
    else:
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert load_or_make_key(tmp_path, "server", lambda: key("server")) == key("server")
    assert set(files(tmp_path)) == {"server_private_key.pem", "server_public_key.pem"}


def refuse_to_link(*_arguments: object) -> None:
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def test_what_was_left_of_the_other_files_is_cleared_too(tmp_path: Path, private: Path) -> None:
    for name in (private.name, "server_public_key.pem", "known_servers"):
        (tmp_path / f".{name}.0123abcd").touch()
    load(tmp_path)
    assert set(files(tmp_path)) == {"server_private_key.pem", "server_public_key.pem"}


# -- files that are none


def make_too_large(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "FIFO": (os.mkfifo, "a FIFO, not a file"),
    "too large": (make_too_large, "larger than 65,536 bytes"),
}


@pytest.mark.parametrize("what", NO_FILES)
@pytest.mark.parametrize("kind", ["private", "public"])
def test_what_is_no_file_in_place_of_a_key_is_refused(
    tmp_path: Path, request: pytest.FixtureRequest, what: str, kind: str
) -> None:
    path = tmp_path / f"server_{kind}_key.pem"
    if kind == "public":
        request.getfixturevalue("private")
    make, said = NO_FILES[what]
    make(path)
    with pytest.raises(IdentityError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"cannot use {path}: {said}"


def test_key_behind_a_link_is_used_and_its_folder_is_looked_at(
    tmp_path: Path, private: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = private.rename(elsewhere / "key")
    private.symlink_to(target)
    assert load(tmp_path) == key("server")
    elsewhere.chmod(0o777)
    with pytest.raises(IdentityError, match=f"others can change the files in {elsewhere}"):
        load(tmp_path)


def test_link_that_leads_nowhere_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "server_private_key.pem").symlink_to(target)
    with pytest.raises(IdentityError, match="no such file"):
        load_or_make_key(tmp_path, "server", other)
    assert not target.exists()


# -- private keys that are refused


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666])
def test_private_key_open_to_others_is_refused_with_the_remedy(
    tmp_path: Path, private: Path, mode: int
) -> None:
    private.chmod(mode)
    error = refused(tmp_path)
    assert str(error) == f"others can read the private key {private}"
    assert error.hint == f"chmod 600 {private}"
    assert mode_of(private) == mode
    private.chmod(mode & 0o700)
    assert load(tmp_path) == key("server")


def pkcs8(**changed: int) -> bytes:
    """A key file in our own format, with other numbers."""
    rsa = key("server").rsa
    numbers = {name: int(getattr(rsa, name)) for name in ("n", "e", "d", "p", "q")} | changed
    fields = [0, *numbers.values(), 1, 1, 1]
    der = PKCS8.wrap(DerSequence(fields).encode(), "1.2.840.113549.1.1.1", key_params=DerNull())
    return PEM_FORM.encode(der, "PRIVATE KEY").encode()


def elliptic(curve: str, *, use_pkcs8: bool = True) -> bytes:
    return ECC.generate(curve=curve).export_key(format="PEM", use_pkcs8=use_pkcs8).encode()


def encrypted(pkcs: int, protection: str | None = None) -> bytes:
    rsa = key("server").rsa
    return bytes(rsa.export_key(passphrase="secret", pkcs=pkcs, protection=protection))


E3 = {"e": 3, "d": pow(3, -1, int((key("server").rsa.p - 1) * (key("server").rsa.q - 1)))}
PBES2 = "PBKDF2WithHMAC-SHA512AndAES256-CBC"

UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "damaged"),
    "text": (lambda: b"this is not a key\n", "damaged"),
    "binary": (lambda: bytes(range(256)), "damaged"),
    "truncated": (lambda: PEM[:-200], "damaged"),
    "headless": (lambda: PEM[30:], "damaged"),
    "altered": (lambda: PEM.replace(b"\nMII", b"\nMIJ"), "damaged"),
    "footer only": (lambda: PEM.splitlines()[-1], "damaged"),
    "base64 of nothing": (
        lambda: b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        "damaged",
    ),
    "openssh cut": (
        lambda: b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n",
        "damaged",
    ),
    "other product": (lambda: pkcs8(n=int(key("server").rsa.n) + 2), "damaged"),
    "other inverse": (lambda: pkcs8(d=int(key("server").rsa.d) + 2), "damaged"),
    "no primes": (lambda: pkcs8(p=1, q=int(key("server").rsa.n)), "damaged"),
    "public only": (lambda: bytes(key("server").rsa.public_key().export_key()), "public key only"),
    "too small": (lambda: bytes(RSA.generate(1024).export_key(pkcs=8)), "1024 bits"),
    "other exponent": (lambda: pkcs8(**E3), "exponent"),
    "EC": (lambda: elliptic("P-256"), "of another kind: EC"),
    "EC as OpenSSL writes it": (lambda: elliptic("P-384", use_pkcs8=False), "of another kind: EC"),
    "Ed25519": (lambda: elliptic("ed25519"), "of another kind: Ed25519"),
    "PBES2": (lambda: encrypted(pkcs=8, protection=PBES2), "encrypted"),
    "scrypt": (lambda: encrypted(pkcs=8, protection="scryptAndAES128-CBC"), "encrypted"),
    "PKCS#1": (lambda: encrypted(pkcs=1), "encrypted"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_private_key_that_cannot_be_used_is_refused_with_the_remedy_and_left_as_it_was(
    tmp_path: Path, private: Path, what: str
) -> None:
    make, said = UNUSABLE[what]
    private.write_bytes(make())
    error = refused(tmp_path)
    assert str(private) in str(error)
    assert said in str(error)
    assert ("openssl pkey -in" if said == "encrypted" else "move it away") in error.hint


@needs_ssh_keygen
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("-t ed25519 -N", "is of another kind: Ed25519"),
        ("-t ecdsa -N", "is of another kind: EC"),
        ("-t rsa -b 1024 -N", "is encrypted"),
    ],
)
def test_private_key_of_ssh_keygen_that_cannot_be_used_is_told_why(
    tmp_path: Path, options: str, said: str
) -> None:
    path = tmp_path / "server_private_key.pem"
    passphrase = "secret" if "rsa" in options else ""
    output_of("ssh-keygen", "-q", *options.split(), passphrase, "-f", path)
    with pytest.raises(IdentityError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"the private key {path} {said}"


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


@needs_openssl
def test_openssl_reads_both_files(tmp_path: Path) -> None:
    load_or_make_key(tmp_path, "server", other)
    private, public = (tmp_path / f"server_{kind}_key.pem" for kind in ("private", "public"))
    assert b"Key is valid" in output_of("openssl", "pkey", "-in", private, "-check", "-noout")
    derived = output_of("openssl", "pkey", "-in", private, "-pubout")
    assert derived == output_of("openssl", "pkey", "-pubin", "-in", public)
    assert derived == public.read_bytes()
