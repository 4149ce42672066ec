<?php

namespace App\Format;

final class Koruna extends Format
{
    protected function currency(): string
    {
        return 'CZK';
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
        return 24.6;
    }
}
