/* An open loop: requests are sent when they are due, whatever has become of those before, and each one's latency is counted from
 * when it was due. So waiting is not hidden, neither in the server nor here.
 *
 *   load --port P --rate R [--seconds S] [--schedule even|poisson|bursts|volleys] [--seed N] [--connections K]
 *        [--on-ms N] [--times X] [--volley N] [--warm-s S] [--most N] [--rr PRIORITY] [--cpu N]
 *        [--proto rpc|phprocksyd|echo|line] [--pool NAME] [--entry NAME] [--params JSON]
 *
 * R requests a second in the mean, over K connections by turns. `bursts`: Poisson at X times the rate for N ms, then nothing until
 * the mean is R again. `volleys`: N requests at once, and as often as makes R. What is due in the first --warm-s is sent and not
 * counted. With more than --most unanswered the rest is not sent; what is sent has DRAIN_S to be answered.
 *
 * Prints one JSON object, times in microseconds: `latency` of the right answers, `late` how long after it was due a request was
 * sent, `per_second` right answers from the first request until the last answer. Ends with 1 when anything was not answered
 * rightly. */
#define _GNU_SOURCE
#include "measure.h"
#include "protocol.h"

#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <sys/prctl.h>

enum { MAX_CONNECTIONS = 256, MAX_REQUESTS = 1000000, MAX_SECONDS = 120, BUFFER = 65536, DRAIN_S = 10, CODES = 16, CODE = 24 };

enum schedule { EVEN, POISSON, BURSTS, VOLLEYS };

static struct {
    int port, rr, cpu, connections;
    long most, volley;
    double rate, seconds, warm_s, on_ms, times;
    uint64_t seed;
    enum schedule schedule;
    struct run run;
} opt = {.cpu = -1, .connections = 32, .most = 10000, .volley = 64, .seconds = 1, .on_ms = 10, .times = 5, .seed = 1,
         .schedule = POISSON, .run = {.entry = "noop", .params = "null"}};

/* Request i goes over connection i mod K; `answered` are the answers on it so far, for protocols that do not number them. */
struct connection {
    int fd;
    long answered;
    size_t in_len, out_len;
    char in[BUFFER], out[BUFFER];
};

static struct connection *all;
/* In ns from the start, ascending. */
static int64_t *due;
static long count, sent, unanswered, right, failed, overloaded;
static char *done;
static int64_t begin, first_due, last_answer;
static struct samples latency, late;
static char first_failure[512];
static struct {
    char name[CODE];
    long times;
} codes[CODES];

/* splitmix64: each seed gives a schedule of its own. */
static double uniform(void)
{
    uint64_t z = opt.seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* When request i is due, in seconds; `clock` is what the call before left there. */
static double next_due(long i, double *clock)
{
    double on = opt.on_ms / 1e3;
    switch (opt.schedule) {
    case EVEN:
        return (double)i / opt.rate;
    case POISSON:
        return *clock -= log(1 - uniform()) / opt.rate;
    case BURSTS:
        /* The clock stands still while it is off. */
        *clock -= log(1 - uniform()) / (opt.rate * opt.times);
        return *clock + floor(*clock / on) * on * (opt.times - 1);
    case VOLLEYS:
        break;
    }
    return (double)(i / opt.volley * opt.volley) / opt.rate;
}

static void plan(void)
{
    double at, clock = 0;
    due = calloc(MAX_REQUESTS, sizeof *due);
    done = calloc(MAX_REQUESTS, 1);
    if (!due || !done)
        die("memory for the schedule");
    while (count < MAX_REQUESTS && (at = next_due(count, &clock)) < opt.warm_s + opt.seconds)
        due[count++] = (int64_t)(at * 1e9);
    while (count > 0 && first_due < count && due[first_due] < (int64_t)(opt.warm_s * 1e9))
        first_due++;
}

static void fail(const char *line)
{
    char name[CODE] = "unexpected";
    const char *code = strstr(line, "\"error\":{\"code\":");
    int at = 0;
    if (code)
        snprintf(name, sizeof name, "%ld", atol(code + strlen("\"error\":{\"code\":")));
    else if (strstr(line, "\"state\":\"queued\""))
        snprintf(name, sizeof name, "queued");
    while (at < CODES - 1 && codes[at].times && strcmp(codes[at].name, name) != 0)
        at++;
    memcpy(codes[at].name, name, sizeof name);
    codes[at].times++;
    if (failed++ == 0)
        snprintf(first_failure, sizeof first_failure, "%.*s", (int)sizeof first_failure - 1, line);
}

static void flush_out(struct connection *c)
{
    if (c->out_len == 0)
        return;
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        die("send requests");
    if (n > 0) {
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
}

static void send_due(void)
{
    int64_t now = now_ns() - begin;
    long from = sent;
    while (sent < count && due[sent] <= now && !overloaded) {
        struct connection *c = &all[sent % opt.connections];
        if (unanswered >= opt.most || c->out_len + REQUEST > BUFFER) {
            overloaded = 1;
            break;
        }
        c->out_len += write_run(&opt.run, sent, c->out + c->out_len);
        sent++;
        unanswered++;
    }
    for (long i = from; i < sent && i < from + opt.connections; i++)
        flush_out(&all[i % opt.connections]);
    now = now_ns() - begin;
    for (long i = from; i < sent; i++)
        if (i >= first_due)
            samples_add(&late, now - due[i]);
}

static void take_answer(struct connection *c, const char *line, int64_t at)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":";
    long which = (long)(c - all) + c->answered++ * opt.connections;
    if (opt.run.protocol == RPC)
        which = strncmp(line, head, sizeof head - 1) == 0 ? atol(line + sizeof head - 1) : -1;
    if (which < 0 || which >= sent || done[which]) {
        fail(line);
        return;
    }
    done[which] = 1;
    unanswered--;
    if (judge(&opt.run, which, line) != RIGHT) {
        fail(line);
    } else if (which >= first_due) {
        right++;
        last_answer = at;
        samples_add(&latency, at - due[which]);
    }
}

static void read_answers(struct connection *c)
{
    ssize_t got = recv(c->fd, c->in + c->in_len, BUFFER - c->in_len, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        fprintf(stderr, "load: a connection was closed with %ld requests unanswered\n", unanswered);
        exit(1);
    }
    int64_t at = now_ns() - begin;
    size_t end = c->in_len + (size_t)got, from = 0;
    for (char *newline; (newline = memchr(c->in + from, '\n', end - from)); from = (size_t)(newline - c->in) + 1) {
        *newline = '\0';
        take_answer(c, c->in + from, at);
    }
    c->in_len = end - from;
    memmove(c->in, c->in + from, c->in_len);
    if (c->in_len == BUFFER) {
        fprintf(stderr, "load: an answer is longer than %d bytes\n", BUFFER);
        exit(1);
    }
}

static void drive(void)
{
    struct pollfd fds[MAX_CONNECTIONS];
    int64_t drained = (int64_t)((opt.warm_s + opt.seconds + DRAIN_S) * 1e9);
    begin = now_ns();
    while (sent < count && !overloaded ? 1 : unanswered > 0) {
        int64_t until = sent < count && !overloaded ? due[sent] : drained, left;
        for (int i = 0; i < opt.connections; i++) {
            short out = all[i].out_len > 0 ? POLLOUT : 0;
            fds[i] = (struct pollfd){.fd = all[i].fd, .events = (short)(POLLIN | out)};
        }
        left = until - (now_ns() - begin);
        if (until == drained && left <= 0)
            break;
        struct timespec wait = {left > 0 ? left / 1000000000 : 0, left > 0 ? left % 1000000000 : 0};
        if (ppoll(fds, (nfds_t)opt.connections, &wait, NULL) < 0 && errno != EINTR)
            die("poll");
        send_due();
        for (int i = 0; i < opt.connections; i++) {
            if (fds[i].revents & POLLOUT)
                flush_out(&all[i]);
            if (fds[i].revents & ~POLLOUT)
                read_answers(&all[i]);
        }
    }
}

static int parse(int argc, char **argv)
{
    static const struct option options[] = {
        RUN_OPTIONS,            {"port", 1, 0, 'p'},
        {"rate", 1, 0, 'R'},    {"seconds", 1, 0, 's'}, {"schedule", 1, 0, 'S'}, {"seed", 1, 0, 'd'},  {"connections", 1, 0, 'k'},
        {"on-ms", 1, 0, 'O'},   {"times", 1, 0, 't'},   {"volley", 1, 0, 'v'},  {"warm-s", 1, 0, 'w'}, {"most", 1, 0, 'm'},
        {"rr", 1, 0, 'r'},      {"cpu", 1, 0, 'c'},     {0}};
    static const char *const schedules[] = {"even", "poisson", "bursts", "volleys"};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p': opt.port = atoi(optarg); break;
        case 'R': opt.rate = atof(optarg); break;
        case 's': opt.seconds = atof(optarg); break;
        case 'S':
            for (int i = 0; i < 4 && strcmp(optarg, schedules[opt.schedule = (enum schedule)i]) != 0; i++)
                if (i == 3)
                    return 0;
            break;
        case 'd': opt.seed = strtoull(optarg, NULL, 10); break;
        case 'k': opt.connections = atoi(optarg); break;
        case 'O': opt.on_ms = atof(optarg); break;
        case 't': opt.times = atof(optarg); break;
        case 'v': opt.volley = atol(optarg); break;
        case 'w': opt.warm_s = atof(optarg); break;
        case 'm': opt.most = atol(optarg); break;
        case 'r': opt.rr = atoi(optarg); break;
        case 'c': opt.cpu = atoi(optarg); break;
        default:
            if (!run_option(o, optarg, &opt.run))
                return 0;
        }
    }
    return opt.port > 0 && opt.port < 65536 && opt.rate > 0 && opt.seconds > 0 && opt.warm_s >= 0 &&
           opt.seconds + opt.warm_s <= MAX_SECONDS && opt.connections > 0 && opt.connections <= MAX_CONNECTIONS &&
           opt.on_ms > 0 && opt.times >= 1 && opt.volley > 0 && opt.most > 0;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        fprintf(stderr, "load: an option is missing, unknown or out of its bounds; see the top of load.c\n");
        return 2;
    }
    plan();
    all = calloc((size_t)opt.connections, sizeof *all);
    if (!all)
        die("memory for connections");
    for (int i = 0; i < opt.connections; i++)
        all[i].fd = connect_to(opt.port);
    pin_to(opt.cpu);
    int realtime = be_realtime(opt.rr);
    /* At ordinary priority a timer may be 50 us late (prctl(2), PR_SET_TIMERSLACK). */
    if (prctl(PR_SET_TIMERSLACK, 1) != 0)
        die("set the timer slack");
    drive();
    double seconds = first_due < count ? (double)(last_answer - due[first_due]) / 1e9 : 0;
    printf("{\"planned\":%ld,\"sent\":%ld,\"right\":%ld,\"failed\":%ld,\"unanswered\":%ld,\"overloaded\":%s,\"realtime\":%s,", count, sent,
           right, failed, unanswered, overloaded ? "true" : "false", realtime ? "true" : "false");
    printf("\"per_second\":%.1f,\"errors\":{", seconds > 0 ? (double)right / seconds : 0);
    for (int i = 0; i < CODES && codes[i].times; i++)
        printf("%s\"%s\":%ld", i ? "," : "", codes[i].name, codes[i].times);
    printf("},");
    text_print("first_failure", first_failure);
    printf(",");
    samples_print(&late, "late");
    printf(",");
    samples_print(&latency, "latency");
    printf("}\n");
    return failed > 0 || unanswered > 0 || overloaded;
}
