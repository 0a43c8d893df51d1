"""Each folder's map names every module in it, and the README every folder."""

import re
from pathlib import Path

import pytest

import chat

PACKAGE = Path(chat.__file__).parent
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("__init__.py")} - {PACKAGE})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_map_of_a_folder_names_its_modules(folder: Path) -> None:
    named = re.findall(r"^    (\w+\.py)  ", (folder / "__init__.py").read_text(), flags=re.M)
    assert sorted(named) == sorted(path.name for path in folder.glob("[!_]*.py"))


def test_readme_names_the_folders_and_the_modules_of_the_root() -> None:
    readme = (PACKAGE.parent / "README.md").read_text()
    shown = readme.partition("\nchat/ ")[2].partition("\ntests/ ")[0]
    root = {path.stem for path in PACKAGE.glob("[!_]*.py")}
    assert root | {f"{folder.name}" for folder in FOLDERS} <= set(re.findall(r"\w+", shown))
