<?php

namespace App\Country;

final class France extends Country
{
    public function code(): string
    {
        return 'FR';
    }

    public function name(): string
    {
        return 'France';
    }

    protected function standardRate(): float
    {
        return 20.0;
    }

    protected function reducedRate(): float
    {
        return 5.5;
    }

    public function taxName(): string
    {
        return 'TVA';
    }

    public function format(): string
    {
        return 'EuroSpaced';
    }
}
