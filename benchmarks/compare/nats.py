"""nats-server: one subject, text protocol. Nobody hears of a newcomer."""

import re
import socket

from benchmarks.compare.lines import TlsServer
from benchmarks.compare.room import ContenderError

_CONFIG = """
listen: "{host}:{port}"
max_connections: 100000
ping_interval: "10h"
write_deadline: "60s"
log_file: "/dev/null"
tls {{ cert_file: "{cert}", key_file: "{key}", timeout: 30 }}
"""
_HEAD = re.compile(rb"(?:MSG room 1 (\d+)|[A-Z+-]\S*[^\r\n]*)\r\n")


class Nats:
    """The protocol of NATS clients, after INFO."""

    hears_itself = True
    noise_bytes = len(b"PING\r\n")
    line_by_line = False

    def hello(self, number: int) -> bytes:
        """Connect and subscribe; the answer to PING comes when both have been done."""
        options = b'{"verbose":false,"pedantic":false,"tls_required":true,"name":"m%05d"}' % number
        return b"CONNECT %b\r\nSUB room 1\r\nPING\r\n" % options

    def is_in(self, heard: bytes) -> bool:
        """PING is answered."""
        return b"PONG\r\n" in heard

    def say(self, texts: list[str]) -> bytes:
        """A PUB for each."""
        said = [text.encode() for text in texts]
        return b"".join(b"PUB room %d\r\n%b\r\n" % (len(text), text) for text in said)

    def texts(self, heard: bytes) -> list[str]:
        """The payload of each whole MSG, whatever else stands in between."""
        found, at = [], 0
        while head := _HEAD.match(heard, at):
            at = head.end()
            if head[1]:
                end = at + int(head[1])
                if len(heard) < end + 2:
                    break
                found.append(heard[at:end].decode())
                at = end + 2
        return found


class NatsServer(TlsServer):
    """The message broker in Go. It is the client that asks for TLS 1.3: version 2.9 cannot be told
    to take no other."""

    name = "nats"
    title = "NATS over TLS 1.3 (Go)"
    short = "NATS"
    dialect = Nats()
    program = "nats-server"
    options = ("--config",)
    config = _CONFIG

    def before_tls(self, dialled: socket.socket) -> None:
        """The server speaks first, in plain text, and then expects TLS."""
        said = b""
        while not said.endswith(b"\r\n"):
            arrived = dialled.recv(1)
            if not arrived:
                raise ContenderError("it closed the connection before INFO")
            said += arrived
