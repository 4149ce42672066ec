<?php

namespace App\Country;

final class Spain extends Country
{
    public function code(): string
    {
        return 'ES';
    }

    public function name(): string
    {
        return 'Spain';
    }

    protected function standardRate(): float
    {
        return 21.0;
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
