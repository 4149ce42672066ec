"""The machine that is measured on, and the processes on it."""

import os
import platform
import signal
import time

PROCESSORS = sorted(os.sched_getaffinity(0))
# The client and whoever answers it stay apart, so that each round trip crosses processors alike.
CLIENT_CPU = PROCESSORS[1] if len(PROCESSORS) > 1 else -1
SERVER_CPU = PROCESSORS[0] if len(PROCESSORS) > 1 else -1


def busy_share(seconds=1.0):
    """How much of all processors others used meanwhile, 0 to 1."""

    def read():
        with open("/proc/stat") as f:
            fields = [int(x) for x in f.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = read()
    time.sleep(seconds)
    total_after, idle_after = read()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def describe():
    model = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{len(PROCESSORS)} × {model}, Linux {platform.release()}, Python {platform.python_version()}"


def stat(pid):
    """(parent, start time in ticks), or None when no such process is alive. Pid and start time together
    name a process; a pid alone may be somebody else's by now."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[1]), int(fields[19]))


def below(root):
    """Every descendant of a process, {pid: start time}."""
    children, start = {}, {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := stat(int(name))):
            children.setdefault(found[0], []).append(int(name))
            start[int(name)] = found[1]
    result, todo = {}, [root]
    while todo:
        for pid in children.get(todo.pop(), []):
            result[pid] = start[pid]
            todo.append(pid)
    return result


def own_kb(pid):
    """Anonymous memory of a process, in kB: what a fork has to copy the page tables of."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))


def place(pid, processors):
    """Moves every thread of a process to these processors."""
    if len(PROCESSORS) < 2:
        return
    for tid in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(tid), processors)


def switches(pid):
    """How often the threads of a process were scheduled in so far; 0 for a process that is gone."""
    count = 0
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/status") as f:
                count += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    except OSError:
        return 0
    return count


def kill_marked(mark):
    """Kills every process with this in its environment (`NAME=VALUE`), by pidfd; answers how many there were."""
    count = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fd = os.pidfd_open(int(name))
        except OSError:
            continue
        try:
            # After the pidfd was opened, so that it is this very process.
            with open(f"/proc/{name}/environ", "rb") as f:
                if mark.encode() not in f.read().split(b"\0"):
                    continue
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            count += 1
        except OSError:
            continue
        finally:
            os.close(fd)
    return count


def memory_kb(pids):
    """{"Pss": …, "Rss": …} of all of these together, in kB; a page that others map, too, counts in part in Pss."""
    total = {"Pss": 0, "Rss": 0}
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            for line in f:
                name, _, rest = line.partition(":")
                if name in total:
                    total[name] += int(rest.split()[0])
    return total


def files(pid):
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_ns(pids):
    """User and system time of these processes so far, with all threads that they had (clock_getcpuclockid(3))."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids)
