/* What the client and the floors share: the clock, samples and their percentiles, priority,
 * placement, memory of a chosen size. Header only, so that each program stays one file. */
#ifndef PREFORKD_MEASURE_H
#define PREFORKD_MEASURE_H

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef SCHED_RESET_ON_FORK
#define SCHED_RESET_ON_FORK 0x40000000
#endif

static inline int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Absolute, so that the pace does not drift by what each request takes. */
static inline void sleep_until(int64_t ns)
{
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static inline void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

struct samples {
    int64_t *ns;
    size_t len, cap;
};

static inline void samples_add(struct samples *s, int64_t ns)
{
    if (s->len == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4096;
        s->ns = realloc(s->ns, s->cap * sizeof *s->ns);
        if (!s->ns)
            die("memory for samples");
    }
    s->ns[s->len++] = ns;
}

static inline int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Nearest rank: the smallest sample that at least p percent of all do not exceed. */
static inline double percentile_us(const struct samples *s, double p)
{
    size_t rank = (size_t)(p / 100.0 * (double)s->len + 0.999999);
    if (rank < 1)
        rank = 1;
    return (double)s->ns[rank - 1] / 1000.0;
}

/* One member of a JSON object, microseconds: "name":{"count":…,"p50":…}; null without samples. */
static inline void samples_print(struct samples *s, const char *name)
{
    if (s->len == 0) {
        printf("\"%s\":null", name);
        return;
    }
    qsort(s->ns, s->len, sizeof *s->ns, by_value);
    double sum = 0;
    for (size_t i = 0; i < s->len; i++)
        sum += (double)s->ns[i] / 1000.0;
    printf("\"%s\":{\"count\":%zu,\"min\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,"
           "\"max\":%.1f,\"mean\":%.1f}",
           name, s->len, percentile_us(s, 0), percentile_us(s, 50), percentile_us(s, 90),
           percentile_us(s, 99), percentile_us(s, 99.9), percentile_us(s, 100), sum / (double)s->len);
}

/* One member of a JSON object: text as it came over the wire. */
static inline void text_print(const char *name, const char *text)
{
    printf("\"%s\":\"", name);
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            printf("\\%c", *p);
        else if (*p < 0x20)
            printf("\\u%04x", *p);
        else
            putchar(*p);
    }
    printf("\"");
}

/* SCHED_RR for this process alone: what it forks is ordinary again. Answers whether it was allowed. */
static inline int be_realtime(int priority)
{
    struct sched_param p = {.sched_priority = priority};
    if (priority <= 0)
        return 0;
    if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &p) == 0)
        return 1;
    fprintf(stderr, "SCHED_RR priority %d: %s; measured at ordinary priority\n", priority,
            strerror(errno));
    return 0;
}

static inline void pin_to(int cpu)
{
    cpu_set_t set;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        die("pin to a processor (--cpu)");
}

/* In 4 KiB pages, because a fork's cost is its page tables. */
static inline void touch_kb(size_t kb)
{
    size_t size = kb << 10;
    if (kb == 0)
        return;
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        die("memory to touch (--kb)");
    madvise(at, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += 4096)
        at[i] = (char)(i >> 12) | 1;
}

#endif
