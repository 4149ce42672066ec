<?php

namespace App\Country;

final class Estonia extends Country
{
    public function code(): string
    {
        return 'EE';
    }

    public function name(): string
    {
        return 'Estonia';
    }

    protected function standardRate(): float
    {
        return 22.0;
    }

    protected function reducedRate(): float
    {
        return 9.0;
    }

    public function taxName(): string
    {
        return 'km';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
