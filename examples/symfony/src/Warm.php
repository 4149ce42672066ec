<?php

namespace App;

use Symfony\Component\DependencyInjection\ContainerInterface;

/** The kernel that bootstrap.php has booted, for jobs, which nobody hands one to. */
final class Warm
{
    private static ?Kernel $kernel = null;

    public static function boot(string $environment): Kernel
    {
        self::$kernel = new Kernel($environment, false);
        self::$kernel->boot();

        return self::$kernel;
    }

    public static function container(): ContainerInterface
    {
        return (self::$kernel ?? self::boot($_SERVER['APP_ENV'] ?? 'prod'))->getContainer();
    }
}
