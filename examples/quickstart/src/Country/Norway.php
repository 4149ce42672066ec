<?php

namespace App\Country;

final class Norway extends Country
{
    public function code(): string
    {
        return 'NO';
    }

    public function name(): string
    {
        return 'Norway';
    }

    protected function standardRate(): float
    {
        return 25.0;
    }

    protected function reducedRate(): float
    {
        return 0.0;
    }

    public function taxName(): string
    {
        return 'MVA';
    }

    public function format(): string
    {
        return 'NorwegianKrone';
    }
}
