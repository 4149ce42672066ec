<?php

namespace App\Country;

use App\Billing\Rate;

/** What an invoice must know of a customer's country. Rates are for show; they are no tax advice. */
abstract class Country
{
    /** ISO 3166 code of two letters */
    abstract public function code(): string;

    abstract public function name(): string;

    /** Percent, on most things */
    abstract protected function standardRate(): float;

    /** Percent, on books */
    abstract protected function reducedRate(): float;

    /** Name of a class in App\Format */
    abstract public function format(): string;

    /** What the tax is called there */
    abstract public function taxName(): string;

    public function tax(Rate $rate): float
    {
        return match ($rate) {
            Rate::Standard => $this->standardRate(),
            Rate::Reduced => $this->reducedRate(),
        };
    }
}
