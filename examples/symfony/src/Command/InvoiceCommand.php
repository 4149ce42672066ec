<?php

namespace App\Command;

use App\Billing\InvoiceRepository;
use App\Billing\UnknownInvoice;
use Symfony\Component\Console\Attribute\AsCommand;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Helper\TableSeparator;
use Symfony\Component\Console\Input\InputArgument;
use Symfony\Component\Console\Input\InputInterface;
use Symfony\Component\Console\Output\OutputInterface;
use Symfony\Component\Console\Style\SymfonyStyle;

#[AsCommand(name: 'app:invoice', description: 'Prints an invoice')]
final class InvoiceCommand extends Command
{
    public function __construct(private InvoiceRepository $invoices)
    {
        parent::__construct();
    }

    protected function configure(): void
    {
        $this->addArgument('number', InputArgument::REQUIRED, 'The number of the invoice');
    }

    protected function execute(InputInterface $input, OutputInterface $output): int
    {
        $style = new SymfonyStyle($input, $output);
        try {
            $invoice = $this->invoices->get((int) $input->getArgument('number'));
        } catch (UnknownInvoice $unknown) {
            $style->getErrorStyle()->error($unknown->getMessage());

            return Command::INVALID;
        }

        $rows = [];
        foreach ($invoice->lines as $line) {
            $rows[] = [$line->text, $line->quantity, $line->price, $line->total()];
        }
        $rows[] = new TableSeparator();
        $rows[] = ['Net', '', '', $invoice->net()];
        $rows[] = ["Tax {$invoice->taxRate}%", '', '', $invoice->tax()];
        $rows[] = ['To pay', '', '', $invoice->gross()];

        $style->title("Invoice {$invoice->number} for {$invoice->customer}, {$invoice->month}");
        $style->table(['What', 'Quantity', 'Price', 'Sum'], $rows);

        return Command::SUCCESS;
    }
}
