"""The handshake alone: both ends of a connection, and the frames between them (PROTOCOL 4).

    python examples/handshake.py

A session takes bytes and the time, and returns events and bytes. It needs nothing else to run.
"""

import os
import time

from chat.controls import Ready
from chat.introduction import Introduction
from chat.kex import PrivateKey, SignedShare
from chat.session import ClientSession, Offer, ServerSession
from chat.wire import FRAMES

server_key, client_key = PrivateKey.generate(2048), PrivateKey.generate(2048)
now = time.monotonic()
offer = SignedShare.make(server_key, time.time(), os.urandom)
server = ServerSession(Offer.of(offer), os.urandom, now)
client = ClientSession(
    Introduction.fresh("Ira", client_key, os.urandom), Ready(), os.urandom, now, time.time
)


def carry(direction: str, data: bytes, states: tuple[object, object]) -> None:
    name = FRAMES[data[2]].__name__.upper()
    print(f"{direction}  {name:<10} {len(data):>4} bytes   server {states[0]}, client {states[1]}")


while client.state is not client.state.RELAY or server.state is not server.state.RELAY:
    if data := server.data_to_send():
        client.receive(data, now)
        if client.state is client.state.AWAIT_TRUST:
            print(f"the client compares the fingerprint: {server_key.public.fingerprint}")
            client.trust()
        carry("S → C", data, (server.state.name, client.state.name))
    if data := client.data_to_send():
        server.receive(data, now)
        carry("C → S", data, (server.state.name, client.state.name))
print("the link stands")
