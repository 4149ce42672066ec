/* Counts what each process has of the heap: LD_PRELOAD=…/allocations.so BENCH_ALLOCATIONS=FOLDER PROGRAM.
 *
 * FOLDER/PID holds three 64-bit numbers, as the machine has them: calls that gave memory (malloc, calloc, realloc,
 * aligned_alloc, posix_memalign), the bytes that were asked for, and the bytes that are in use now, as the allocator
 * rounds them. A child that execs no program goes on counting in its parent's file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The C library's own names for what is wrapped here. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

enum { CALLS, ASKED, HELD, NUMBERS };

static _Atomic long nobody[NUMBERS];
static _Atomic long *counts = nobody;

__attribute__((constructor)) static void begin(void)
{
    char path[4096];
    const char *folder = getenv("BENCH_ALLOCATIONS");
    if (!folder || snprintf(path, sizeof path, "%s/%d", folder, (int)getpid()) >= (int)sizeof path)
        return;
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    if (ftruncate(file, sizeof nobody) == 0) {
        void *place = mmap(NULL, sizeof nobody, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (place != MAP_FAILED)
            counts = place;
    }
    close(file);
}

static void add(int number, long much)
{
    atomic_fetch_add_explicit(&counts[number], much, memory_order_relaxed);
}

static void *given(void *place, size_t size)
{
    add(CALLS, 1);
    add(ASKED, (long)size);
    add(HELD, (long)malloc_usable_size(place));
    return place;
}

void *malloc(size_t size)
{
    return given(__libc_malloc(size), size);
}

void *calloc(size_t number, size_t size)
{
    return given(__libc_calloc(number, size), number * size);
}

void *realloc(void *old, size_t size)
{
    long before = (long)malloc_usable_size(old);
    void *place = __libc_realloc(old, size);
    if (place || size == 0)
        add(HELD, -before);
    return given(place, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return given(__libc_memalign(alignment, size), size);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
    *place = given(__libc_memalign(alignment, size), size);
    return *place ? 0 : 12; /* ENOMEM */
}

void free(void *place)
{
    add(HELD, -(long)malloc_usable_size(place));
    __libc_free(place);
}
