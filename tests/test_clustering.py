"""What a server of a cluster refuses before it asks Redis, and how it is named."""

import socket
import sys
from pathlib import Path

import pytest

from chat.__main__ import main
from chat.cli import parser
from chat.clustering import Clustering, title_of
from chat.errors import UsageError
from tests.support.processes import place_key


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # Its key, which no other server can have, would stand in Redis for that of the cluster.
        (["--ephemeral"], "--ephemeral does not keep"),
        (["--cluster-ca", "ca.pem"], "for Redis over TLS"),
    ],
)
def test_option_that_does_not_fit_is_refused_before_a_key_is_made(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    server = ["server", "--cluster", "redis://127.0.0.1:1", "--keys", str(tmp_path)]
    with pytest.raises(UsageError, match=said):
        Clustering(parser().parse_args([*server, *arguments]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "option", ["--cluster-key", "--cluster-name", "--cluster-password-file", "--cluster-ca"]
)
def test_option_of_a_cluster_without_one_is_refused(
    option: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It would serve rooms of its own."""
    assert main(["server", "--port", "0", "--keys", str(tmp_path), option, "some"]) == 2
    assert capfd.readouterr() == (
        "",
        f"chat: error: {option} is for a cluster\nchat: hint: --cluster URL\n",
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--motd", "--authorized-keys", "--room-tags"])
def test_check_looks_at_the_other_files_of_the_server_before_it_asks_redis(
    option: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place_key(tmp_path, "server", "server")
    server = ["server", "--cluster", "redis://127.0.0.1:1", "--keys", str(tmp_path), "--check"]
    assert main([*server, option, str(tmp_path / "none")]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{tmp_path / 'none'}" in err.splitlines()[0]
    assert "Redis" not in err


def test_check_looks_at_the_log_and_makes_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place_key(tmp_path, "server", "server")
    server = ["server", "--cluster", "redis://127.0.0.1:1", "--keys", str(tmp_path), "--check"]
    for log in (tmp_path, tmp_path / "none" / "log", tmp_path / ("x" * 300)):
        assert main([*server, "--log", str(log)]) == 1
        told = capfd.readouterr().err.splitlines()[0]
        assert told.startswith(f"chat: error: the log {log} cannot be written: ")
    log = tmp_path / "log"
    assert main([*server, "--log", str(log)]) == 1
    assert "Redis" in capfd.readouterr().err
    assert not log.exists()


def test_list_with_a_line_that_cannot_be_read_is_named_by_check(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place_key(tmp_path, "server", "server")
    (tmp_path / "room_tags").write_text("no tag\n")
    server = ["server", "--cluster", "redis://127.0.0.1:1", "--keys", str(tmp_path), "--check"]
    assert main([*server, "--room-tags", str(tmp_path / "room_tags")]) == 1
    told = f"[!] Line 1 of {tmp_path / 'room_tags'}: damaged; passed over."
    assert capfd.readouterr().err.splitlines()[0] == told


def test_missing_package_is_told_before_a_key_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hiredis", None)
    for module in ("check", "resp"):
        monkeypatch.delitem(sys.modules, f"chat.server.cluster.{module}", raising=False)
    server = ["server", "--cluster", "redis://127.0.0.1:1", "--keys", str(tmp_path)]
    for check in (["--check"], []):
        assert main([*server, "--port", "0", *check]) == 2
        assert capfd.readouterr() == (
            "",
            "chat: error: several servers need the package hiredis\n"
            f"chat: hint: {sys.executable} -m pip install hiredis\n",
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_server_is_named_by_an_address_at_which_it_is_reached(host: str, shown: bool) -> None:
    with socket.socket() as listener:
        listener.bind((host, 0))
        title = title_of([listener])
        assert title.endswith(f":{listener.getsockname()[1]}")
    assert title.startswith(f"{host}:") == shown
