"""Where files are: what is configured if it is valid, else in the home, and no home told so."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from chat.errors import IdentityError
from chat.folders import config_folder, state_folder

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


@pytest.mark.parametrize(("folder", "variable", "_usual"), FOLDERS)
def test_user_without_a_home_is_told_so_unless_a_folder_is_configured(
    folder: Folder, variable: str, _usual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, for one, a user may be a mere number."""

    def unknown(_number: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(IdentityError, match="there is no home folder"):
        folder({})
    assert folder({variable: "/srv"}) == Path("/srv/chat")
