<?php

namespace App\Country;

final class Lithuania extends Country
{
    public function code(): string
    {
        return 'LT';
    }

    public function name(): string
    {
        return 'Lithuania';
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
        return 'PVM';
    }

    public function format(): string
    {
        return 'EuroSpaced';
    }
}
