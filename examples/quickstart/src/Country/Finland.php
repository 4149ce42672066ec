<?php

namespace App\Country;

final class Finland extends Country
{
    public function code(): string
    {
        return 'FI';
    }

    public function name(): string
    {
        return 'Finland';
    }

    protected function standardRate(): float
    {
        return 25.5;
    }

    protected function reducedRate(): float
    {
        return 14.0;
    }

    public function taxName(): string
    {
        return 'ALV';
    }

    public function format(): string
    {
        return 'EuroSpaced';
    }
}
