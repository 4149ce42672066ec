<?php

namespace App\Format;

use App\Country\Country;

/** The formats, each made once. */
final class Formats
{
    /** @var array<string, Format> */
    private array $formats = [];

    public function __construct()
    {
        foreach (glob(__DIR__ . '/*.php') as $file) {
            $class = __NAMESPACE__ . '\\' . basename($file, '.php');
            if (is_subclass_of($class, Format::class)) {
                $this->formats[basename($file, '.php')] = new $class();
            }
        }
    }

    public function of(Country $country): Format
    {
        return $this->formats[$country->format()];
    }
}
