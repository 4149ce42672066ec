<?php

namespace App\Country;

final class Belgium extends Country
{
    public function code(): string
    {
        return 'BE';
    }

    public function name(): string
    {
        return 'Belgium';
    }

    protected function standardRate(): float
    {
        return 21.0;
    }

    protected function reducedRate(): float
    {
        return 6.0;
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
