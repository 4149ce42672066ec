<?php

namespace App\Billing;

/** What there is to buy; prices in cents, without tax. */
final class Catalogue
{
    /** @var list<Product> */
    private array $products;

    public function __construct()
    {
        $this->products = [
            new Product('Hosting, small', 1900, Rate::Standard),
            new Product('Hosting, large', 7900, Rate::Standard),
            new Product('Backup, 100 GB', 450, Rate::Standard),
            new Product('Domain', 120, Rate::Standard),
            new Product('Mailbox', 200, Rate::Standard),
            new Product('Support, an hour', 9500, Rate::Standard),
            new Product('Handbook, printed', 3400, Rate::Reduced),
        ];
    }

    public function product(int $index): Product
    {
        return $this->products[$index % count($this->products)];
    }
}
