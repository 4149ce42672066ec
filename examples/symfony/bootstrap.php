<?php

/*
 * What preforkd loads once. Every run is forked from the process that has come to the end of
 * this file, and finds all of it in memory.
 *
 * Connections do not belong here: two children would write into the same one. Open them in
 * the job, or in preforkd_after_fork(fn () => …).
 */

use App\Warm;
use Symfony\Bundle\FrameworkBundle\Console\Application;
use Symfony\Component\Console\Input\ArrayInput;
use Symfony\Component\Console\Output\BufferedOutput;

require __DIR__ . '/vendor/autoload.php';

$kernel = Warm::boot($_SERVER['APP_ENV'] ?? 'prod');

// The list makes the console load its commands, helpers and formatters: what every command needs.
$application = new Application($kernel);
$application->setAutoExit(false);
$application->run(new ArrayInput(['command' => 'list']), new BufferedOutput());

// Our own commands are lazy in the container; this loads their classes.
foreach ($application->all('app') as $command) {
    $command->getDefinition();
}

// Runs make a kernel of their own (bin/console does); this one stays for the jobs.
unset($application, $command);
