<?php

namespace App\Billing;

use App\Country\Countries;

/** The customers of data/customers.json. */
final class Customers
{
    /** @param list<Customer> $customers */
    private function __construct(private array $customers)
    {
    }

    public static function load(string $file, Countries $countries): self
    {
        $rows = json_decode(file_get_contents($file), true, 8, JSON_THROW_ON_ERROR);

        return new self(array_map(
            static fn (array $row) => new Customer($row['name'], $row['address'], $countries->get($row['country'])),
            $rows,
        ));
    }

    public function of(int $invoice): Customer
    {
        return $this->customers[$invoice % count($this->customers)];
    }
}
