"""The layers: which folder may import what, and what must stay out of the core.

Read from the source with `ast`, so that imports inside functions and for type checkers count too.
"""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import chat

PACKAGE = Path(chat.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__init__"
)
FOLDERS = {"server", "client", "files", "ui"}

FLOORS = (
    {"errors", "limits", "lookalikes", "program", "guesses", "frozen"},
    {"reactor", "text", "inherited", "localtime", "journal", "runninghash", "presence"},
    {"wire", "cipher", "transport", "resolver", "sleep", "stdio", "place", "rounds"},
    {"identities", "contents", "kex", "sockets", "socks", "phrases", "invite"},
    {"controls", "roomevents", "introduction", "proxied", "several"},
    {"session", *("settings", "parsers", "values", "meanings", "cli")},
)
"""The modules of the root. Each imports modules of lower floors only."""

ROOT = set().union(*FLOORS)
START = {
    "__main__",
    "cryptodome",
    "startup",
    "serving",
    "joining",
    "targets",
    "invitations",
    "admin",
    "clustering",
}
"""What the command line leads to. These put the folders together."""

COMMAND_LINE = {
    "settings": {"errors", "text", "guesses", "files.folders", "files.config"},
    "parsers": {"errors", "text", "guesses", "place", "settings"},
    "values": {"errors", "text", "place", "socks", "files.folders"},
    "meanings": {"errors", "limits", "text", "place", "settings", "parsers"},
    "cli": {"limits", "program", "settings", "parsers", "values", "meanings"},
}
"""What reads the command line, and what each of its modules may import."""

MAY_IMPORT = {
    "files": {
        "errors",
        "limits",
        "program",
        "guesses",
        "frozen",
        "text",
        "kex",
        "place",
        "invite",
        "client.known",
    },
    "server": ROOT - set(COMMAND_LINE),
    "server.cluster": {"errors", "limits", "frozen", "text", "place", "cipher", "kex"}
    | {"reactor", "transport", "sockets", "journal"}
    | {"controls", "identities", "roomevents", "wire"}
    | {f"server.{module}" for module in ("hosted", "connection", "members", "ordering", "lists")}
    | {f"server.{module}" for module in ("access", "console", "greeting", "words")},
    "client": ROOT - {*COMMAND_LINE, "stdio", "phrases", "sleep"},
    "ui": {"errors", "limits", "program", "guesses", "frozen", "reactor", "text", "localtime"}
    | {"stdio", "phrases"}
    | {"client.events", "client.view", "files.history", "server.desk"},
}
"""What a folder may import beside itself."""

CORE = {
    *("errors", "frozen", "limits", "text", "wire", "cipher", "kex", "introduction", "session"),
    *("identities", "controls", "contents", "roomevents"),
    *("runninghash", "lookalikes", "presence", "place", "invite", "socks"),
    "rounds",
    *(f"server.{module}" for module in ("room", "members", "epochs", "submissions", "checks")),
    *(f"server.{module}" for module in ("log", "admission", "budgets", "faults")),
    "server.completion",
    "server.state",
    *(f"server.cluster.{module}" for module in ("url", "errors", "resp", "clusterkey", "store")),
    *(f"server.cluster.{module}" for module in ("sequence", "outbox", "stream", "streams")),
    *(f"client.{module}" for module in ("participant", "membership", "trail", "peers", "keyring")),
    *(f"client.{module}" for module in ("outbox", "progress", "events", "known", "direct")),
    *(f"client.{module}" for module in ("phase", "speech", "reading", "hearing", "dues", "unread")),
    "client.clocks",
    "client.greeted",
}
"""Bytes, the clock and randomness come in as arguments, results leave as return values."""

OUTSIDE = {
    *("socket", "selectors", "select", "signal", "os", "sys", "io", "pathlib", "time", "datetime"),
    *("random", "secrets", "logging", "Cryptodome.Random"),
}
CONCURRENT = {"threading", "_thread", "asyncio", "subprocess", "multiprocessing", "concurrent"}


def imports_of(source: str) -> Iterator[str]:
    """The dotted names of all that `source`, a module of the package, imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield str(node.module)


def calls_of(source: str) -> set[str]:
    """The bare names that `source` calls."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def modules_in(imports: set[str]) -> set[str]:
    """Which modules of the package are among these."""
    return {name.removeprefix("chat.") for name in imports} & set(MODULES)


def among(imports: set[str], forbidden: set[str]) -> set[str]:
    """Which of these are forbidden, or lie inside something that is."""
    return {name for name in imports for bad in forbidden if f"{name}.".startswith(f"{bad}.")}


def source_of(module: str) -> str:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")


def imported_by(module: str) -> set[str]:
    return modules_in(set(imports_of(source_of(module))))


# -- the reader itself: a rule that reads nothing would hold for everything ----------------------


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import chat.kex", "kex"),
        ("import chat.kex as other", "kex"),
        ("from chat import kex", "kex"),
        ("from chat.kex import PublicKey", "kex"),
        ("from chat.server import room", "server.room"),
        ("from chat.server.room import Room", "server.room"),
        ("def late():\n    from chat.kex import PublicKey", "kex"),
        ("if TYPE_CHECKING:\n    from chat.kex import PublicKey", "kex"),
    ],
)
def test_import_in_any_form_is_seen(source: str, module: str) -> None:
    assert modules_in(set(imports_of(source))) == {module}


def test_forbidden_package_is_seen_by_its_whole_name_and_from_inside() -> None:
    imports = set(imports_of("import os.path\nfrom Cryptodome import Random\nimport socketserver"))
    assert among(imports, {"os", "Cryptodome.Random", "socket"}) == {"os.path", "Cryptodome.Random"}


def test_call_is_seen_wherever_it_is() -> None:
    assert calls_of("def f(x):\n    return [print(y) for y in x.open()]") == {"print"}


# -- the rules ---------------------------------------------------------------------------------


def test_root_holds_what_travels_and_what_turns_and_nothing_else() -> None:
    root = {module for module in MODULES if "." not in module}
    assert root == ROOT | START
    assert {module.partition(".")[0] for module in MODULES} == root | FOLDERS


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_what_its_folder_may(module: str) -> None:
    folder = module.rpartition(".")[0]
    others = (name for name in imported_by(module) if folder != name.rpartition(".")[0])
    imported = set(others) if folder else imported_by(module)
    if module in START:
        allowed = set(MODULES) - {"__main__"}
    elif folder:
        allowed = MAY_IMPORT[folder]
    elif module in COMMAND_LINE:
        allowed = COMMAND_LINE[module]
    else:
        floor = next(at for at, modules in enumerate(FLOORS) if module in modules)
        allowed = set().union(*FLOORS[:floor])
    assert imported <= allowed


def test_no_imports_go_in_a_circle() -> None:
    order = TopologicalSorter({module: imported_by(module) for module in MODULES}).static_order()
    assert sorted(order) == MODULES


@pytest.mark.parametrize("module", sorted(CORE))
def test_core_touches_nothing_outside(module: str) -> None:
    source = source_of(module)
    assert among(set(imports_of(source)), OUTSIDE) == set()
    assert calls_of(source) & {"print", "input", "open"} == set()
    assert imported_by(module) <= CORE


@pytest.mark.parametrize("module", MODULES)
def test_nothing_runs_beside_the_loop_and_only_the_command_line_prints(module: str) -> None:
    source = source_of(module)
    assert among(set(imports_of(source)), CONCURRENT) == set()
    assert module in ("__main__", "invitations", "admin", "clustering") or "print" not in calls_of(
        source
    )


@pytest.mark.parametrize("module", MODULES)
def test_cryptodome_is_the_only_package_needed_and_sealing_has_it_alone(module: str) -> None:
    packages = {name.partition(".")[0] for name in imports_of(source_of(module))}
    others = packages - set(sys.stdlib_module_names) - {"chat"}
    assert others <= MAY_NEED.get(module, set())


MAY_NEED = {
    "cipher": {"Cryptodome"},
    "kex": {"Cryptodome"},
    "files.keys": {"Cryptodome"},
    "server.cluster.resp": {"hiredis"},  # an extra
    "invitations": {"segno"},  # an extra
}


# -- the README --------------------------------------------------------------------------------


def node_of(module: str) -> str:
    """Where a module stands in the README's diagram of folders."""
    if module in START | set(COMMAND_LINE):
        return "start"
    return module.partition(".")[0] if "." in module else ""


def test_diagram_of_the_folders_shows_every_import_between_them() -> None:
    readme = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    diagram = readme.partition("```mermaid\nflowchart LR\n")[2].partition("```")[0]
    drawn = set()
    for arrow in diagram.splitlines():
        found = re.fullmatch(r"    (\w+)(?:\[.+\])? -->(?:\|(.+)\|)? (.+)", arrow)
        assert found, arrow
        names = found[2].split(", ") if found[2] else [""]
        drawn |= {(found[1], folder, name) for folder in found[3].split(" & ") for name in names}
    assert drawn == {
        (node_of(module), node_of(other), "" if node_of(module) == "start" else other.split(".")[1])
        for module in MODULES
        for other in imported_by(module)
        if node_of(other) in FOLDERS - {node_of(module)}
    }
