"""A bot that rolls dice: say `roll 2d6` in the room, and it answers.

    python3 examples/dice.py 127.0.0.1 9443

The arguments go to the client unchanged: where the room is, and options, as `--keys`.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys

if len(sys.argv) < 2 or sys.argv[1] == "--help":
    sys.exit("usage: dice.py HOST [PORT]|KEPT [option ...]")
signal.signal(signal.SIGINT, lambda *_: None)  # the client gets Ctrl-C, too, and ends
program = os.environ.get("CHATAPP", "chatapp").split()
command = [*program, "client", "--json", "--name", "dice", *sys.argv[1:]]
with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as chat:
    assert chat.stdin is not None
    assert chat.stdout is not None
    for line in chat.stdout:
        event = json.loads(line)
        asked = re.fullmatch(r"roll ([1-9]\d?)d(\d{1,3})", event.get("text", ""))
        if event["event"] == "message" and asked:
            dice, sides = int(asked[1]), max(1, int(asked[2]))
            rolled = [random.randint(1, sides) for _ in range(dice)]
            answer = f"{event['name']}: {' + '.join(map(str, rolled))} = {sum(rolled)}"
            private = {"direct": {"to": event["name"], "text": answer}}
            say = private if event["direct"] else {"say": answer}
            print(json.dumps(say), file=chat.stdin, flush=True)
sys.exit(chat.returncode)
