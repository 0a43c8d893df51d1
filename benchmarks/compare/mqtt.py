"""mosquitto: one topic, QoS 0, so that nobody acknowledges. Nobody hears of a newcomer."""

from collections.abc import Iterator

from benchmarks.compare.lines import TlsServer

_CONNECT, _PUBLISH, _SUBSCRIBE, _SUBACK = 0x10, 0x30, 0x82, 0x90
_TOPIC = b"room"
_CLEAN_SESSION = 2
_CONFIG = """
listener {port} {host}
certfile {cert}
keyfile {key}
tls_version tlsv1.3
allow_anonymous true
user root
set_tcp_nodelay true
max_queued_messages 0
max_connections -1
persistence false
log_dest none
"""


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def packet(kind: int, body: bytes) -> bytes:
    """A packet with its remaining length, seven bits a byte (MQTT 3.1.1, 2.2.3)."""
    length, left = b"", len(body)
    while left > 127:
        length += bytes((left % 128 | 128,))
        left //= 128
    return bytes((kind,)) + length + bytes((left,)) + body


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each whole packet."""
    at = 0
    while at < len(data):
        start, length, shift = at + 1, 0, 0
        while True:
            if start >= len(data):
                return
            digit = data[start]
            length |= (digit & 127) << shift
            start, shift = start + 1, shift + 7
            if digit < 128:
                break
        at_end = start + length
        if at_end > len(data):
            return
        yield data[at], data[start:at_end]
        at = at_end


class Mqtt:
    """MQTT 3.1.1."""

    hears_itself = True
    noise_bytes = 0
    line_by_line = False

    def hello(self, number: int) -> bytes:
        """Connect without keep-alive, and subscribe."""
        client = _string(b"m%05d" % number)
        connect = _string(b"MQTT") + bytes((4, _CLEAN_SESSION, 0, 0)) + client
        subscribe = (1).to_bytes(2, "big") + _string(_TOPIC) + b"\0"
        return packet(_CONNECT, connect) + packet(_SUBSCRIBE, subscribe)

    def is_in(self, heard: bytes) -> bool:
        """The subscription is acknowledged."""
        return any(kind == _SUBACK for kind, _ in packets(heard))

    def say(self, texts: list[str]) -> bytes:
        """A PUBLISH for each."""
        return b"".join(packet(_PUBLISH, _string(_TOPIC) + text.encode()) for text in texts)

    def texts(self, heard: bytes) -> list[str]:
        """What is behind the topic."""
        skipped = len(_string(_TOPIC))
        return [body[skipped:].decode() for kind, body in packets(heard) if kind == _PUBLISH]


class Mosquitto(TlsServer):
    """The MQTT broker in C, without persistence, and without a limit to what waits for a member."""

    name = "mosquitto"
    title = "mosquitto over TLS 1.3 (C)"
    short = "mosquitto"
    dialect = Mqtt()
    program = "mosquitto"
    version_option = "-h"
    options = ("-c",)
    config = _CONFIG
