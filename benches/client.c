/* A client that measures. It speaks the daemon's JSON-RPC and Phprocksyd lines, and those of the
 * floors: `echo` (the same bytes come back) and `line` (a bare request, answered by OK).
 *
 *   client --port P [--proto rpc|phprocksyd|echo|line] [--pool NAME] [--entry NAME] [--params JSON]
 *          [--wait] [--count N] [--gap-ms N] [--rr PRIORITY] [--cpu N] [--limit-s S]
 *   client --port P … --connections K [--seconds S | --count N]
 *
 * Without --connections: one connection, one request at a time, --gap-ms apart (0: closed loop).
 * With it: K connections in closed loops, for S seconds or until N answers.
 * Prints one JSON object; latencies in microseconds, over good answers alone. Ends with 1 when a request
 * was refused or not answered, which `first_failure` shows. */
#define _GNU_SOURCE
#include "measure.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { MAX_CONNECTIONS = 1024, MAX_COUNT = 1000000, MAX_SECONDS = 120, LINE = 65536, ANSWER_S = 10 };

enum proto { RPC, PHPROCKSYD, ECHO, BARE };

static struct {
    int port, rr, cpu, wait, connections;
    long count, gap_ms;
    double seconds, limit_s;
    enum proto proto;
    const char *pool, *entry, *params;
} opt = {.cpu = -1, .limit_s = 60, .entry = "noop", .params = "null"};

static struct samples answers;
static long sent, good, queued, failed;
static char first_failure[512];

struct connection {
    int fd, busy;
    int64_t since;
    size_t len, request_len;
    char request[4096], line[LINE];
};

static void fail(const char *line)
{
    if (failed++ == 0)
        snprintf(first_failure, sizeof first_failure, "%.*s", (int)sizeof first_failure - 1, line);
}

static void open_connection(struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)opt.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = ANSWER_S};
    int one = 1;
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect to 127.0.0.1");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static void write_request(struct connection *c)
{
    /* Phprocksyd's numbers must be new ones in each run of this program. */
    static int64_t first_hash;
    size_t size = sizeof c->request;
    int n = 0;
    if (first_hash == 0)
        first_hash = now_ns() / 1000;
    sent++;
    switch (opt.proto) {
    case RPC:
        n = snprintf(c->request, size,
                     "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"run\",\"params\":{%s%s%s\"entry\":\"%s\","
                     "\"params\":%s%s}}\n",
                     sent, opt.pool ? "\"pool\":\"" : "", opt.pool ? opt.pool : "",
                     opt.pool ? "\"," : "", opt.entry, opt.params, opt.wait ? ",\"wait\":true" : "");
        break;
    case PHPROCKSYD:
        n = snprintf(c->request, size, "run {\"hash\":%lld,\"class\":\"%s\",\"params\":%s}\n",
                     (long long)(first_hash + sent), opt.entry, opt.params);
        break;
    case ECHO:
        n = snprintf(c->request, size, "%0100ld\n", sent);
        break;
    case BARE:
        n = snprintf(c->request, size, "run\n");
        break;
    }
    if (n < 0 || (size_t)n >= size) {
        fprintf(stderr, "client: the request is longer than %zu bytes\n", size);
        exit(2);
    }
    c->request_len = (size_t)n;
}

static void send_request(struct connection *c)
{
    if (send(c->fd, c->request, c->request_len, MSG_NOSIGNAL) != (ssize_t)c->request_len)
        die("send a request");
}

/* Whether the answer is the one asked for. A status has a state whatever happened; an error of the
 * protocol has none. */
static int is_good(struct connection *c)
{
    const char *state;
    switch (opt.proto) {
    case ECHO:
        return c->len == c->request_len && memcmp(c->line, c->request, c->len) == 0;
    case BARE:
        return strcmp(c->line, "OK\n") == 0;
    case PHPROCKSYD:
        return strcmp(c->line, "{\"error_text\":\"OK\"}\n") == 0;
    case RPC:
        break;
    }
    state = strstr(c->line, "\"state\":\"");
    if (!state)
        return 0;
    state += strlen("\"state\":\"");
    if (strncmp(state, "queued", 6) == 0) {
        queued++;
        return 0;
    }
    if (strncmp(state, "exited", 6) == 0)
        return strstr(c->line, "\"exit_code\":0,") != NULL;
    return !opt.wait && strncmp(state, "running", 7) == 0;
}

static void take_answer(struct connection *c, int64_t at)
{
    c->line[c->len] = '\0';
    if (is_good(c)) {
        good++;
        samples_add(&answers, at - c->since);
    } else {
        fail(c->line);
    }
    c->len = 0;
}

/* Reads once; 1 when a whole line is there. One request is under way, so nothing follows it. */
static int read_answer(struct connection *c)
{
    ssize_t got = recv(c->fd, c->line + c->len, sizeof c->line - 1 - c->len, 0);
    if (got <= 0) {
        fail(got == 0 ? "the connection was closed" : "no answer in time");
        return -1;
    }
    c->len += (size_t)got;
    return c->line[c->len - 1] == '\n';
}

static void one_at_a_time(void)
{
    static struct connection c;
    open_connection(&c);
    int64_t due = now_ns(), end = due + (int64_t)(opt.limit_s * 1e9);
    for (long i = 0; i < opt.count && now_ns() < end; i++) {
        int whole;
        write_request(&c);
        int64_t before = now_ns();
        due += opt.gap_ms * 1000000;
        if (opt.gap_ms > 0 && before < due) {
            sleep_until(due);
            c.since = now_ns();
        } else {
            /* When the last answer came after this request was due, the wait for it counts. */
            c.since = opt.gap_ms > 0 ? due : before;
        }
        send_request(&c);
        while ((whole = read_answer(&c)) == 0)
            ;
        if (whole < 0)
            return;
        take_answer(&c, now_ns());
    }
}

static double many(void)
{
    struct connection *all = calloc((size_t)opt.connections, sizeof *all);
    struct epoll_event events[MAX_CONNECTIONS];
    int epoll = epoll_create1(EPOLL_CLOEXEC), busy = opt.connections;
    if (!all || epoll < 0)
        die("set up the connections");
    for (int i = 0; i < opt.connections; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
        open_connection(&all[i]);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &e) != 0)
            die("epoll_ctl");
    }
    int64_t begin = now_ns(), end = begin + (int64_t)(opt.seconds * 1e9), last = begin;
    for (int i = 0; i < opt.connections; i++) {
        write_request(&all[i]);
        all[i].since = now_ns();
        send_request(&all[i]);
    }
    while (busy > 0) {
        int n = epoll_wait(epoll, events, MAX_CONNECTIONS, ANSWER_S * 1000);
        if (n <= 0) {
            fail("no answer in time");
            break;
        }
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            int whole = read_answer(c);
            if (whole == 0)
                continue;
            int64_t now = now_ns();
            if (whole > 0 && now <= end) {
                take_answer(c, now);
                last = now;
            }
            if (whole < 0 || now > end || sent >= opt.count) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL);
                busy--;
                continue;
            }
            write_request(c);
            c->since = now_ns();
            send_request(c);
        }
    }
    return (double)(last - begin) / 1e9;
}

static int parse(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, 0, 'p'}, {"proto", 1, 0, 'P'}, {"pool", 1, 0, 'o'}, {"entry", 1, 0, 'e'},
        {"params", 1, 0, 'a'}, {"wait", 0, 0, 'w'}, {"count", 1, 0, 'n'}, {"gap-ms", 1, 0, 'g'},
        {"rr", 1, 0, 'r'}, {"cpu", 1, 0, 'c'}, {"limit-s", 1, 0, 'l'}, {"connections", 1, 0, 'k'},
        {"seconds", 1, 0, 's'}, {0}};
    static const char *const protos[] = {"rpc", "phprocksyd", "echo", "line"};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p': opt.port = atoi(optarg); break;
        case 'P':
            for (int i = 0; i < 4 && strcmp(optarg, protos[opt.proto = i]) != 0; i++)
                if (i == 3)
                    return 0;
            break;
        case 'o': opt.pool = optarg; break;
        case 'e': opt.entry = optarg; break;
        case 'a': opt.params = optarg; break;
        case 'w': opt.wait = 1; break;
        case 'n': opt.count = atol(optarg); break;
        case 'g': opt.gap_ms = atol(optarg); break;
        case 'r': opt.rr = atoi(optarg); break;
        case 'c': opt.cpu = atoi(optarg); break;
        case 'l': opt.limit_s = atof(optarg); break;
        case 'k': opt.connections = atoi(optarg); break;
        case 's': opt.seconds = atof(optarg); break;
        default: return 0;
        }
    }
    if (opt.count == 0)
        opt.count = opt.connections ? MAX_COUNT : 100;
    if (opt.seconds == 0)
        opt.seconds = opt.limit_s;
    return opt.port > 0 && opt.port < 65536 && opt.count > 0 && opt.count <= MAX_COUNT &&
           opt.gap_ms >= 0 && opt.gap_ms <= 1000 && opt.limit_s > 0 && opt.limit_s <= MAX_SECONDS &&
           opt.seconds > 0 && opt.seconds <= MAX_SECONDS && opt.connections >= 0 &&
           opt.connections <= MAX_CONNECTIONS;
}

int main(int argc, char **argv)
{
    double seconds = 0;
    if (!parse(argc, argv)) {
        fprintf(stderr, "client: an option is unknown or out of its bounds; see the top of client.c\n");
        return 2;
    }
    pin_to(opt.cpu);
    int realtime = be_realtime(opt.rr);
    if (opt.connections)
        seconds = many();
    else
        one_at_a_time();
    printf("{\"sent\":%ld,\"good\":%ld,\"queued\":%ld,\"failed\":%ld,\"realtime\":%s,\"cpu\":%d,", sent, good,
           queued, failed, realtime ? "true" : "false", opt.cpu);
    if (seconds > 0)
        printf("\"seconds\":%.3f,\"per_second\":%.1f,", seconds, (double)good / seconds);
    text_print("first_failure", first_failure);
    printf(",");
    samples_print(&answers, "latency");
    printf("}\n");
    return failed > 0;
}
