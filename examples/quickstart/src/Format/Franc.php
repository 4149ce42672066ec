<?php

namespace App\Format;

final class Franc extends Format
{
    protected function currency(): string
    {
        return 'CHF';
    }

    protected function point(): string
    {
        return '.';
    }

    protected function thousands(): string
    {
        return "'";
    }

    protected function perEuro(): float
    {
        return 0.94;
    }
}
