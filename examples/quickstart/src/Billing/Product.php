<?php

namespace App\Billing;

final class Product
{
    public function __construct(
        public readonly string $name,
        public readonly int $cents,
        public readonly Rate $rate,
    ) {
    }
}
