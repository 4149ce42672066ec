<?php

namespace App\Country;

final class Denmark extends Country
{
    public function code(): string
    {
        return 'DK';
    }

    public function name(): string
    {
        return 'Denmark';
    }

    protected function standardRate(): float
    {
        return 25.0;
    }

    protected function reducedRate(): float
    {
        return 25.0;
    }

    public function taxName(): string
    {
        return 'moms';
    }

    public function format(): string
    {
        return 'Krone';
    }
}
