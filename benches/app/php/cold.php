<?php
// The same job as in the pool, the cold way: load everything, run, leave. Says on fd 3 that the job began.

declare(strict_types=1);

require __DIR__ . '/bootstrap.php';

(new Announced())->run([]);
