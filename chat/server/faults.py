"""What may be said of an exception that nobody foresaw.

The text of an exception may hold a peer's bytes or a key, and so may the values in its frames. So
only this is taken: the exception's type, the name of the system's error, and places in the code.
"""

import errno
import traceback
from collections.abc import Iterator

from chat.limits import FAULT_FRAMES


def kind_of(fault: BaseException) -> str:
    """The exception's type, and the error of the system that it stands for, if any."""
    kind = type(fault).__name__
    code = errno.errorcode.get(fault.errno or 0) if isinstance(fault, OSError) else None
    return f"{kind} ({code})" if code else kind


def places_of(fault: BaseException) -> list[str]:
    """The innermost frames, such as `doorman.py:12 in _accept`; the last one raised it."""
    walked = traceback.walk_tb(fault.__traceback__)
    return [
        f"{frame.f_code.co_filename.rpartition('/')[2]}:{line} in {frame.f_code.co_name}"
        for frame, line in walked
    ][-FAULT_FRAMES:]


def chain_of(fault: BaseException) -> Iterator[BaseException]:
    """The exception, then the one from which (or during which) it was raised, and so on."""
    found: BaseException | None = fault
    while found is not None:
        yield found
        hidden = found.__cause__ is None and found.__suppress_context__
        found = found.__cause__ or (None if hidden else found.__context__)
