<?php

namespace App\Billing;

/** The invoices of data/invoices.json, read when they are first asked for. */
class InvoiceRepository
{
    /** @var array<int, Invoice>|null */
    private ?array $invoices = null;

    public function __construct(private string $file)
    {
    }

    /** @throws UnknownInvoice */
    public function get(int $number): Invoice
    {
        return $this->all()[$number] ?? throw new UnknownInvoice($number);
    }

    /** @return array<int, Invoice> by number */
    public function all(): array
    {
        if ($this->invoices === null) {
            $this->invoices = [];
            foreach (json_decode(file_get_contents($this->file), true, 16, JSON_THROW_ON_ERROR) as $row) {
                $lines = array_map(
                    fn (array $line) => new Line($line['text'], $line['quantity'], new Money($line['cents'])),
                    $row['lines'],
                );
                $this->invoices[$row['number']] =
                    new Invoice($row['number'], $row['customer'], $row['month'], $row['tax'], $lines);
            }
        }

        return $this->invoices;
    }
}
