<?php

namespace App\Billing;

/** Sums by month, for the command and for the job. */
class MonthlyReport
{
    public function __construct(private InvoiceRepository $invoices)
    {
    }

    /** @return array<string, array{invoices: int, net: Money, gross: Money}> by month, oldest first */
    public function byMonth(): array
    {
        $months = [];
        foreach ($this->invoices->all() as $invoice) {
            $sum = $months[$invoice->month] ?? ['invoices' => 0, 'net' => new Money(0), 'gross' => new Money(0)];
            $months[$invoice->month] = [
                'invoices' => $sum['invoices'] + 1,
                'net' => $sum['net']->plus($invoice->net()),
                'gross' => $sum['gross']->plus($invoice->gross()),
            ];
        }
        ksort($months);

        return $months;
    }
}
