"""The form in which a room is kept for another server, which goes on with it.

Each part of a room has a `state`, which `restored` takes. Together they have to hold all on which
it depends what will be appended.
"""

from typing import Any, TypeAlias

State: TypeAlias = dict[str, Any]
"""What JSON can hold, times and infinite ones among it. Whoever reads one has made sure before that
a server of this version wrote it."""
