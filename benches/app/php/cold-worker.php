<?php
// A worker of the same application, the cold way: each process loads everything for itself.

declare(strict_types=1);

require __DIR__ . '/bootstrap.php';

(new Waiting())->run([]);
