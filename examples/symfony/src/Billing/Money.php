<?php

namespace App\Billing;

/** An amount in cents, so that sums are exact. */
final class Money
{
    public function __construct(public readonly int $cents)
    {
    }

    public function plus(self $other): self
    {
        return new self($this->cents + $other->cents);
    }

    public function times(int $quantity): self
    {
        return new self($this->cents * $quantity);
    }

    /** The part that a tax of so many percent takes, rounded half up. */
    public function percent(int $rate): self
    {
        return new self(intdiv($this->cents * $rate + 50, 100));
    }

    public function __toString(): string
    {
        return number_format($this->cents / 100, 2) . ' EUR';
    }
}
