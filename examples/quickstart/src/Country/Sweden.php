<?php

namespace App\Country;

final class Sweden extends Country
{
    public function code(): string
    {
        return 'SE';
    }

    public function name(): string
    {
        return 'Sweden';
    }

    protected function standardRate(): float
    {
        return 25.0;
    }

    protected function reducedRate(): float
    {
        return 6.0;
    }

    public function taxName(): string
    {
        return 'moms';
    }

    public function format(): string
    {
        return 'Krona';
    }
}
