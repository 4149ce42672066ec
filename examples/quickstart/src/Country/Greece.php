<?php

namespace App\Country;

final class Greece extends Country
{
    public function code(): string
    {
        return 'GR';
    }

    public function name(): string
    {
        return 'Greece';
    }

    protected function standardRate(): float
    {
        return 24.0;
    }

    protected function reducedRate(): float
    {
        return 6.0;
    }

    public function taxName(): string
    {
        return 'FPA';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
