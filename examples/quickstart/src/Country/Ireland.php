<?php

namespace App\Country;

final class Ireland extends Country
{
    public function code(): string
    {
        return 'IE';
    }

    public function name(): string
    {
        return 'Ireland';
    }

    protected function standardRate(): float
    {
        return 23.0;
    }

    protected function reducedRate(): float
    {
        return 0.0;
    }

    public function taxName(): string
    {
        return 'VAT';
    }

    public function format(): string
    {
        return 'EuroPoint';
    }
}
