<?php

/*
 * Stands where Composer's autoloader would, so that the example runs on Debian's packages
 * alone. `composer install` writes its own over it, and the rest stays as it is.
 *
 * Like Composer's it may be required more than once: bin/console does so in a process
 * whose preload has done it before.
 */

require_once '/usr/share/php/Symfony/Component/Console/autoload.php';
require_once '/usr/share/php/Symfony/Bundle/FrameworkBundle/autoload.php';

if (!function_exists('app_autoload')) {
    function app_autoload(string $class): void
    {
        if (str_starts_with($class, 'App\\')) {
            $file = dirname(__DIR__) . '/src/' . strtr(substr($class, 4), '\\', '/') . '.php';
            if (is_file($file)) {
                require $file;
            }
        }
    }

    spl_autoload_register('app_autoload');
}
