<?php

namespace App\Jobs;

use App\Billing\MonthlyReport;
use App\Warm;

/**
 * The same report as `app:report`, as a job: parameters in, a result out, no console between.
 *
 * `preforkd run billing 'App\Jobs\Report' --params '{"month": "2026-02"}' --wait`
 */
final class Report
{
    /**
     * @param array{month?: string} $params one month, or all of them
     *
     * @return array<string, array{invoices: int, net: string, gross: string}>
     */
    public function run(array $params): array
    {
        $months = Warm::container()->get(MonthlyReport::class)->byMonth();
        if (isset($params['month'])) {
            $months = array_intersect_key($months, [$params['month'] => true])
                ?: throw new \InvalidArgumentException("Nothing was billed in {$params['month']}.");
        }

        return array_map(
            fn (array $sum) => ['invoices' => $sum['invoices'], 'net' => (string) $sum['net'], 'gross' => (string) $sum['gross']],
            $months,
        );
    }
}
