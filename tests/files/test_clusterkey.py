"""The file of the cluster key, and that of a password."""

import os
from pathlib import Path

import pytest

from chat.errors import IdentityError
from chat.files.clusterkey import load_or_make_cluster_key, read_password
from tests.support.helpers import FixedBytes, mode_of, side_by_side


def test_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cluster.key"
    secret, made = load_or_make_cluster_key(path, os.urandom)
    assert made
    assert len(secret) == 32
    assert mode_of(path) == 0o600
    assert load_or_make_cluster_key(path, FixedBytes("other")) == (secret, False)
    assert [file.name for file in path.parent.iterdir()] == ["cluster.key"]


def test_programs_that_start_side_by_side_have_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"

    def start() -> None:
        load_or_make_cluster_key(path, os.urandom)

    side_by_side(start, start, start)
    assert load_or_make_cluster_key(path, os.urandom)[1] is False


def test_blanks_and_lines_in_the_file_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    secret, _ = load_or_make_cluster_key(path, os.urandom)
    text = path.read_bytes()
    path.write_bytes(b" " + text[:20] + b"\r\n" + text[20:] + b"\n")
    assert load_or_make_cluster_key(path, os.urandom) == (secret, False)


@pytest.mark.parametrize(
    "content", [b"", b"?" * 44, b"QUJD\n", b"A" * 88, b"-----BEGIN PRIVATE KEY-----\n"]
)
def test_file_without_a_key_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cluster.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(IdentityError, match=r"cluster\.key holds no cluster key") as caught:
        load_or_make_cluster_key(path, os.urandom)
    assert "copy the file" in caught.value.hint
    assert path.read_bytes() == content


def test_key_that_others_can_read_or_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cluster.key"
    load_or_make_cluster_key(path, os.urandom)
    path.chmod(0o644)
    with pytest.raises(IdentityError, match="others can read the cluster key"):
        load_or_make_cluster_key(path, os.urandom)
    with pytest.raises(IdentityError, match=r"cannot use .*: file exists"):
        load_or_make_cluster_key(path / "below", os.urandom)


def test_password_is_read_from_a_file_of_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_bytes(b"secret\n")
    assert read_password(path) == b"secret\n"
    path.chmod(0o640)
    with pytest.raises(IdentityError, match="others can read the password file") as caught:
        read_password(path)
    assert "secret" not in caught.value.advice
    with pytest.raises(IdentityError, match="no such file"):
        read_password(tmp_path / "none")
