<?php

namespace App\Format;

final class Krona extends Format
{
    protected function currency(): string
    {
        return 'SEK';
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
        return 11.0;
    }
}
