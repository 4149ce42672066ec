<?php

namespace App\Country;

final class Bulgaria extends Country
{
    public function code(): string
    {
        return 'BG';
    }

    public function name(): string
    {
        return 'Bulgaria';
    }

    protected function standardRate(): float
    {
        return 20.0;
    }

    protected function reducedRate(): float
    {
        return 9.0;
    }

    public function taxName(): string
    {
        return 'DDS';
    }

    public function format(): string
    {
        return 'Lev';
    }
}
