"""The layers: who may import whom, and what must stay out of the core.

Read from the source with `ast`, so that imports inside functions and for type checkers count too.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chat

PACKAGE = Path(chat.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")

RANKS = {
    "limits": -1,
    "errors": 0,
    "budgets": 1,
    "admission": 0,
    "reactor": 0,
    "relaylog": 0,
    "files": 1,
    "folders": 1,
    "localtime": 1,
    "keyfolder": 2,
    "history": 2,
    "editor": 2,
    "names": 1,
    "wire": 1,
    "cipher": 1,
    "terminal": 1,
    "faults": 1,
    "sleep": 1,
    "resolver": 1,
    "sockets": 2,
    "transport": 1,
    "happenings": 1,
    "messages": 2,
    "kex": 2,
    "arguments": 2,
    "view": 2,
    "outbox": 3,
    "shown": 1,
    "epochs": 3,
    "peers": 3,
    "progress": 1,
    "transcript": 3,
    "identity": 3,
    "known_servers": 3,
    "session": 3,
    "room": 3,
    "participant": 4,
    "console": 4,
    "style": 4,
    "commands": 4,
    "connection": 4,
    "server": 5,
    "client": 5,
    "lines": 5,
    "live": 5,
    "screen": 6,
    "jsonlines": 6,
    "__main__": 7,
}
"""A module imports modules of a strictly lower rank only."""

PURE = [
    "errors",
    "limits",
    "relaylog",
    "names",
    "wire",
    "messages",
    "cipher",
    "kex",
    "session",
    "room",
    "participant",
    "outbox",
    "shown",
    "epochs",
    "peers",
    "progress",
    "happenings",
    "budgets",
    "admission",
    "faults",
]
"""Bytes, the clock and randomness come in as arguments, results leave as return values."""

IMPURE = {
    "socket",
    "selectors",
    "select",
    "signal",
    "os",
    "sys",
    "io",
    "pathlib",
    "time",
    "datetime",
    "random",
    "secrets",
    "logging",
    "Cryptodome.Random",
}

CONCURRENT = {"threading", "_thread", "asyncio", "subprocess", "multiprocessing", "concurrent"}

MUST_NOT_KNOW = {
    "server": {"struct", "Cryptodome"},
    "connection": {"struct", "Cryptodome"},
    "client": {"struct", "Cryptodome"},
    "console": {"struct", "Cryptodome", "socket"},
    "terminal": {"struct", "Cryptodome", "socket"},
    "sleep": {"struct", "Cryptodome", "socket"},
    "resolver": {"struct", "Cryptodome"},
    "sockets": {"struct", "Cryptodome"},
    "transport": {"struct", "Cryptodome"},
    "reactor": {"struct", "Cryptodome"},
    "identity": {"struct", "socket"},
    "known_servers": {"struct", "socket", "Cryptodome"},
    "keyfolder": IMPURE - {"os", "pathlib"} | {"struct", "Cryptodome"},
    "files": IMPURE - {"os", "pathlib", "time"} | {"struct", "Cryptodome"},
    "session": {"struct", "Cryptodome"},
    "room": {"struct", "Cryptodome"},
    "participant": {"struct", "Cryptodome"},
    "arguments": IMPURE - {"pathlib", "time"},
    "folders": IMPURE - {"os", "pathlib"},
    "history": IMPURE - {"os", "pathlib"},
    "editor": IMPURE - {"os", "sys"},
    "live": IMPURE - {"os"},
    "localtime": IMPURE - {"os", "time", "datetime"},
    "transcript": IMPURE,
    "style": IMPURE,
    "view": IMPURE,
    "commands": IMPURE,
    "lines": IMPURE,
    "jsonlines": IMPURE,
    "screen": IMPURE - {"os", "signal"},
}
"""What a module has no business with although its rank would allow it."""


def imports_of(source: str) -> Iterator[str]:
    """The dotted names of all that `source`, a module of the package, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, ("chat" if node.level else "", node.module)))
            yield base
            # `from chat import kex` imports the module, and so may any `from a import b`.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def calls_of(source: str) -> set[str]:
    """The bare names that `source` calls."""
    return {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def modules_in(imports: set[str]) -> set[str]:
    """Which modules of the package are among these."""
    parts = (name.split(".") for name in imports)
    return {part[1] for part in parts if part[0] == "chat" and part[1:] and part[1] in MODULES}


def among(imports: set[str], forbidden: set[str]) -> set[str]:
    """Which of these are forbidden, or lie inside something that is."""
    return {name for name in imports for bad in forbidden if f"{name}.".startswith(f"{bad}.")}


def source_of(module: str) -> str:
    return (PACKAGE / f"{module}.py").read_text(encoding="utf-8")


# -- the reader itself: a rule that reads nothing would hold for everything ----------------------


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import chat.kex", "kex"),
        ("import chat.kex as other", "kex"),
        ("from chat import kex", "kex"),
        ("from chat.kex import Offer", "kex"),
        ("from . import kex", "kex"),
        ("from .kex import Offer", "kex"),
        ("def late():\n    from chat.kex import Offer", "kex"),
        ("class Late:\n    def late(self):\n        import chat.kex", "kex"),
        ("if TYPE_CHECKING:\n    from chat.kex import Offer", "kex"),
        ("from chat.__main__ import main", "__main__"),
    ],
)
def test_import_in_any_form_is_seen(source: str, module: str) -> None:
    assert modules_in(set(imports_of(source))) == {module}


def test_import_of_the_package_itself_is_no_module() -> None:
    assert modules_in(set(imports_of("import chat\nfrom chat import __version__"))) == set()


def test_forbidden_package_is_seen_by_its_whole_name_and_from_inside() -> None:
    imports = set(imports_of("import os.path\nfrom Cryptodome import Random\nimport socketserver"))
    assert among(imports, {"os", "Cryptodome.Random", "socket"}) == {"os.path", "Cryptodome.Random"}


def test_call_is_seen_wherever_it_is() -> None:
    assert calls_of("def f(x):\n    return [print(y) for y in x.open()]") == {"print"}


# -- the rules ---------------------------------------------------------------------------------


def test_every_module_has_a_rank() -> None:
    assert set(RANKS) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_lower_ranks_only(module: str) -> None:
    imported = modules_in(set(imports_of(source_of(module))))
    assert {name for name in imported if RANKS[name] >= RANKS[module]} == set()


@pytest.mark.parametrize("module", PURE)
def test_pure_module_touches_nothing_outside(module: str) -> None:
    source = source_of(module)
    assert among(set(imports_of(source)), IMPURE) == set()
    assert calls_of(source) & {"print", "input", "open"} == set()


@pytest.mark.parametrize("module", PURE)
def test_pure_module_imports_pure_modules_only(module: str) -> None:
    assert modules_in(set(imports_of(source_of(module)))) <= set(PURE)


@pytest.mark.parametrize("module", [*MODULES, "__init__"])
def test_nothing_runs_beside_the_loop(module: str) -> None:
    assert among(set(imports_of(source_of(module))), CONCURRENT) == set()


@pytest.mark.parametrize("module", MODULES)
def test_only_the_command_line_prints(module: str) -> None:
    assert module == "__main__" or "print" not in calls_of(source_of(module))


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_the_command_line(module: str) -> None:
    assert "__main__" not in modules_in(set(imports_of(source_of(module))))


@pytest.mark.parametrize(("module", "unknown"), MUST_NOT_KNOW.items())
def test_module_does_not_know_what_is_not_its_business(module: str, unknown: set[str]) -> None:
    assert among(set(imports_of(source_of(module))), unknown) == set()


@pytest.mark.parametrize("module", MODULES)
def test_cryptodome_is_the_only_package_needed(module: str) -> None:
    packages = {name.split(".")[0] for name in imports_of(source_of(module))}
    assert packages - sys.stdlib_module_names <= {"chat", "Cryptodome"}
