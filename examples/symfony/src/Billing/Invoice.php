<?php

namespace App\Billing;

/** What a customer owes for a month. */
final class Invoice
{
    /** @param Line[] $lines */
    public function __construct(
        public readonly int $number,
        public readonly string $customer,
        public readonly string $month,
        public readonly int $taxRate,
        public readonly array $lines,
    ) {
    }

    public function net(): Money
    {
        return array_reduce($this->lines, fn (Money $sum, Line $line) => $sum->plus($line->total()), new Money(0));
    }

    public function tax(): Money
    {
        return $this->net()->percent($this->taxRate);
    }

    public function gross(): Money
    {
        return $this->net()->plus($this->tax());
    }
}
