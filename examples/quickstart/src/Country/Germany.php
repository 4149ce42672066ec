<?php

namespace App\Country;

final class Germany extends Country
{
    public function code(): string
    {
        return 'DE';
    }

    public function name(): string
    {
        return 'Germany';
    }

    protected function standardRate(): float
    {
        return 19.0;
    }

    protected function reducedRate(): float
    {
        return 7.0;
    }

    public function taxName(): string
    {
        return 'USt';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
