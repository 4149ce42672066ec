<?php

namespace App\Billing;

final class Line
{
    public function __construct(
        public readonly Product $product,
        public readonly int $quantity,
        public readonly float $taxPercent,
    ) {
    }

    public function net(): int
    {
        return $this->product->cents * $this->quantity;
    }

    public function tax(): int
    {
        return (int) round($this->net() * $this->taxPercent / 100);
    }
}
