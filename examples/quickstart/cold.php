<?php

/*
 * One job without preforkd, as a cron line would run it:
 *
 *   php cold.php 'App\Jobs\Invoice' '{"number": 42}'
 */

require __DIR__ . '/bootstrap.php';

[, $class, $params] = $argv + [1 => 'App\Jobs\Invoice', 2 => '{"number": 42}'];

echo json_encode((new $class())->run(json_decode($params, true, 64, JSON_THROW_ON_ERROR)), JSON_THROW_ON_ERROR), "\n";
