<?php

namespace App\Country;

/** All countries that are billed to: each class in this folder that is one. */
final class Countries
{
    /** @param array<string, Country> $countries by code */
    private function __construct(private array $countries)
    {
    }

    public static function load(string $folder): self
    {
        $countries = [];
        foreach (glob($folder . '/*.php') as $file) {
            $class = __NAMESPACE__ . '\\' . basename($file, '.php');
            if (is_subclass_of($class, Country::class)) {
                $country = new $class();
                $countries[$country->code()] = $country;
            }
        }

        return new self($countries);
    }

    public function get(string $code): Country
    {
        return $this->countries[$code] ?? throw new \DomainException("Nobody is billed in $code yet.");
    }
}
