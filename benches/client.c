/* A client that measures. It speaks what protocol.h says.
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
#include "protocol.h"

#include <getopt.h>
#include <sys/epoll.h>
#include <sys/time.h>

enum { MAX_CONNECTIONS = 1024, MAX_COUNT = 1000000, MAX_SECONDS = 120, LINE = 65536, ANSWER_S = 10 };

static struct {
    int port, rr, cpu, connections;
    long count, gap_ms;
    double seconds, limit_s;
    struct run run;
} opt = {.cpu = -1, .limit_s = 60, .run = {.entry = "noop", .params = "null"}};

static struct samples answers;
static long sent, good, queued, failed;
static char first_failure[512];

struct connection {
    int fd;
    long number;
    int64_t since;
    size_t len, request_len;
    char request[REQUEST], line[LINE];
};

static void fail(const char *line)
{
    if (failed++ == 0)
        snprintf(first_failure, sizeof first_failure, "%.*s", (int)sizeof first_failure - 1, line);
}

static void open_connection(struct connection *c)
{
    struct timeval limit = {.tv_sec = ANSWER_S};
    memset(c, 0, sizeof *c);
    c->fd = connect_to(opt.port);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static void write_request(struct connection *c)
{
    c->number = ++sent;
    c->request_len = write_run(&opt.run, c->number, c->request);
}

static void send_request(struct connection *c)
{
    if (send(c->fd, c->request, c->request_len, MSG_NOSIGNAL) != (ssize_t)c->request_len)
        die("send a request");
}

static void take_answer(struct connection *c, int64_t at)
{
    enum verdict verdict;
    c->line[c->len - 1] = '\0';
    verdict = judge(&opt.run, c->number, c->line);
    if (verdict == RIGHT) {
        good++;
        samples_add(&answers, at - c->since);
    } else {
        queued += verdict == QUEUED;
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
        RUN_OPTIONS, {"port", 1, 0, 'p'}, {"wait", 0, 0, 'w'}, {"count", 1, 0, 'n'}, {"gap-ms", 1, 0, 'g'},
        {"rr", 1, 0, 'r'}, {"cpu", 1, 0, 'c'}, {"limit-s", 1, 0, 'l'}, {"connections", 1, 0, 'k'},
        {"seconds", 1, 0, 's'}, {0}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p': opt.port = atoi(optarg); break;
        case 'w': opt.run.wait = 1; break;
        case 'n': opt.count = atol(optarg); break;
        case 'g': opt.gap_ms = atol(optarg); break;
        case 'r': opt.rr = atoi(optarg); break;
        case 'c': opt.cpu = atoi(optarg); break;
        case 'l': opt.limit_s = atof(optarg); break;
        case 'k': opt.connections = atoi(optarg); break;
        case 's': opt.seconds = atof(optarg); break;
        default:
            if (!run_option(o, optarg, &opt.run))
                return 0;
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
