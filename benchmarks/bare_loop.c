/* The floor under the fan-out: whatever arrives is sent to every connection, one send() each.
 *
 *     bare_loop CONNECTIONS [BYTES]
 *
 * It prints "port: N", accepts that many connections on 127.0.0.1, and relays until one closes.
 * No frames, no keys, no order to keep, and a send() that cannot go on simply waits. What several
 * connections have sent by the time it looks goes out in one send(); with BYTES, the size of a
 * message, each message in a send() of its own.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { READ_BYTES = 256 * 1024, READY = 16 };

static char buffer[READY * READ_BYTES];

static void check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    check(listener, "socket");
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    check(listen(listener, 4096), "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &size), "getsockname");
    printf("port: %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void send_all(int connection, size_t size, size_t most)
{
    for (size_t done = 0; done < size;) {
        size_t left = size - done;
        ssize_t sent = send(connection, buffer + done, left < most ? left : most, MSG_NOSIGNAL);

        if (sent < 0)
            exit(0); /* The crowd has gone home. */
        done += (size_t)sent;
    }
}

int main(int argc, char **argv)
{
    int count = argc >= 2 ? atoi(argv[1]) : 0;
    int bytes = argc == 3 ? atoi(argv[2]) : sizeof buffer;
    int *connections = calloc((size_t)(count > 0 ? count : 1), sizeof *connections);
    int epoll = epoll_create1(0);
    int listener;

    if (argc > 3 || count <= 0 || bytes <= 0 || connections == NULL) {
        fprintf(stderr, "usage: bare_loop CONNECTIONS [BYTES]\n");
        return 2;
    }
    check(epoll, "epoll_create1");
    listener = listen_anywhere();
    for (int i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        int on = 1;

        connections[i] = accept(listener, NULL, NULL);
        check(connections[i], "accept");
        check(setsockopt(connections[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
        event.data.fd = connections[i];
        check(epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i], &event), "epoll_ctl");
    }
    for (;;) {
        struct epoll_event events[READY];
        int ready = epoll_wait(epoll, events, READY, -1);
        size_t size = 0;

        for (int i = 0; i < ready; i++) {
            ssize_t got = recv(events[i].data.fd, buffer + size, READ_BYTES, 0);

            if (got <= 0)
                return 0;
            size += (size_t)got;
        }
        for (int i = 0; i < count; i++)
            send_all(connections[i], size, (size_t)bytes);
    }
}
