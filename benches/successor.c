/* From kill -9 of a worker until its successor is there: the floor, and the clock for all.
 *
 *   successor floor COUNT PROGRAM
 *       keeps COUNT processes of PROGRAM up with fork, exec and waitpid and nothing else, until its standard
 *       input ends
 *   successor clock FIFO GAP_MS PID...
 *       kills each of these workers, and waits until another one says on the FIFO (BENCH_BEGUN, worker.c) when
 *       it began. Prints one JSON object: times in microseconds, and the pids of the successors
 */
#define _GNU_SOURCE
#include "measure.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { MAX_COUNT = 1000, SUCCESSOR_MS = 10000, LIMIT_S = 300 };

static pid_t up(char *program)
{
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        char *argv[] = {program, NULL};
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(program, argv);
        _exit(127);
    }
    return pid;
}

static void wake_up(int signal)
{
    (void)signal;
}

/* SIGCHLD is blocked but while it waits, so that none is missed. */
static void keep_up(int count, char *program)
{
    pid_t pids[MAX_COUNT];
    sigset_t child, none;
    sigemptyset(&none);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    struct sigaction wake = {.sa_handler = wake_up};
    if (sigprocmask(SIG_BLOCK, &child, NULL) != 0 || sigaction(SIGCHLD, &wake, NULL) != 0)
        die("signals");
    for (int i = 0; i < count; i++)
        pids[i] = up(program);
    printf("up\n");
    fflush(stdout);
    for (;;) {
        struct pollfd input = {.fd = STDIN_FILENO};
        if (ppoll(&input, 1, NULL, &none) > 0)
            break;
        for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
            for (int i = 0; i < count; i++)
                if (pids[i] == pid)
                    pids[i] = up(program);
    }
    for (int i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
}

/* By pidfd, and only if it is a worker: a number alone may be somebody else's by now. Answers when. */
static int64_t kill_worker(pid_t pid)
{
    char path[64], name[16] = "";
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int comm = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || comm < 0 || read(comm, name, sizeof name - 1) < 0)
        die("look for a worker to kill");
    if (strcmp(name, "worker\n") != 0) {
        fprintf(stderr, "process %d is no worker\n", (int)pid);
        exit(1);
    }
    int64_t before = now_ns();
    if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) != 0)
        die("kill a worker");
    close(comm);
    close(fd);
    return before;
}

/* One record of worker.c; each is one write, and so arrives whole. */
static int64_t successor(int fifo, pid_t *pid)
{
    struct pollfd reader = {.fd = fifo, .events = POLLIN};
    char text[64] = "";
    long long at;
    int found;
    for (size_t length = 0; length == 0 || text[length - 1] != '\n';) {
        int ready = poll(&reader, 1, SUCCESSOR_MS);
        if (ready == 0) {
            fprintf(stderr, "no successor within %d s\n", SUCCESSOR_MS / 1000);
            exit(1);
        }
        ssize_t some = ready < 0 ? -1 : read(fifo, text + length, 1);
        if (some < 0)
            die("read the time of a start");
        length += (size_t)some;
        if (length == sizeof text - 1)
            break;
    }
    if (sscanf(text, "%d %lld", &found, &at) != 2) {
        fprintf(stderr, "not a record of a start: %s\n", text);
        exit(1);
    }
    *pid = found;
    return at;
}

static void clock_them(const char *path, long gap_ms, int count, char **pids)
{
    struct samples begun = {0};
    pid_t successors[MAX_COUNT];
    int fifo = open(path, O_RDWR | O_CLOEXEC);
    if (fifo < 0)
        die(path);
    for (int i = 0; i < count; i++) {
        sleep_until(now_ns() + gap_ms * 1000000);
        int64_t before = kill_worker(atoi(pids[i]));
        samples_add(&begun, successor(fifo, &successors[i]) - before);
    }
    printf("{");
    samples_print(&begun, "begun");
    printf(",\"pids\":[");
    for (int i = 0; i < count; i++)
        printf("%s%d", i ? "," : "", (int)successors[i]);
    printf("]}\n");
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    alarm(LIMIT_S);
    if (strcmp(mode, "floor") == 0 && argc == 4 && atoi(argv[2]) > 0 && atoi(argv[2]) <= MAX_COUNT)
        keep_up(atoi(argv[2]), argv[3]);
    else if (strcmp(mode, "clock") == 0 && argc > 4 && argc - 4 <= MAX_COUNT)
        clock_them(argv[2], atol(argv[3]), argc - 4, argv + 4);
    else {
        fprintf(stderr, "usage: successor floor|clock ...; see the top of successor.c\n");
        return 2;
    }
    return 0;
}
