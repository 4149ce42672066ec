<?php

use App\Billing\InvoiceRepository;
use App\Billing\MonthlyReport;
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;

return static function (ContainerConfigurator $container): void {
    $services = $container->services()->defaults()->autowire()->autoconfigure();

    $services->load('App\\', '../src/')
        ->exclude(['../src/{Kernel,Warm}.php', '../src/Jobs/', '../src/Billing/{Invoice,Line,Money}.php']);

    $services->set(InvoiceRepository::class)
        ->arg('$file', '%kernel.project_dir%/data/invoices.json');

    // A job fetches it by name (App\Jobs\Report).
    $services->set(MonthlyReport::class)->public();
};
