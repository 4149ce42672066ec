<?php

namespace App\Format;

final class Lev extends Format
{
    protected function currency(): string
    {
        return 'BGN';
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
        return 1.96;
    }
}
