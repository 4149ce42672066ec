/* The floor of any answer over TCP: bytes come, the same bytes go back.
 *
 *   echo [--cpu N] [--seconds S]
 *
 * Prints the port it listens on (127.0.0.1, a free one) and ends after S seconds (600), or at the
 * end of its standard input. One connection at a time is enough for a round trip. */
#define _GNU_SOURCE
#include "measure.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

static void serve(int connection)
{
    char buffer[65536];
    int one = 1;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (;;) {
        ssize_t got = read(connection, buffer, sizeof buffer);
        if (got <= 0)
            return;
        for (ssize_t sent = 0; sent < got;) {
            ssize_t n = write(connection, buffer + sent, (size_t)(got - sent));
            if (n <= 0)
                return;
            sent += n;
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"cpu", 1, 0, 'c'}, {"seconds", 1, 0, 's'}, {0}};
    int cpu = -1, seconds = 600;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'c': cpu = atoi(optarg); break;
        case 's': seconds = atoi(optarg); break;
        default: return 2;
        }
    }
    alarm((unsigned)(seconds > 0 && seconds <= 3600 ? seconds : 600));
    pin_to(cpu);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 16) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        die("listen on 127.0.0.1");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct pollfd wait[2] = {{.fd = listener, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
    for (;;) {
        if (poll(wait, 2, -1) < 0)
            die("poll");
        if (wait[1].revents)
            return 0;
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0)
            die("accept");
        serve(connection);
        close(connection);
    }
}
