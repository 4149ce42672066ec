<?php

namespace App\Format;

final class Zloty extends Format
{
    protected function currency(): string
    {
        return 'PLN';
    }

    protected function point(): string
    {
        return ',';
    }

    protected function thousands(): string
    {
        return ' ';
    }

    protected function perEuro(): float
    {
        return 4.25;
    }
}
