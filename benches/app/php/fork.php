<?php
// The floor under a warm run in PHP: pcntl_fork and the child's first word on a socketpair, in a
// process that has loaded what a pool loads. fork.php COUNT GAP_MS; prints JSON, microseconds and
// whole cycles a second.

declare(strict_types=1);

require __DIR__ . '/bootstrap.php';

[, $count, $gapMs] = $argv + [1 => '100', 2 => '10'];
[$count, $gap] = [min((int) $count, 100000), min((int) $gapMs, 1000) * 1_000_000];
[$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
$started = $reaped = [];
$begin = $due = hrtime(true);
for ($i = 0; $i < $count; $i++) {
    $due += $gap;
    if ($gap > 0 && ($wait = $due - hrtime(true)) > 0) {
        time_nanosleep(0, $wait);
    }
    $before = hrtime(true);
    $pid = pcntl_fork();
    if ($pid === 0) {
        fwrite($theirs, 's');
        // PHP's own way out would be ten times the fork, and is not what is measured.
        posix_kill(posix_getpid(), SIGKILL);
    }
    if ($pid < 0 || fread($ours, 1) !== 's') {
        fwrite(STDERR, "fork.php: no child, or it said nothing\n");
        exit(1);
    }
    $started[] = (hrtime(true) - $before) / 1000;
    pcntl_waitpid($pid, $status);
    $reaped[] = (hrtime(true) - $before) / 1000;
}

$perSecond = $count * 1e9 / (hrtime(true) - $begin);

function percentiles(array $samples): array
{
    sort($samples);
    $at = fn (float $p): float => round($samples[max(1, (int) ceil($p / 100 * count($samples))) - 1], 1);

    return ['count' => count($samples), 'min' => $at(0), 'p50' => $at(50), 'p90' => $at(90), 'p99' => $at(99), 'max' => $at(100)];
}

echo json_encode(['started' => percentiles($started), 'reaped' => percentiles($reaped), 'per_second' => $perSecond]), "\n";
