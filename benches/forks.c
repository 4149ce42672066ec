/* Floors of a fork, with nothing around it, from a process of a chosen size.
 *
 *   forks started [--kb N] [--count N] [--gap-ms N] [--rr PRIORITY] [--cpu N]
 *       fork, and the child's first message on a socketpair; and the same until it is reaped
 *   forks loop [--kb N] [--seconds S]
 *       fork + _exit + wait, one after the other, wherever the scheduler puts them
 *
 * Prints one JSON object, times in microseconds. */
#define _GNU_SOURCE
#include "measure.h"

#include <getopt.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { MAX_COUNT = 1000000, MAX_SECONDS = 60 };

static void started(long count, long gap_ms, int realtime)
{
    struct samples start = {0}, end = {0};
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        die("socketpair");
    int64_t due = now_ns();
    for (long i = 0; i < count; i++) {
        char byte = 's';
        due += gap_ms * 1000000;
        if (gap_ms > 0)
            sleep_until(due);
        int64_t before = now_ns();
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid == 0)
            _exit(send(pair[1], &byte, 1, 0) != 1);
        if (recv(pair[0], &byte, 1, 0) != 1)
            die("the child's message");
        samples_add(&start, now_ns() - before);
        if (waitpid(pid, NULL, 0) != pid)
            die("waitpid");
        samples_add(&end, now_ns() - before);
    }
    printf("{\"realtime\":%s,", realtime ? "true" : "false");
    samples_print(&start, "started");
    printf(",");
    samples_print(&end, "reaped");
    printf("}\n");
}

static void loop(double seconds)
{
    struct samples cycle = {0};
    int64_t begin = now_ns(), at = begin, end = begin + (int64_t)(seconds * 1e9);
    while (at < end) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        if (pid == 0)
            _exit(0);
        if (waitpid(pid, NULL, 0) != pid)
            die("waitpid");
        int64_t now = now_ns();
        samples_add(&cycle, now - at);
        at = now;
    }
    printf("{\"per_second\":%.1f,", (double)cycle.len * 1e9 / (double)(at - begin));
    samples_print(&cycle, "cycle");
    printf("}\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"kb", 1, 0, 'm'}, {"count", 1, 0, 'n'}, {"gap-ms", 1, 0, 'g'}, {"rr", 1, 0, 'r'},
        {"cpu", 1, 0, 'c'}, {"seconds", 1, 0, 's'}, {0}};
    long kb = 0, count = 100, gap_ms = 0, rr = 0, cpu = -1;
    double seconds = 0.5;
    const char *mode = argc > 1 ? argv[1] : "";
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'm': kb = atol(optarg); break;
        case 'n': count = atol(optarg); break;
        case 'g': gap_ms = atol(optarg); break;
        case 'r': rr = atol(optarg); break;
        case 'c': cpu = atol(optarg); break;
        case 's': seconds = atof(optarg); break;
        default: return 2;
        }
    }
    if (kb < 0 || kb > 4 << 20 || count < 1 || count > MAX_COUNT || gap_ms < 0 || gap_ms > 1000 ||
        seconds <= 0 || seconds > MAX_SECONDS) {
        fprintf(stderr, "forks: an option is out of its bounds\n");
        return 2;
    }
    alarm(2 * MAX_SECONDS);
    pin_to((int)cpu);
    touch_kb((size_t)kb);
    if (strcmp(mode, "started") == 0)
        started(count, gap_ms, be_realtime((int)rr));
    else if (strcmp(mode, "loop") == 0)
        loop(seconds);
    else {
        fprintf(stderr, "usage: forks started|loop [options]; see the top of forks.c\n");
        return 2;
    }
    return 0;
}
