/* What a command costs that is started, and ends: fork, exec, and all that it does until it is reaped.
 *
 *   cold COUNT PROGRAM [ARGUMENT...]     one after the other; the output is thrown away
 *   cold                                 ends at once: the floor
 *
 * Prints one JSON object, times in microseconds, and the minor faults of the last one. */
#define _GNU_SOURCE
#include "measure.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
    struct samples whole = {0};
    struct rusage used = {0};
    posix_spawn_file_actions_t to_null;
    if (argc == 1)
        return 0;
    long count = strtol(argv[1], NULL, 10);
    if (argc < 3 || count < 1 || count > 100000) {
        fprintf(stderr, "usage: cold COUNT PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    if (posix_spawn_file_actions_init(&to_null) != 0 ||
        posix_spawn_file_actions_addopen(&to_null, 0, "/dev/null", O_RDONLY, 0) != 0 ||
        posix_spawn_file_actions_addopen(&to_null, 1, "/dev/null", O_WRONLY, 0) != 0)
        die("prepare the output");
    for (long i = 0; i < count; i++) {
        pid_t pid;
        int status;
        int64_t before = now_ns();
        if ((errno = posix_spawn(&pid, argv[2], &to_null, NULL, argv + 2, environ)) != 0)
            die(argv[2]);
        if (wait4(pid, &status, 0, &used) != pid)
            die("wait4");
        samples_add(&whole, now_ns() - before);
        if (status != 0) {
            fprintf(stderr, "%s: status %d\n", argv[2], status);
            return 1;
        }
    }
    printf("{\"faults\":%ld,", used.ru_minflt);
    samples_print(&whole, "whole");
    printf("}\n");
    return 0;
}
