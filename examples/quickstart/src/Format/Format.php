<?php

namespace App\Format;

/** How a country writes an amount of money. Amounts are kept in euro cents everywhere. */
abstract class Format
{
    abstract protected function currency(): string;

    abstract protected function point(): string;

    abstract protected function thousands(): string;

    /** What a euro is worth; fixed, so that results can be compared */
    protected function perEuro(): float
    {
        return 1.0;
    }

    protected function decimals(): int
    {
        return 2;
    }

    public function amount(int $cents): string
    {
        $value = $cents / 100 * $this->perEuro();

        return number_format($value, $this->decimals(), $this->point(), $this->thousands()) . ' ' . $this->currency();
    }
}
