"""The library for cryptography is imported quickly, and is the same as ever."""

import subprocess
import sys

import pytest

_LOOK = """
import sys
{}
from Cryptodome.Cipher import AES, PKCS1_OAEP
from Cryptodome.Math.Numbers import _implementation
from Cryptodome.Protocol import DH
from Cryptodome.PublicKey import RSA
print(_implementation)
print(*sorted({{"ctypes.util", "platform", "subprocess", "tempfile"}} & {{*sys.modules}}))
"""
_QUICKLY = "from chat.cryptodome import prepare; prepare()"


def look(before: str) -> tuple[str, str]:
    """How the library computes, and what it has imported, in a process that does this before."""
    command = [
        sys.executable,
        "-S",
        "-c",
        f"import sys; sys.path[:0] = {sys.path}\n" + _LOOK.format(before),
    ]
    implementation, imported = subprocess.run(
        command, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return implementation, imported


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the library imports itself")
def test_library_computes_as_ever_without_what_starts_processes() -> None:
    implementation, imported = look(_QUICKLY)
    assert imported == ""
    assert implementation == look("")[0]


def test_without_gmp_the_library_computes_by_itself() -> None:
    missing = "import chat.cryptodome; chat.cryptodome._FOUND['gmp'] = 'libnone.so.10'"
    assert "gmp" not in look(f"{missing}; {_QUICKLY}")[0]


def test_others_find_their_libraries_as_ever() -> None:
    find = (
        "from chat.cryptodome import _find_library; import ctypes.util; "
        "assert _find_library('c') == ctypes.util.find_library('c') is not None"
    )
    assert look(f"{_QUICKLY}; {find}")[1]
