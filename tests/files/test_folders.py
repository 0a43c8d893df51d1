"""Where files are: in the configured folder if it is valid, else in the home, if there is one."""

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
    environ["XDG_DATA_HOME"] = "/srv/other"
    assert folder(environ) == Path("/home/ira") / usual
    others = {other.values[1] for other in FOLDERS} - {variable}
    assert folder(dict.fromkeys(map(str, others), "/srv")) == Path("/home/ira") / usual


def test_empty_home_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    usual = config_folder({})
    monkeypatch.setenv("HOME", "")
    assert config_folder({}) == usual == Path(pwd.getpwuid(os.getuid()).pw_dir, ".config/chat")
    assert expand("~") == Path(pwd.getpwuid(os.getuid()).pw_dir)


@pytest.mark.parametrize("home", [None, ""])
@pytest.mark.parametrize(("folder", "variable", "_usual"), FOLDERS)
def test_user_without_a_home_is_told_so_unless_a_folder_is_configured(
    folder: Folder, variable: str, _usual: str, home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, for instance, a user may have no entry in the list of users."""

    def unknown(_number: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(IdentityError, match="there is no home folder"):
        folder({})
    assert folder({variable: "/srv/xdg"}) == Path("/srv/xdg/chat")


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
    with pytest.raises(IdentityError, match="the home folder of the user no-one is not known"):
        expand("~no-one/x")
