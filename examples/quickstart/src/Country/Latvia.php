<?php

namespace App\Country;

final class Latvia extends Country
{
    public function code(): string
    {
        return 'LV';
    }

    public function name(): string
    {
        return 'Latvia';
    }

    protected function standardRate(): float
    {
        return 21.0;
    }

    protected function reducedRate(): float
    {
        return 5.0;
    }

    public function taxName(): string
    {
        return 'PVN';
    }

    public function format(): string
    {
        return 'EuroSpaced';
    }
}
