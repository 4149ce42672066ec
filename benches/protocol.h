/* What the clients say: the daemon's JSON-RPC, Phprocksyd's lines, and those of the floors: `echo` (the same bytes
 * come back) and `line` (a bare request, answered by OK). And whether an answer is the one asked for. Header only,
 * so that each program stays one file. */
#ifndef PREFORKD_PROTOCOL_H
#define PREFORKD_PROTOCOL_H

#include "measure.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { REQUEST = 4096 };

enum protocol { RPC, PHPROCKSYD, ECHO, BARE };

enum verdict { RIGHT, QUEUED, WRONG };

/* A run to ask for. */
struct run {
    enum protocol protocol;
    const char *pool, *entry, *params;
    int wait;
};

static inline int protocol_named(const char *name, enum protocol *found)
{
    static const char *const names[] = {"rpc", "phprocksyd", "echo", "line"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *found = (enum protocol)i;
            return 1;
        }
    return 0;
}

/* What is asked for, the same for each client; run_option() takes these. */
#define RUN_OPTIONS {"proto", 1, 0, 'P'}, {"pool", 1, 0, 'o'}, {"entry", 1, 0, 'e'}, {"params", 1, 0, 'a'}

/* 0: it is none of them, or there is no such protocol. */
static inline int run_option(int option, const char *value, struct run *run)
{
    switch (option) {
    case 'P': return protocol_named(value, &run->protocol);
    case 'o': run->pool = value; return 1;
    case 'e': run->entry = value; return 1;
    case 'a': run->params = value; return 1;
    default: return 0;
    }
}

static inline int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("connect to 127.0.0.1");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Writes at most REQUEST bytes, with a NUL behind; answers how many. */
static inline size_t write_run(const struct run *run, long number, char *to)
{
    /* Phprocksyd's numbers must be new ones in each run of a program. */
    static int64_t first_hash;
    int n = 0;
    if (first_hash == 0)
        first_hash = now_ns() / 1000;
    switch (run->protocol) {
    case RPC:
        n = snprintf(to, REQUEST,
                     "{\"jsonrpc\":\"2.0\",\"id\":%ld,\"method\":\"run\",\"params\":{%s%s%s\"entry\":\"%s\","
                     "\"params\":%s%s}}\n",
                     number, run->pool ? "\"pool\":\"" : "", run->pool ? run->pool : "", run->pool ? "\"," : "", run->entry,
                     run->params, run->wait ? ",\"wait\":true" : "");
        break;
    case PHPROCKSYD:
        n = snprintf(to, REQUEST, "run {\"hash\":%lld,\"class\":\"%s\",\"params\":%s}\n", (long long)(first_hash + number),
                     run->entry, run->params);
        break;
    case ECHO:
        n = snprintf(to, REQUEST, "%0100ld\n", number);
        break;
    case BARE:
        n = snprintf(to, REQUEST, "run\n");
        break;
    }
    if (n < 0 || n >= REQUEST) {
        fprintf(stderr, "a request is longer than %d bytes\n", REQUEST - 1);
        exit(2);
    }
    return (size_t)n;
}

/* A status has a state whatever happened; an error of the protocol has none. `line` is without its end. */
static inline enum verdict judge(const struct run *run, long number, const char *line)
{
    const char *state;
    switch (run->protocol) {
    case ECHO:
        return atol(line) == number ? RIGHT : WRONG;
    case BARE:
        return strcmp(line, "OK") == 0 ? RIGHT : WRONG;
    case PHPROCKSYD:
        return strcmp(line, "{\"error_text\":\"OK\"}") == 0 ? RIGHT : WRONG;
    case RPC:
        break;
    }
    state = strstr(line, "\"state\":\"");
    if (!state)
        return WRONG;
    state += strlen("\"state\":\"");
    if (strncmp(state, "queued", 6) == 0)
        return QUEUED;
    if (strncmp(state, "exited", 6) == 0)
        return strstr(line, "\"exit_code\":0,") ? RIGHT : WRONG;
    return !run->wait && strncmp(state, "running", 7) == 0 ? RIGHT : WRONG;
}

#endif
