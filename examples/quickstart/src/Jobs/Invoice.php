<?php

namespace App\Jobs;

use App\Application;

/** Makes an invoice: `{"number": 42}` in, the text and what is to be paid out. */
final class Invoice
{
    /**
     * @param array{number?: int} $params
     *
     * @return array{number: int, customer: string, country: string, to_pay: string, text: string}
     */
    public function run(array $params): array
    {
        $number = $params['number'] ?? throw new \InvalidArgumentException('The job needs a number: {"number": 42}');
        $app = Application::get();
        $invoice = $app->biller->invoice($number);
        $money = $app->formats->of($invoice->customer->country);

        return [
            'number' => $number,
            'customer' => $invoice->customer->name,
            'country' => $invoice->customer->country->name(),
            'to_pay' => $money->amount($invoice->gross()),
            'text' => $app->templates->render('invoice', [
                'invoice' => $invoice,
                'customer' => $invoice->customer,
                'country' => $invoice->customer->country,
                'money' => $money,
            ]),
        ];
    }
}
