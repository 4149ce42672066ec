<?php

namespace App\Country;

final class Poland extends Country
{
    public function code(): string
    {
        return 'PL';
    }

    public function name(): string
    {
        return 'Poland';
    }

    protected function standardRate(): float
    {
        return 23.0;
    }

    protected function reducedRate(): float
    {
        return 5.0;
    }

    public function taxName(): string
    {
        return 'VAT';
    }

    public function format(): string
    {
        return 'Zloty';
    }
}
