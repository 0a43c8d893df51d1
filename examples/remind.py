"""A bot that reminds people: say `remind 10m tea` in the room, and it says so after ten minutes.

    python3 examples/remind.py 127.0.0.1 9443

The arguments go to the client unchanged: where the room is, and options, as `--keys`.
"""

import heapq
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

if len(sys.argv) < 2 or sys.argv[1] == "--help":
    sys.exit("usage: remind.py HOST [PORT]|KEPT [option ...]")
signal.signal(signal.SIGINT, lambda *_: None)  # the client gets Ctrl-C, too, and ends
program = os.environ.get("CHATAPP", "chatapp").split()
command = [*program, "client", "--json", "--name", "reminder", *sys.argv[1:]]
due: list[tuple[float, str]] = []  # a heap: the next one is first
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as chat:
    assert chat.stdin
    assert chat.stdout
    lines, data = b"", b"\n"
    while data:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else None
        if select.select([chat.stdout], [], [], wait)[0]:
            lines += (data := chat.stdout.read(65536))
        *whole, lines = lines.split(b"\n")
        for event in map(json.loads, whole):
            asked = re.fullmatch(r"remind (\d{1,4})([smh]) (.{1,500})", event.get("text", ""))
            if event["event"] == "message" and asked and not event["direct"] and len(due) < 1000:
                at = time.monotonic() + int(asked[1]) * {"s": 1, "m": 60, "h": 3600}[asked[2]]
                heapq.heappush(due, (at, f"{event['name']}: {asked[3]}"))
        while due and due[0][0] <= time.monotonic():
            chat.stdin.write(json.dumps({"say": heapq.heappop(due)[1]}).encode() + b"\n")
sys.exit(chat.returncode)
