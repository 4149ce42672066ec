<?php

namespace App\Country;

final class Portugal extends Country
{
    public function code(): string
    {
        return 'PT';
    }

    public function name(): string
    {
        return 'Portugal';
    }

    protected function standardRate(): float
    {
        return 23.0;
    }

    protected function reducedRate(): float
    {
        return 6.0;
    }

    public function taxName(): string
    {
        return 'IVA';
    }

    public function format(): string
    {
        return 'EuroSpaced';
    }
}
