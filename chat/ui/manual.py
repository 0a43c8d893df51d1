"""The help in words: the keys, what is to be known of each command, and what other programs call
it. The list of commands itself is in `commands`."""

from chat.limits import LAST_SHOWN, QUIET_SECONDS
from chat.ui.transcript import command_line

KEYS = [
    command_line("Alt-Enter", "begin a new line in the message (also Ctrl-V Ctrl-J)"),
    command_line("Tab", "complete a name or a command; once more: the next one"),
    command_line("Up, Ctrl-R", "call back what you have typed, search in it"),
    command_line("Ctrl-X Ctrl-E", "write in your own editor (in vi mode: v)"),
    command_line("Ctrl-L", "clear the screen"),
    command_line("Ctrl-C", "clear the line; twice: leave"),
    command_line("Ctrl-Z", "stop the program; fg in the shell goes on"),
    command_line("Ctrl-D", "leave, if the line is empty"),
]

_LEAVING = "Messages that are under way have some seconds to arrive. The others see that you left;"

ABOUT = {
    "/help": "/help bell, for instance, says more about /bell.",
    "/who": "It shows the fingerprint of each key, and since when you know it.",
    "/me": "The others see: * Ira waves",
    "/msg": 'A name with blanks may stand in quotation marks: /msg "Ira B" Hi. '
    "Only this person can read it, and no other member learns for whom it is.",
    "/r": "It goes to the person whose private message you heard last.",
    "/edit": "The editor is $VISUAL, or else $EDITOR, or else vi. What you save is in the line "
    "when the editor ends, and Enter sends it. Ctrl-X Ctrl-E does so with what you have typed.",
    "/ignore": "It goes by key, so another name does not help. It lasts until /unignore. Who is "
    "not here can be ignored by the name they had, or by the fingerprint of the key.",
    "/unignore": "/ignore alone lists whom you ignore.",
    "/trust": "Ask the person over another channel first whether the key is theirs.",
    "/more": "Below a folded message stands its number.",
    "/bell": "/bell alone says whether it is on.",
    "/topic": "Operators of the server set it, for all rooms: /op TOPIC text.",
    "/security": "It also says what the server has vouched for, and lists fingerprints to compare.",
    "/invite": "Whoever has it can come in and read.",
    "/op": "The server answers you alone; /op HELP lists its commands. Whoever runs it says whose "
    "keys are operators'.",
    "/last": f"/last alone shows {LAST_SHOWN} lines, /last 50 shows more. Case does not count in a "
    'text. A number to be found stands in quotation marks: /last "2026".',
    "/quiet": "You talk with somebody who has said something in the last "
    f"{QUIET_SECONDS / 60:.0f} minutes, whom you have named, or with whom you have spoken in "
    "private. /last shows everybody.",
    "/clear": "What has left the window at the top stays in the terminal's scrollback; /clear all "
    "takes that, too, where the terminal can do it.",
    "/exit": f'{_LEAVING} /exit bye shows them: Ira left the server: "bye"',
    "/quit": f'{_LEAVING} /quit bye shows them: Ira left the server: "bye"',
}
"""More about a command than its line in the help says."""

CALLED_HERE = {
    **dict.fromkeys(("/names", "/list", "/users", "/members", "/w", "/whois"), "/who"),
    **dict.fromkeys(("/q", "/bye", "/leave", "/part", "/logout", "/disconnect"), "/quit"),
    **dict.fromkeys(("/?", "/h", "/commands", "/man"), "/help"),
    **dict.fromkeys(("/query", "/tell", "/pm", "/dm", "/whisper", "/private"), "/msg"),
    **dict.fromkeys(("/reply", "/re"), "/r"),
    **dict.fromkeys(("/block", "/mute", "/squelch"), "/ignore"),
    **dict.fromkeys(("/unblock", "/unmute"), "/unignore"),
    **dict.fromkeys(("/action", "/emote"), "/me"),
    **dict.fromkeys(("/kick", "/ban", "/oper", "/operator"), "/op"),
    **dict.fromkeys(("/cls", "/reset"), "/clear"),
    **dict.fromkeys(("/lastlog", "/history", "/grep", "/search", "/find", "/scrollback"), "/last"),
    **dict.fromkeys(("/joins", "/filter"), "/quiet"),
    **dict.fromkeys(("/editor", "/vi", "/vim"), "/edit"),
    **dict.fromkeys(("/verify", "/fingerprint", "/fingerprints", "/keys"), "/security"),
}
"""What other programs call a command of ours, and ours."""

LEAVES_ELSEWHERE = frozenset({"exit", "quit", "logout", ":q", ":wq", ":q!", ":x"})
"""Lines that end other programs. Few people mean to say them."""
