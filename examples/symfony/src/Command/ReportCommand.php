<?php

namespace App\Command;

use App\Billing\MonthlyReport;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Output\OutputInterface;
use Symfony\Component\Console\Style\SymfonyStyle;

#[AsCommand(name: 'app:report', description: 'Sums the invoices by month')]
final class ReportCommand extends Command
{
    public function __construct(private MonthlyReport $report)
    {
        parent::__construct();
    }

    protected function execute(InputInterface $input, OutputInterface $output): int
    {
        $rows = [];
        foreach ($this->report->byMonth() as $month => $sum) {
            $rows[] = [$month, $sum['invoices'], $sum['net'], $sum['gross']];
        }
        (new SymfonyStyle($input, $output))->table(['Month', 'Invoices', 'Net', 'Gross'], $rows);

        return Command::SUCCESS;
    }
}
