<?php

namespace App\Command;

use App\Billing\InvoiceRepository;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Input\InputOption;
use Symfony\Component\Console\Output\OutputInterface;

#[AsCommand(name: 'app:remind', description: 'Goes through all the invoices, slowly: something to watch and to kill')]
final class RemindCommand extends Command
{
    public function __construct(private InvoiceRepository $invoices)
    {
        parent::__construct();
    }

    protected function configure(): void
    {
        $this->addOption('pause', null, InputOption::VALUE_REQUIRED, 'Milliseconds between two', '1000');
    }

    protected function execute(InputInterface $input, OutputInterface $output): int
    {
        foreach ($this->invoices->all() as $invoice) {
            $output->writeln("Reminding {$invoice->customer} of {$invoice->gross()}");
            usleep(1000 * (int) $input->getOption('pause'));
        }

        return Command::SUCCESS;
    }
}
