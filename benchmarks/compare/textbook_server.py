"""A chat server as a textbook has it: a thread for each client, and a list of them all.

It is run by its path. Nothing is encrypted, nothing is kept, and who is slow holds up everybody.
"""

import socket
import threading

clients: list[socket.socket] = []
lock = threading.Lock()


def broadcast(data: bytes) -> None:
    """Send this to everybody."""
    with lock:
        for client in clients:
            client.sendall(data)


def serve(client: socket.socket) -> None:
    """Pass on what one client says, until it goes."""
    rest = b""
    while data := client.recv(4096):
        lines, end, rest = (rest + data).rpartition(b"\n")
        broadcast(lines + end)
    with lock:
        clients.remove(client)
    client.close()


def main() -> None:
    """Take whoever comes, and tell the others."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(f"port: {listener.getsockname()[1]}", flush=True)
    while True:
        client, _ = listener.accept()
        name = client.recv(1024)
        with lock:
            clients.append(client)
        broadcast(b"New person joined the room. Username: " + name)
        threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
