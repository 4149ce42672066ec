<?php

namespace App\Jobs;

/** A job that fails, to see what a status says of it. */
final class Broken
{
    public function run(array $params): never
    {
        echo "Printing invoice ", $params['number'] ?? '?', " …\n";

        throw new \RuntimeException('The printer is out of paper.');
    }
}
