/* What the supervisors keep up: the first thing it does is to take the time. What it does then is its argument.
 *
 *   worker [pause]          nothing, until a signal ends it
 *   worker crash            exits with 1
 *   worker lines MB         writes so many megabytes (10^6 bytes) of lines a second
 *   worker numbered MS FILE writes "PID NUMBER NANOSECONDS\n" every so many ms, and then the same to FILE: what it could
 *                           write, whatever became of it on the way to a log
 *
 * With BENCH_BEGUN it appends "PID NANOSECONDS\n" of CLOCK_MONOTONIC to that file or FIFO, which must be there;
 * a FIFO that nobody reads is passed over. */
#define _GNU_SOURCE
#include "measure.h"

#include <fcntl.h>

enum { LINE = 100, EVERY_MS = 10, MAX_MB = 1000, MAX_MS = 10000 };

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

static void whole_line(int fd, const char *line, int length, const char *what)
{
    /* Shorter than PIPE_BUF, so it is written whole or not at all. */
    ssize_t done;
    do
        done = write(fd, line, (size_t)length);
    while (done < 0 && errno == EINTR);
    if (done != length)
        die(what);
}

static void numbered(long every_ms, const char *path)
{
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        die("open the file for what was written");
    int64_t due = now_ns();
    for (long number = 1;; number++, due += every_ms * 1000000) {
        char line[80];
        sleep_until(due);
        int length = snprintf(line, sizeof line, "%d %ld %lld\n", (int)getpid(), number, (long long)now_ns());
        whole_line(STDOUT_FILENO, line, length, "write a line");
        whole_line(file, line, length, "write down what was written");
    }
}

int main(int argc, char **argv)
{
    int64_t at = now_ns();
    tell(at);
    const char *what = argc > 1 ? argv[1] : "pause";
    long number = argc > 2 ? atol(argv[2]) : 10;
    if (strcmp(what, "crash") == 0)
        return 1;
    if (strcmp(what, "lines") == 0 && number > 0 && number <= MAX_MB)
        lines(number);
    if (strcmp(what, "numbered") == 0 && number > 0 && number <= MAX_MS && argc > 3)
        numbered(number, argv[3]);
    for (;;)
        pause();
}
