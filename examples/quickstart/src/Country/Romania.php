<?php

namespace App\Country;

final class Romania extends Country
{
    public function code(): string
    {
        return 'RO';
    }

    public function name(): string
    {
        return 'Romania';
    }

    protected function standardRate(): float
    {
        return 19.0;
    }

    protected function reducedRate(): float
    {
        return 5.0;
    }

    public function taxName(): string
    {
        return 'TVA';
    }

    public function format(): string
    {
        return 'Leu';
    }
}
