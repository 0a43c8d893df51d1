"""A server that does not answer any more shows at once, long before the connection is given up."""

import re
import sys
from signal import SIGCONT

from tests.support.processes import CHAT, ROOT, Stage
from tests.support.terminals import client_command, window_of

SOON = "import sys, chat.limits; chat.limits.UNANSWERED_SECONDS = 1; import chat.__main__ as m"
"""So that the test need not wait for five seconds."""


def test_prompt_counts_the_seconds_while_the_server_is_frozen(stage: Stage) -> None:
    server, port = stage.server()
    arguments = client_command(port, "Ira", stage.keys("client", "ira"))[len(CHAT) :]
    command = [sys.executable, "-c", f"{SOON}; sys.exit(m.main())", *arguments]
    ira = window_of(stage, command, PYTHONPATH=str(ROOT))
    ira.await_rows("[+] In the room: Ira", "> |")
    server.freeze()
    ira.enter("hello?")
    ira.type("are you")
    ira.await_screen("(no answer for 1 s) > are you")
    ira.until(lambda: re.search(r"for [2-9] s\) > are you\|", ira.rows()[-1]), "it counts on")
    assert ira.rows()[-2] == "... hello?"
    server.signal(SIGCONT)
    ira.await_rows("Ira: hello?", "> are you|")
