<?php

namespace App\Country;

final class Luxembourg extends Country
{
    public function code(): string
    {
        return 'LU';
    }

    public function name(): string
    {
        return 'Luxembourg';
    }

    protected function standardRate(): float
    {
        return 17.0;
    }

    protected function reducedRate(): float
    {
        return 3.0;
    }

    public function taxName(): string
    {
        return 'TVA';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
