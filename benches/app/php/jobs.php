<?php

declare(strict_types=1);

/** A job that does nothing, so that what is measured is the way to it. */
final class Noop
{
    public function run(mixed $params): void
    {
    }
}

/** Writes to so many of the preload's pages, each so many after the one before; answers how long that took, in µs. */
final class Writes
{
    public function run(array $params): float
    {
        global $benchData;
        $count = count($benchData);
        $before = hrtime(true);
        for ($i = 0; $i < $params['pages']; $i++) {
            $benchData[$i * $params['step'] % $count][0] = 'x';
        }

        return (hrtime(true) - $before) / 1000;
    }
}

/** A job that says on a descriptor that it began: what a cold start is measured by. */
final class Announced
{
    public function run(mixed $params): void
    {
        file_put_contents('php://fd/3', 's');
    }
}

/** A worker that says on BENCH_BEGUN that it began, as worker.c does, and then waits for ever. */
final class Waiting
{
    public function run(mixed $params): void
    {
        file_put_contents(getenv('BENCH_BEGUN'), getmypid() . ' ' . hrtime(true) . "\n", FILE_APPEND);
        while (true) {
            sleep(3600);
        }
    }
}
