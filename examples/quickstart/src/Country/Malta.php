<?php

namespace App\Country;

final class Malta extends Country
{
    public function code(): string
    {
        return 'MT';
    }

    public function name(): string
    {
        return 'Malta';
    }

    protected function standardRate(): float
    {
        return 18.0;
    }

    protected function reducedRate(): float
    {
        return 5.0;
    }

    public function taxName(): string
    {
        return 'VAT';
    }

    public function format(): string
    {
        return 'EuroPoint';
    }
}
