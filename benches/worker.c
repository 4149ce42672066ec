/* What the supervisors keep up: the first thing it does is to take the time. What it does then is its argument.
 *
 *   worker [pause]          nothing, until a signal ends it
 *   worker crash            exits with 1
 *   worker lines MB         writes so many megabytes (10^6 bytes) of lines a second
 *
 * With BENCH_BEGUN it appends "PID NANOSECONDS\n" of CLOCK_MONOTONIC to that file or FIFO, which must be there;
 * a FIFO that nobody reads is passed over. */
#define _GNU_SOURCE
#include "measure.h"

#include <fcntl.h>

enum { LINE = 100, EVERY_MS = 10, MAX_MB = 1000 };

static void tell(int64_t at)
{
    char text[64];
    const char *path = getenv("BENCH_BEGUN");
    if (!path)
        return;
    int file = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return;
    int length = snprintf(text, sizeof text, "%d %lld\n", (int)getpid(), (long long)at);
    if (write(file, text, (size_t)length) != length)
        die("the time of its start (BENCH_BEGUN)");
    close(file);
}

/* Every 10 ms what is due by then, so that a slow reader does not lower the rate of the whole. */
static void lines(long mb)
{
    static char line[LINE];
    memset(line, '.', sizeof line);
    line[LINE - 1] = '\n';
    size_t each = (size_t)mb * 1000000 / LINE * EVERY_MS / 1000 * LINE;
    char *block = malloc(each);
    if (!block)
        die("memory for lines");
    for (size_t at = 0; at < each; at += LINE)
        memcpy(block + at, line, LINE);
    for (int64_t due = now_ns();; due += EVERY_MS * 1000000) {
        sleep_until(due);
        for (size_t at = 0; at < each;) {
            ssize_t some = write(STDOUT_FILENO, block + at, each - at);
            if (some < 0 && errno != EINTR)
                die("write lines");
            at += some > 0 ? (size_t)some : 0;
        }
    }
}

int main(int argc, char **argv)
{
    int64_t at = now_ns();
    tell(at);
    const char *what = argc > 1 ? argv[1] : "pause";
    long mb = argc > 2 ? atol(argv[2]) : 10;
    if (strcmp(what, "crash") == 0)
        return 1;
    if (strcmp(what, "lines") == 0 && mb > 0 && mb <= MAX_MB)
        lines(mb);
    for (;;)
        pause();
}
