<?php

namespace App\Billing;

/** Which of a country's two tax rates applies. */
enum Rate
{
    case Standard;
    case Reduced;
}
