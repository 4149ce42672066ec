<?php

namespace App\Country;

final class Switzerland extends Country
{
    public function code(): string
    {
        return 'CH';
    }

    public function name(): string
    {
        return 'Switzerland';
    }

    protected function standardRate(): float
    {
        return 8.1;
    }

    protected function reducedRate(): float
    {
        return 2.6;
    }

    public function taxName(): string
    {
        return 'MWST';
    }

    public function format(): string
    {
        return 'Franc';
    }
}
