"""How many system calls a process makes, counted by the kernel without slowing it.

See perf_event_open(2). It counts where one is root, or where `kernel.perf_event_paranoid` allows
it, on the machines whose number of that call is known here.
"""

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path

_TRACEPOINTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
_ENTER = "events/raw_syscalls/sys_enter/id"
_OPEN = {"x86_64": 298, "aarch64": 241}
_OF_TRACEPOINT = 2
_ATTRIBUTES = struct.Struct("IIQ48x")
"""Type, size and number of what is counted; all the rest is nought."""


class SystemCalls:
    """Counts those of a process's first thread. Nothing is counted where that is not possible."""

    def __init__(self, process: int) -> None:
        self._descriptor = _open(process)

    @property
    def count(self) -> int | None:
        """So many since this was made."""
        if self._descriptor < 0:
            return None
        return int.from_bytes(os.read(self._descriptor, 8), sys.byteorder)

    def close(self) -> None:
        """Count no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _open(process: int) -> int:
    number = _OPEN.get(platform.machine())
    event = _number_of_event()
    if number is None or event is None:
        return -1
    attributes = _ATTRIBUTES.pack(_OF_TRACEPOINT, _ATTRIBUTES.size, event)
    any_core, no_group, no_flags = -1, -1, 0
    opened: int = ctypes.CDLL(None).syscall(
        number, attributes, process, any_core, no_group, no_flags
    )
    return opened


def _number_of_event() -> int | None:
    for folder in _TRACEPOINTS:
        try:
            return int((folder / _ENTER).read_text())
        except OSError:
            continue
    return None
