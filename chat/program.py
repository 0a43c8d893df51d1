"""What a person types to start this program, or to add to it, for usages and hints.

It is known by how the program itself was started: by the command that the installation made, or by
`python -m chat`. A hint that names the other one would not work for everybody.
"""

import os
import sys

COMMAND = "chatapp"
"""The command that is installed. Debian and others have a `chat` of their own (that of ppp)."""

_MODULE = "python -m chat"


def called(path: str) -> str:
    """How the program is called whose `sys.argv[0]` is this."""
    ours = os.path.join("chat", "__main__.py")
    return _MODULE if os.path.normpath(path).endswith(os.sep + ours) else COMMAND


def installing(package: str) -> str:
    """The command that adds a package to the Python that runs this. `pip` alone is often that of
    another one: an installation by pipx, or in a folder, has its own."""
    return f"{sys.executable} -m pip install {package}"


PROGRAM = called(sys.argv[0])
"""How this process was called."""
