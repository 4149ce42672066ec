<?php

namespace App\Billing;

/** One line of an invoice: so many of a thing at a price. */
final class Line
{
    public function __construct(
        public readonly string $text,
        public readonly int $quantity,
        public readonly Money $price,
    ) {
    }

    public function total(): Money
    {
        return $this->price->times($this->quantity);
    }
}
