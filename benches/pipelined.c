/* Clients that lose nothing: each connection asks for a run every so often, without waiting for the answers to those before, and
 * when it is cut, it connects again and repeats what has no answer yet, with the same ids.
 *
 *   pipelined --port P --pool NAME --file FILE --times FILE [--connections K] [--every-us N] [--depth D] [--limit-s S]
 *
 * At most --depth runs of a connection are under way. --every-us 0: always as many.
 *
 * A run is the entry `append`, which appends the run's id to --file and returns it, so that both what ran and what was answered
 * can be counted. Nothing new is sent once standard input has ended, or after --limit-s; the rest has DRAIN_S to be answered.
 * Prints one JSON object. --times gets a `struct seen` for each answer and each cut. */
#define _GNU_SOURCE
#include "measure.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

enum { MAX_CONNECTIONS = 64, MAX_DEPTH = 64, REQUEST = 1024, BUFFER = 1 << 20, DRAIN_S = 10, MAX_LIMIT_S = 1800 };
enum { SEND_S = 10, RETRY_NS = 1000000, IDLE_NS = 100000000 };

/* As it lies in --times. */
struct seen {
    /* Since when the connection had waited for any answer. */
    int64_t since, ns;
    int32_t connection;
    enum { ANSWER, FIRST_ANSWER, CUT } what;
};

struct connection {
    int fd, fresh;
    size_t len;
    int64_t due, last_answer;
    /* Numbers of the runs under way; 0: none. Those without `sent` have to be sent. */
    long under_way[MAX_DEPTH];
    int64_t begun_at[MAX_DEPTH];
    char sent[MAX_DEPTH], repeated[MAX_DEPTH];
    char buffer[BUFFER];
};

static struct {
    int port, connections, depth;
    long every_us;
    double limit_s;
    const char *pool, *file, *times;
} opt = {.connections = 8, .every_us = 5000, .depth = 32, .limit_s = 60};

static struct connection *all;
static long begun, right, repeated, duplicates, refused, wrong, unknown, cuts, unreachable;
static char first_failure[512];
static struct {
    struct seen *at;
    size_t len, cap;
} seen;

static void saw(struct connection *c, int what)
{
    int64_t now = now_ns(), since = now;
    for (int i = 0; i < opt.depth; i++)
        if (c->under_way[i] && c->begun_at[i] < since)
            since = c->begun_at[i];
    if (since < c->last_answer)
        since = c->last_answer;
    if (what != CUT)
        c->last_answer = now;
    if (seen.len == seen.cap) {
        seen.cap = seen.cap ? seen.cap * 2 : 65536;
        seen.at = realloc(seen.at, seen.cap * sizeof *seen.at);
        if (!seen.at)
            die("memory for times");
    }
    seen.at[seen.len++] = (struct seen){since, now, (int32_t)(c - all), what};
}

static void failed(long *which, const char *line)
{
    (*which)++;
    if (!*first_failure)
        snprintf(first_failure, sizeof first_failure, "%.*s", (int)sizeof first_failure - 1, line);
}

/* The listening sockets outlive a master, so that this is to succeed always. */
static void reach(struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)opt.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = SEND_S};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("make a socket");
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        failed(&unreachable, strerror(errno));
        close(c->fd);
        c->fd = -1;
        sleep_until(now_ns() + RETRY_NS);
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    c->len = 0;
}

static void cut(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
    c->fresh = 1;
    cuts++;
    saw(c, CUT);
    for (int i = 0; i < opt.depth; i++)
        if (c->under_way[i] && c->sent[i]) {
            c->sent[i] = 0;
            c->repeated[i] = 1;
        }
}

/* Everything that is to be sent, in one call. */
static void send_requests(struct connection *c, int more)
{
    static char text[MAX_DEPTH * REQUEST];
    size_t len = 0;
    int64_t now = now_ns(), every = opt.every_us * 1000;
    /* What was not sent while too many were under way is not made up for. */
    if (c->due < now - every)
        c->due = now;
    for (int i = 0; i < opt.depth; i++) {
        if (!c->under_way[i] && more && c->due <= now) {
            c->under_way[i] = ++begun;
            c->begun_at[i] = now;
            c->due += every;
            c->sent[i] = c->repeated[i] = 0;
        }
        if (!c->under_way[i] || c->sent[i])
            continue;
        int n = snprintf(text + len, REQUEST,
                         "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"run\",\"params\":{\"pool\":\"%s\",\"id\":\"p%ld\","
                         "\"entry\":\"append\",\"params\":{\"path\":\"%s\",\"line\":\"p%ld\"},\"wait\":true}}\n",
                         c->under_way[i], opt.pool, c->under_way[i], opt.file, c->under_way[i]);
        if (n < 0 || n >= REQUEST) {
            fprintf(stderr, "pipelined: a request is longer than %d bytes\n", REQUEST);
            exit(2);
        }
        len += (size_t)n;
        c->sent[i] = 1;
        repeated += c->repeated[i];
    }
    if (len > 0 && send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
        cut(c);
}

static void take_answer(struct connection *c, const char *line)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":";
    char wanted[3][64];
    long number = strncmp(line, head, sizeof head - 1) == 0 ? atol(line + sizeof head - 1) : 0;
    int at = 0;
    while (at < opt.depth && (number == 0 || c->under_way[at] != number))
        at++;
    if (at == opt.depth) {
        /* Nobody's, or a second answer to the same request. */
        failed(&wrong, line);
        return;
    }
    snprintf(wanted[0], sizeof wanted[0], "\"id\":\"p%ld\"", number);
    snprintf(wanted[1], sizeof wanted[1], "\"result\":\"p%ld\"", number);
    snprintf(wanted[2], sizeof wanted[2], "\"state\":\"exited\"");
    if (strstr(line, "\"error\":{\"code\":"))
        failed(&refused, line);
    else if (strstr(line, wanted[0]) && strstr(line, "\"state\":\"unknown\"") && strstr(line, "\"class\":\"unknown\""))
        failed(&unknown, line);
    else if (!strstr(line, wanted[0]) || !strstr(line, wanted[1]) || !strstr(line, wanted[2]) ||
             !strstr(line, "\"exit_code\":0,"))
        failed(&wrong, line);
    else
        right++;
    if (strstr(line, "\"duplicate\":true")) {
        duplicates++;
        if (!c->repeated[at])
            failed(&wrong, line);
    }
    saw(c, c->fresh ? FIRST_ANSWER : ANSWER);
    c->under_way[at] = 0;
    c->fresh = 0;
}

/* Everything that has come. */
static void read_answers(struct connection *c)
{
    ssize_t got = recv(c->fd, c->buffer + c->len, BUFFER - c->len, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        cut(c);
        return;
    }
    size_t end = c->len + (size_t)got, from = 0;
    for (char *newline; (newline = memchr(c->buffer + from, '\n', end - from)); from = (size_t)(newline - c->buffer) + 1) {
        *newline = '\0';
        take_answer(c, c->buffer + from);
    }
    memmove(c->buffer, c->buffer + from, end - from);
    c->len = end - from;
    if (c->len == BUFFER) {
        fprintf(stderr, "pipelined: an answer is longer than %d bytes\n", BUFFER);
        exit(2);
    }
}

static long missing(void)
{
    long count = 0;
    for (int i = 0; i < opt.connections; i++)
        for (int at = 0; at < opt.depth; at++)
            count += all[i].under_way[at] != 0;
    return count;
}

static int has_room(const struct connection *c)
{
    for (int i = 0; i < opt.depth; i++)
        if (!c->under_way[i])
            return 1;
    return 0;
}

static double drive(void)
{
    int64_t begin = now_ns(), end = begin + (int64_t)(opt.limit_s * 1e9);
    int more = 1;
    for (int i = 0; i < opt.connections; i++)
        all[i].due = begin + opt.every_us * 1000 / opt.connections * i;
    while (more || (missing() > 0 && now_ns() < end)) {
        struct pollfd fds[MAX_CONNECTIONS + 1];
        int64_t next = now_ns() + IDLE_NS;
        for (int i = 0; i < opt.connections; i++) {
            if (all[i].fd < 0)
                reach(&all[i]);
            if (all[i].fd >= 0)
                send_requests(&all[i], more);
            fds[i] = (struct pollfd){.fd = all[i].fd, .events = POLLIN};
            if (all[i].fd < 0)
                next = 0;
            else if (all[i].due < next && has_room(&all[i]))
                next = all[i].due;
        }
        fds[opt.connections] = (struct pollfd){.fd = more ? STDIN_FILENO : -1, .events = POLLIN};
        int64_t left = next - now_ns();
        struct timespec wait = {0, left > 0 ? (long)left : 0};
        if (ppoll(fds, (nfds_t)opt.connections + 1, &wait, NULL) < 0 && errno != EINTR)
            die("poll");
        for (int i = 0; i < opt.connections; i++)
            if (fds[i].fd >= 0 && fds[i].fd == all[i].fd && fds[i].revents)
                read_answers(&all[i]);
        if (more && (fds[opt.connections].revents || now_ns() > end)) {
            more = 0;
            end = now_ns() + DRAIN_S * (int64_t)1000000000;
        }
    }
    return (double)(now_ns() - begin) / 1e9;
}

static int parse(int argc, char **argv)
{
    static const struct option options[] = {{"port", 1, 0, 'p'},        {"pool", 1, 0, 'o'},  {"file", 1, 0, 'f'},
                                            {"times", 1, 0, 't'},       {"depth", 1, 0, 'd'}, {"limit-s", 1, 0, 'l'},
                                            {"connections", 1, 0, 'k'}, {"every-us", 1, 0, 'e'}, {0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p': opt.port = atoi(optarg); break;
        case 'o': opt.pool = optarg; break;
        case 'f': opt.file = optarg; break;
        case 't': opt.times = optarg; break;
        case 'd': opt.depth = atoi(optarg); break;
        case 'e': opt.every_us = atol(optarg); break;
        case 'l': opt.limit_s = atof(optarg); break;
        case 'k': opt.connections = atoi(optarg); break;
        default: return 0;
        }
    }
    return opt.port > 0 && opt.port < 65536 && opt.pool && opt.file && opt.times && opt.depth > 0 &&
           opt.depth <= MAX_DEPTH && opt.every_us >= 0 && opt.every_us <= 1000000 && opt.connections > 0 && opt.connections <= MAX_CONNECTIONS && opt.limit_s > 0 &&
           opt.limit_s <= MAX_LIMIT_S;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "pipelined: an option is missing, unknown or out of its bounds; see the top of pipelined.c\n");
        return 2;
    }
    all = calloc((size_t)opt.connections, sizeof *all);
    if (!all)
        die("memory for connections");
    for (int i = 0; i < opt.connections; i++)
        all[i].fd = -1;
    double seconds = drive();
    FILE *times = fopen(opt.times, "wb");
    if (!times || fwrite(seen.at, sizeof *seen.at, seen.len, times) != seen.len || fclose(times) != 0)
        die("write the times (--times)");
    printf("{\"begun\":%ld,\"right\":%ld,\"repeated\":%ld,\"duplicates\":%ld,\"refused\":%ld,\"wrong\":%ld,\"unknown\":%ld,"
           "\"unanswered\":%ld,\"cuts\":%ld,\"unreachable\":%ld,\"seconds\":%.3f,",
           begun, right, repeated, duplicates, refused, wrong, unknown, missing(), cuts, unreachable, seconds);
    text_print("first_failure", first_failure);
    printf("}\n");
    return 0;
}
