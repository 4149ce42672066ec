<?php

namespace App;

use App\Billing\Biller;
use App\Billing\Catalogue;
use App\Billing\Customers;
use App\Country\Countries;
use App\Format\Formats;
use App\Template\Templates;

/** The application: its parts, put together once. */
final class Application
{
    private static ?self $booted = null;

    private function __construct(
        public readonly Biller $biller,
        public readonly Formats $formats,
        public readonly Templates $templates,
    ) {
    }

    public static function boot(string $root): void
    {
        $countries = Countries::load($root . '/src/Country');
        $customers = Customers::load($root . '/data/customers.json', $countries);
        $biller = new Biller(new Catalogue(), $customers);

        self::$booted = new self($biller, new Formats(), Templates::load($root . '/templates'));
    }

    public static function get(): self
    {
        return self::$booted ?? throw new \LogicException('bootstrap.php has not been loaded');
    }
}
