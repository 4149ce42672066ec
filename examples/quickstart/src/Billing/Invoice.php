<?php

namespace App\Billing;

/** An invoice; all amounts in cents. */
final class Invoice
{
    /** @param list<Line> $lines */
    public function __construct(
        public readonly int $number,
        public readonly Customer $customer,
        public readonly array $lines,
    ) {
    }

    public function net(): int
    {
        return array_sum(array_map(static fn (Line $line) => $line->net(), $this->lines));
    }

    public function tax(): int
    {
        return array_sum(array_map(static fn (Line $line) => $line->tax(), $this->lines));
    }

    public function gross(): int
    {
        return $this->net() + $this->tax();
    }
}
