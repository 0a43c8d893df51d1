"""ngircd: one channel, PRIVMSG. A newcomer gets the list of names, and the others its JOIN."""

from benchmarks.compare.lines import TlsServer

_SAY = b"PRIVMSG #room :"
_CONFIG = """
[Global]
Name = irc.example.net
Info = benchmark
Listen = {host}
ServerUID = root
ServerGID = root
MotdFile = /dev/null
[Limits]
ConnectRetry = 60
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = 36000
[Options]
DNS = no
Ident = no
PAM = no
ChrootDir =
SyslogFacility = local1
[SSL]
CertFile = {cert}
KeyFile = {key}
CipherList = SECURE128:-VERS-ALL:+VERS-TLS1.3
Ports = {port}
"""


class Irc:
    """IRC lines (RFC 2812)."""

    hears_itself = False
    noise_bytes = 0
    # What a record has beyond its read buffer ngircd forgets until the next one comes.
    line_by_line = True

    def hello(self, number: int) -> bytes:
        """Register, and join."""
        nick = f"m{number:05d}"
        return f"NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\nJOIN #room\r\n".encode()

    def is_in(self, heard: bytes) -> bool:
        """The list of names has come to its end."""
        return any(line.split(b" ")[1:2] == [b"366"] for line in heard.split(b"\r\n")[:-1])

    def say(self, texts: list[str]) -> bytes:
        """A line for each."""
        return b"".join(b"%b%b\r\n" % (_SAY, text.encode()) for text in texts)

    def texts(self, heard: bytes) -> list[str]:
        """What stands behind the channel in whole lines."""
        lines = (line.partition(b" " + _SAY) for line in heard.split(b"\r\n")[:-1])
        return [said.decode() for _, found, said in lines if found]


class Ngircd(TlsServer):
    """The IRC server in C, in the foreground, without penalties for who says much."""

    name = "ngircd"
    title = "ngircd over TLS 1.3 (C)"
    short = "ngircd"
    dialect = Irc()
    program = "ngircd"
    options = ("--nodaemon", "--config")
    config = _CONFIG
