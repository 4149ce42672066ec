<?php

namespace App\Country;

final class Croatia extends Country
{
    public function code(): string
    {
        return 'HR';
    }

    public function name(): string
    {
        return 'Croatia';
    }

    protected function standardRate(): float
    {
        return 25.0;
    }

    protected function reducedRate(): float
    {
        return 5.0;
    }

    public function taxName(): string
    {
        return 'PDV';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
