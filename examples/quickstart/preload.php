<?php

/*
 * What preforkd loads: the application as its bootstrap leaves it, and the classes that only a
 * run would ask for, so that no run has to.
 */

require __DIR__ . '/bootstrap.php';

foreach (glob(__DIR__ . '/src/{*,*/*}.php', GLOB_BRACE) as $file) {
    $class = substr($file, strlen(__DIR__ . '/src/'), -strlen('.php'));
    class_exists('App\\' . strtr($class, '/', '\\'));
}
unset($file, $class);
