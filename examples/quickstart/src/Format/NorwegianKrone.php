<?php

namespace App\Format;

final class NorwegianKrone extends Format
{
    protected function currency(): string
    {
        return 'NOK';
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
        return 11.7;
    }
}
