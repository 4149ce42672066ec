<?php

namespace App\Country;

final class Czechia extends Country
{
    public function code(): string
    {
        return 'CZ';
    }

    public function name(): string
    {
        return 'Czechia';
    }

    protected function standardRate(): float
    {
        return 21.0;
    }

    protected function reducedRate(): float
    {
        return 0.0;
    }

    public function taxName(): string
    {
        return 'DPH';
    }

    public function format(): string
    {
        return 'Koruna';
    }
}
