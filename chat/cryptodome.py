"""Imports the library for cryptography, pycryptodomex, in a third of the time.

It looks for GMP, which makes RSA three times as fast, in a way that starts two processes: `file`
tells it whether this is Windows, and `ldconfig` where GMP is. For the second one, `ctypes.util`
imports a dozen modules. On Linux the dynamic loader finds GMP by its name. If a later version of
the library looks for GMP in another way, it finds it, and the import takes as long as without this.
"""

import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType

_FOUND = {"gmp": "libgmp.so.10"}
"""The name of GMP since version 5. If the loader finds none, the library does without, as ever."""


def prepare() -> None:
    """To be called before anything of the library is imported. It need not be installed."""
    if sys.platform != "linux" or "ctypes.util" in sys.modules:
        return
    finder = ModuleType("ctypes.util")
    vars(finder)["find_library"] = _find_library
    sys.modules[finder.__name__] = finder
    try:
        with suppress(ImportError):
            interface = import_module("Cryptodome.Util._raw_api")
            vars(interface).get("cached_architecture", [])[:] = ("", "ELF")
    finally:
        del sys.modules[finder.__name__]


def _find_library(name: str) -> str | None:
    if name in _FOUND:
        return _FOUND[name]
    from ctypes.util import find_library

    return find_library(name)
