<?php

namespace App\Country;

final class Cyprus extends Country
{
    public function code(): string
    {
        return 'CY';
    }

    public function name(): string
    {
        return 'Cyprus';
    }

    protected function standardRate(): float
    {
        return 19.0;
    }

    protected function reducedRate(): float
    {
        return 3.0;
    }

    public function taxName(): string
    {
        return 'FPA';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
