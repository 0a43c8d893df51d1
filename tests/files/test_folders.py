"""Where files are: what is configured if it is valid, else in the home, and no home told so."""

import os
import pwd
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from chat.errors import IdentityError
from chat.files.folders import config_folder, expand, state_folder

Folder = Callable[[Mapping[str, str]], Path]

FOLDERS = [
    pytest.param(config_folder, "XDG_CONFIG_HOME", ".config/chat", id="config"),
    pytest.param(state_folder, "XDG_STATE_HOME", ".local/state/chat", id="state"),
]


@pytest.mark.parametrize(("folder", "variable", "_usual"), FOLDERS)
def test_configured_folder_is_used(folder: Folder, variable: str, _usual: str) -> None:
    assert folder({variable: "/srv/xdg", "HOME": "/home/ira"}) == Path("/srv/xdg/chat")


@pytest.mark.parametrize("configured", [None, "", "relative", "~/config", "./x"])
@pytest.mark.parametrize(("folder", "variable", "usual"), FOLDERS)
def test_without_a_valid_configured_folder_it_is_in_the_home(
    folder: Folder,
    variable: str,
    usual: str,
    configured: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ira")
    environ = {} if configured is None else {variable: configured}
    assert folder(environ) == Path("/home/ira") / usual


def test_neither_folder_heeds_what_is_configured_for_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ira")
    assert config_folder({"XDG_STATE_HOME": "/srv"}) == Path("/home/ira/.config/chat")
    assert state_folder({"XDG_CONFIG_HOME": "/srv"}) == Path("/home/ira/.local/state/chat")


def test_empty_home_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    usual = config_folder({})
    monkeypatch.setenv("HOME", "")
    assert config_folder({}) == usual == Path(pwd.getpwuid(os.getuid()).pw_dir, ".config/chat")
    assert expand("~") == Path(pwd.getpwuid(os.getuid()).pw_dir)


@pytest.mark.parametrize("home", [None, ""])
@pytest.mark.parametrize(("folder", "variable", "_usual"), FOLDERS)
def test_user_without_a_home_is_told_so_unless_a_folder_is_configured(
    folder: Folder,
    variable: str,
    _usual: str,
    home: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container, for one, a user may be a mere number."""

    def unknown(_number: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(IdentityError, match="there is no home folder"):
        folder({})
    assert folder({variable: "/srv"}) == Path("/srv/chat")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("~", "/home/ira"),
        ("~/", "/home/ira"),
        ("~/x/y", "/home/ira/x/y"),
        ("~//x", "/home/ira/x"),
        ("~root/x", pwd.getpwnam("root").pw_dir + "/x"),
        ("x/~", "x/~"),
        ("./~", "./~"),
        ("a b", "a b"),
    ],
)
def test_tilde_is_a_home_folder(text: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ira")
    assert expand(text) == Path(path)


def test_home_of_nobody_is_told() -> None:
    with pytest.raises(IdentityError, match="the home folder of the user no-one is not known"):
        expand("~no-one/x")
