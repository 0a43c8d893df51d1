"""The same as `bare_loop.c`, in Python: what the language costs before the server does anything.

It is run by its path, and imports nothing of the project.
"""

import select
import socket
import sys

READ_BYTES = 256 * 1024


def main() -> None:
    """Accept so many connections, and relay until one closes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(f"port: {listener.getsockname()[1]}", flush=True)
    connections = {}
    epoll = select.epoll()
    for _ in range(int(sys.argv[1])):
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        epoll.register(connection.fileno(), select.EPOLLIN)
    while True:
        arrived = [connections[ready].recv(READ_BYTES) for ready, _ in epoll.poll()]
        if not all(arrived):
            return
        data = b"".join(arrived)
        for connection in connections.values():
            if connection.send(data) < len(data):
                raise RuntimeError("a connection does not take everything")


if __name__ == "__main__":
    main()
