"""What Python's users have for this: multiprocessing's forkserver with the same modules preloaded,
Process.start() and the child's first word. forkserver.py COUNT GAP_MS; prints JSON, microseconds."""

import json
import multiprocessing
import sys
import time


def main():
    from percentiles import percentiles
    import jobs

    count, gap = min(int(sys.argv[1]), 100_000), min(int(sys.argv[2]), 1000) / 1000
    context = multiprocessing.get_context("forkserver")
    # `__main__` is its default; without it each child would import this file again.
    context.set_forkserver_preload(["__main__", "jobs"])
    started = []
    reader, writer = context.Pipe(duplex=False)
    for i in range(count + 1):
        time.sleep(gap)
        before = time.monotonic_ns()
        child = context.Process(target=jobs.said, args=(writer,))
        child.start()
        reader.recv_bytes()
        # The first start also brings up the server with its preload.
        if i > 0:
            started.append(time.monotonic_ns() - before)
        child.join()
    print(json.dumps({"started": percentiles(started)}))


if __name__ == "__main__":
    main()
