<?php
/**
 * Which code a run may be of, and where it is.
 */

namespace Preforkd {

    /** What may be run: own code, which lies under cwd unless the process file names it in `entries`. */
    final class Entry
    {
        /** @var array<class-string, true> preloaded classes that have been looked at in the zygote, and can be run as they are */
        private static array $jobs = [];

        /** Reflection in a child costs it pages; so what the preload has brought is looked at once. */
        public static function remember(): void
        {
            foreach (\get_declared_classes() as $name) {
                if (\method_exists($name, 'run') && !(new \ReflectionClass($name))->isInternal()) {
                    try {
                        $plain = !(new \ReflectionMethod($name, 'run'))->isStatic();
                        self::method($name, 'run');
                    } catch (Refusal) {
                        continue;
                    }
                    if ($plain) {
                        self::$jobs[$name] = true;
                    }
                }
            }
        }

        /** The file of a script, or a function of the params. */
        public static function resolve(string $entry): string|\Closure
        {
            if (\str_contains($entry, '/') || \str_ends_with($entry, '.php')) {
                return self::script($entry);
            }
            if (isset(self::$jobs[$entry])) {
                return static fn ($params) => (new $entry())->run($params);
            }
            $name = \ltrim($entry, '\\');
            if (\str_contains($name, '::')) {
                return self::method(...\explode('::', $name, 2));
            }
            // An autoloader may go a long way for a name that is a function's.
            if (\class_exists($name, false) || !\function_exists($name) && \class_exists($name)) {
                return self::method($name, 'run');
            }
            if (\function_exists($name)) {
                $function = new \ReflectionFunction($name);
                self::admit($function, 'function', $function->name);
                return $function->getClosure();
            }
            if (\is_file(Kit::$root . '/' . $entry)) {
                return self::script($entry);
            }
            throw new Refusal('not_found', "no class, function or file \"$entry\" after the preload, in " . Kit::$root
                . Text::nearest($entry, self::known()));
        }

        private static function known(): array
        {
            $own = \array_filter(\get_declared_classes(), fn ($class) => !(new \ReflectionClass($class))->isInternal());
            $functions = \array_map(fn ($name) => (new \ReflectionFunction($name))->getName(), \get_defined_functions()['user']);
            return \array_filter([...$own, ...$functions], fn ($name) => !\str_starts_with(\strtolower($name), 'preforkd'));
        }

        private static function method(string $class, string $method): \Closure
        {
            if (!\class_exists($class)) {
                throw new Refusal('not_found', "no class \"$class\" after the preload, and no autoloader knows it"
                    . Text::nearest($class, self::known()));
            }
            $class = new \ReflectionClass($class);
            $name = $class->getName();
            self::admit($class, 'class', $name);
            if (!$class->hasMethod($method)) {
                $methods = \array_map(fn ($m) => $m->getName(), $class->getMethods(\ReflectionMethod::IS_PUBLIC));
                throw new Refusal('not_found', "class $name has no method \"$method\"" . Text::nearest($method, $methods));
            }
            $method = $class->getMethod($method);
            self::admit($method, 'method', "$name::{$method->name}");
            if (!$method->isPublic() || $method->isAbstract() || $method->isConstructor() || $method->isDestructor()) {
                throw new Refusal('refused', "$name::{$method->name} is not a public method that can be called");
            }
            if ($method->isStatic()) {
                return $method->getClosure();
            }
            $needed = $class->getConstructor()?->getNumberOfRequiredParameters() ?? 0;
            if (!$class->isInstantiable() || $needed > 0) {
                throw new Refusal('refused', "class $name cannot be made by `new $name` alone"
                    . ($needed > 0 ? ": its constructor needs $needed arguments" : ''));
            }
            return static fn ($params) => (new $name())->{$method->name}($params);
        }

        private static function admit(\ReflectionFunctionAbstract|\ReflectionClass $what, string $kind, string $name): void
        {
            $file = $what->getFileName();
            if ($what->isInternal() || $file === Kit::$ownFile) {
                throw new Refusal('refused', "$kind $name is not the application's own: it is built in");
            }
            if (Kit::$entries === null && !\str_starts_with($file, Kit::$root . '/')) {
                throw new Refusal('refused', "$kind $name is in $file, outside of " . Kit::$root
                    . '; name it in the pool\'s "entries" to allow it');
            }
        }

        private static function script(string $entry): string
        {
            // Also where it would lead back in: the master matched the text against `entries`.
            if (\in_array('..', \explode('/', $entry), true)) {
                throw new Refusal('refused', "\"$entry\" has a \"..\" in it");
            }
            $path = $entry[0] === '/' ? $entry : Kit::$root . '/' . $entry;
            $file = \realpath($path);
            $target = $file === false ? $path : $file;
            if (!\str_starts_with($target, Kit::$root . '/')) {
                throw new Refusal('refused', "\"$entry\" leads to $target, outside of " . Kit::$root);
            }
            if ($file === false || !\is_file($file)) {
                $names = \is_dir(\dirname($path)) ? \scandir(\dirname($path)) : [];
                throw new Refusal('not_found', "no file \"$entry\" in " . Kit::$root . Text::nearest(\basename($path), $names));
            }
            if (!\is_readable($file)) {
                throw new Refusal('error', "\"$entry\" cannot be read by this pool's user");
            }
            return $file;
        }
    }
}
