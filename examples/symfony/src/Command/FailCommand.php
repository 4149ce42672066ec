<?php

namespace App\Command;

use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Input\InputOption;
use Symfony\Component\Console\Output\OutputInterface;

#[AsCommand(name: 'app:fail', description: 'Fails in the way you choose, to see what a status says of it')]
final class FailCommand extends Command
{
    protected function configure(): void
    {
        $this
            ->addOption('code', 'c', InputOption::VALUE_REQUIRED, 'Leave with this exit code')
            ->addOption('signal', 's', InputOption::VALUE_REQUIRED, 'Die of this signal (a number)')
            ->setHelp('Without an option it throws an exception, which the console turns into exit code 1.');
    }

    protected function execute(InputInterface $input, OutputInterface $output): int
    {
        if (null !== $code = $input->getOption('code')) {
            return (int) $code;
        }
        if (null !== $signal = $input->getOption('signal')) {
            posix_kill(getmypid(), (int) $signal);
        }

        throw new \RuntimeException('The printer is out of paper.');
    }
}
