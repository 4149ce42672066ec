<?php

namespace App\Country;

final class Italy extends Country
{
    public function code(): string
    {
        return 'IT';
    }

    public function name(): string
    {
        return 'Italy';
    }

    protected function standardRate(): float
    {
        return 22.0;
    }

    protected function reducedRate(): float
    {
        return 4.0;
    }

    public function taxName(): string
    {
        return 'IVA';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
