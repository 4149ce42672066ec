<?php

namespace App\Country;

final class Slovenia extends Country
{
    public function code(): string
    {
        return 'SI';
    }

    public function name(): string
    {
        return 'Slovenia';
    }

    protected function standardRate(): float
    {
        return 22.0;
    }

    protected function reducedRate(): float
    {
        return 5.0;
    }

    public function taxName(): string
    {
        return 'DDV';
    }

    public function format(): string
    {
        return 'Euro';
    }
}
