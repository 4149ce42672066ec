<?php

namespace App\Country;

final class UnitedKingdom extends Country
{
    public function code(): string
    {
        return 'GB';
    }

    public function name(): string
    {
        return 'United Kingdom';
    }

    protected function standardRate(): float
    {
        return 20.0;
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
        return 'Pound';
    }
}
