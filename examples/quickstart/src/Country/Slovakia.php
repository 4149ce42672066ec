<?php

namespace App\Country;

final class Slovakia extends Country
{
    public function code(): string
    {
        return 'SK';
    }

    public function name(): string
    {
        return 'Slovakia';
    }

    protected function standardRate(): float
    {
        return 23.0;
    }

    protected function reducedRate(): float
    {
        return 5.0;
    }

    public function taxName(): string
    {
        return 'DPH';
    }

    public function format(): string
    {
        return 'EuroSpaced';
    }
}
