<?php

namespace App\Format;

final class Euro extends Format
{
    protected function currency(): string
    {
        return 'EUR';
    }

    protected function point(): string
    {
        return ',';
    }

    protected function thousands(): string
    {
        return '.';
    }
}
