<?php

/*
 * The same job cold and warm, side by side: php compare.php SOCKET [ROUNDS]
 *
 * Cold is `php cold.php` from its start to its end, output read. Warm is a request on a
 * connection that stays open, as an application has it: to the answer that the run has started,
 * and with `wait` to its exit, result in hand. Both are timed here, by the same clock, in turn.
 */

require __DIR__ . '/client.php';

const ENTRY = 'App\Jobs\Invoice';
const PARAMS = ['number' => 42];
const AT_ONCE = 200;

$client = new Client($argv[1] ?? fail('usage: php compare.php SOCKET [ROUNDS]'));
$rounds = (int) ($argv[2] ?? 25);

function milliseconds(callable $what): float
{
    $start = hrtime(true);
    $what();

    return (hrtime(true) - $start) / 1e6;
}

function cold(): array
{
    $process = proc_open(
        [PHP_BINARY, __DIR__ . '/cold.php', ENTRY, json_encode(PARAMS)],
        [['file', '/dev/null', 'r'], ['pipe', 'w'], STDERR],
        $pipes,
    );
    $output = stream_get_contents($pipes[1]);
    if (proc_close($process) !== 0) {
        fail('the cold run failed');
    }

    return json_decode($output, true, 64, JSON_THROW_ON_ERROR);
}

function warm(Client $client): array
{
    $status = $client->call('run', ['pool' => 'shop', 'entry' => ENTRY, 'params' => PARAMS, 'wait' => true]);
    if ($status['exit_code'] !== 0) {
        fail('the warm run failed: ' . json_encode($status));
    }
    $client->call('free', ['id' => $status['id']]);

    return $status['result'];
}

function fail(string $why): never
{
    fwrite(STDERR, "compare: $why\n");
    exit(1);
}

/** @param list<float> $times */
function row(string $what, array $times): string
{
    return sprintf("  %-46s %7.2f ms  %7.2f  %7.2f\n", $what, median($times), min($times), max($times));
}

/** @param list<float> $times */
function median(array $times): float
{
    sort($times);

    return $times[intdiv(count($times), 2)];
}

// Once each way before the clock counts: files into the page cache, and proof that both do the same.
if (cold() !== warm($client)) {
    fail('the cold and the warm run have different results');
}

$cold = $done = $started = [];
for ($i = 0; $i < $rounds; $i++) {
    $cold[] = milliseconds(cold(...));
    $done[] = milliseconds(function () use ($client, &$status) {
        $status = $client->call('run', ['pool' => 'shop', 'entry' => ENTRY, 'params' => PARAMS, 'wait' => true]);
    });
    $client->call('free', ['id' => $status['id']]);
    $started[] = milliseconds(function () use ($client, &$status) {
        $status = $client->call('run', ['pool' => 'shop', 'entry' => ENTRY, 'params' => PARAMS]);
    });
    $client->call('wait', ['id' => $status['id']]);
    $client->call('free', ['id' => $status['id']]);
}

$ids = [];
$burst = milliseconds(function () use ($client, &$ids) {
    for ($i = 0; $i < AT_ONCE; $i++) {
        $client->send('run', ['pool' => 'shop', 'entry' => ENTRY, 'params' => ['number' => $i + 1], 'wait' => true]);
    }
    for ($i = 0; $i < AT_ONCE; $i++) {
        $status = $client->receive();
        if ($status['exit_code'] !== 0) {
            fail('one of the runs at once failed: ' . json_encode($status));
        }
        $ids[] = $status['id'];
    }
});
foreach ($ids as $id) {
    $client->call('free', ['id' => $id]);
}

printf("  %-46s %10s  %7s  %7s\n", ENTRY . ", $rounds times in turn", 'median', 'fastest', 'slowest');
echo row('cold: php cold.php, start to exit', $cold);
echo row('warm: run, to its exit and result', $done);
echo row('warm: run, until it has started', $started);
printf(
    "\n  The result is there %.0f times sooner. %d asked for at once: %s runs a second.\n",
    median($cold) / median($done),
    AT_ONCE,
    number_format(AT_ONCE / $burst * 1000),
);
