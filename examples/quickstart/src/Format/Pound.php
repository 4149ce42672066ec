<?php

namespace App\Format;

final class Pound extends Format
{
    protected function currency(): string
    {
        return 'GBP';
    }

    protected function point(): string
    {
        return '.';
    }

    protected function thousands(): string
    {
        return ',';
    }

    protected function perEuro(): float
    {
        return 0.87;
    }
}
