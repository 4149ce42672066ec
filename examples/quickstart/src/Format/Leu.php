<?php

namespace App\Format;

final class Leu extends Format
{
    protected function currency(): string
    {
        return 'RON';
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
        return 5.07;
    }
}
