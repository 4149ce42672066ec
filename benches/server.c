/* The C floor of the whole path: an epoll server that forks for each request line, answers OK once
 * the child has said that it started, and reaps. No parser, no log, no table.
 *
 *   server [--kb N] [--seconds S]
 *
 * Prints the port it listens on (127.0.0.1, a free one) and ends after S seconds (600), or at the
 * end of its standard input. */
#define _GNU_SOURCE
#include "measure.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { MAX_EVENTS = 128 };

static int started[2];

static void add(int epoll, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) != 0)
        die("epoll_ctl");
}

/* The child says which connection it is for; descriptors stay small, so one message is two bytes. */
static void run(int connection)
{
    uint16_t who = (uint16_t)connection;
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0)
        _exit(send(started[1], &who, sizeof who, 0) != sizeof who);
}

static void read_requests(int epoll, int connection)
{
    char buffer[4096];
    ssize_t got = recv(connection, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        /* A child that is still leaving holds the descriptor too, so closing alone does not
         * take it out of epoll. */
        epoll_ctl(epoll, EPOLL_CTL_DEL, connection, NULL);
        close(connection);
        return;
    }
    for (ssize_t i = 0; i < got; i++)
        if (buffer[i] == '\n')
            run(connection);
}

static void answer(void)
{
    uint16_t who;
    while (recv(started[0], &who, sizeof who, MSG_DONTWAIT) == sizeof who)
        if (send(who, "OK\n", 3, MSG_NOSIGNAL) != 3 && errno != EPIPE && errno != ECONNRESET &&
            errno != EBADF)
            die("answer");
}

static void reap(int signals)
{
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) == sizeof info)
        ;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"kb", 1, 0, 'm'}, {"seconds", 1, 0, 's'}, {0}};
    int kb = 0, seconds = 600, one = 1;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'm': kb = atoi(optarg); break;
        case 's': seconds = atoi(optarg); break;
        default: return 2;
        }
    }
    if (kb < 0 || kb > 4 << 20) {
        fprintf(stderr, "server: --kb is 0 to 4 GB\n");
        return 2;
    }
    alarm((unsigned)(seconds > 0 && seconds <= 3600 ? seconds : 600));
    touch_kb((size_t)kb);

    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int signals = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (signals < 0 || epoll < 0 || listener < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, started) != 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 128) != 0 || getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        die("set up the server");
    add(epoll, listener);
    add(epoll, signals);
    add(epoll, started[0]);
    add(epoll, 0);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    for (;;) {
        struct epoll_event events[MAX_EVENTS];
        int n = epoll_wait(epoll, events, MAX_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == 0)
                return 0;
            if (fd == listener) {
                int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (connection < 0)
                    continue;
                setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                add(epoll, connection);
            } else if (fd == signals)
                reap(signals);
            else if (fd == started[0])
                answer();
            else
                read_requests(epoll, fd);
        }
    }
}
