<?php

namespace App\Format;

final class Krone extends Format
{
    protected function currency(): string
    {
        return 'DKK';
    }

    protected function point(): string
    {
        return ',';
    }

    protected function thousands(): string
    {
        return '.';
    }

    protected function perEuro(): float
    {
        return 7.46;
    }
}
