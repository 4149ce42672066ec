<?php

namespace App\Country;

final class Austria extends Country
{
    public function code(): string
    {
        return 'AT';
    }

    public function name(): string
    {
        return 'Austria';
    }

    protected function standardRate(): float
    {
        return 20.0;
    }

    protected function reducedRate(): float
    {
        return 10.0;
    }

    public function taxName(): string
    {
        return 'USt';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
