<?php

namespace App\Country;

final class Netherlands extends Country
{
    public function code(): string
    {
        return 'NL';
    }

    public function name(): string
    {
        return 'Netherlands';
    }

    protected function standardRate(): float
    {
        return 21.0;
    }

    protected function reducedRate(): float
    {
        return 9.0;
    }

    public function taxName(): string
    {
        return 'btw';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
