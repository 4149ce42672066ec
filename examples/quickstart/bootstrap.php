<?php

/*
 * Everything that is the same for every run: the autoloader, the classes, the customers, the
 * compiled templates. preforkd does it once (preload.php) and forks each run from the result; cold,
 * each run does all of it again.
 */

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'App\\')) {
        $file = __DIR__ . '/src/' . strtr(substr($class, 4), '\\', '/') . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
});

App\Application::boot(__DIR__);
