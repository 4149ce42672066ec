<?php

namespace App\Format;

final class Forint extends Format
{
    protected function currency(): string
    {
        return 'HUF';
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
        return 389.0;
    }

    protected function decimals(): int
    {
        return 0;
    }
}
