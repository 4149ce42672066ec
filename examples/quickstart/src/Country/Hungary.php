<?php

namespace App\Country;

final class Hungary extends Country
{
    public function code(): string
    {
        return 'HU';
    }

    public function name(): string
    {
        return 'Hungary';
    }

    protected function standardRate(): float
    {
        return 27.0;
    }

    protected function reducedRate(): float
    {
        return 5.0;
    }

    public function taxName(): string
    {
        return 'ÁFA';
    }

    public function format(): string
    {
        return 'Forint';
    }
}
