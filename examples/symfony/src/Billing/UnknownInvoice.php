<?php

namespace App\Billing;

final class UnknownInvoice extends \RuntimeException
{
    public function __construct(int $number)
    {
        parent::__construct("There is no invoice $number; `app:report` lists those that there are.");
    }
}
