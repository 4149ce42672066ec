<?php
// What a pool preloads: the class files in PREFORKD_BENCH_CLASSES (written by classes.php), and
// PREFORKD_BENCH_MB megabytes of data, as an application's caches and configuration would be.

declare(strict_types=1);

foreach (glob(getenv('PREFORKD_BENCH_CLASSES') . '/*.php') as $file) {
    require_once $file;
}
require_once __DIR__ . '/jobs.php';

$benchData = [];
for ($mb = (int) getenv('PREFORKD_BENCH_MB'); $mb > 0; $mb--) {
    // 256 strings of 4,000 bytes and their headers fill one megabyte.
    for ($i = 0; $i < 256; $i++) {
        $benchData[] = str_repeat(chr(33 + $i % 90), 4000);
    }
}
