<?php

namespace App\Jobs;

/** A job that takes its time, `{"seconds": 60}`: something to look at, and to kill. */
final class Slow
{
    public function run(array $params): string
    {
        $seconds = $params['seconds'] ?? 60;
        usleep((int) (1_000_000 * $seconds));

        return "slept for $seconds s";
    }
}
