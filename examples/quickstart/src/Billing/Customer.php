<?php

namespace App\Billing;

use App\Country\Country;

final class Customer
{
    public function __construct(
        public readonly string $name,
        public readonly string $address,
        public readonly Country $country,
    ) {
    }
}
