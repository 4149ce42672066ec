<?php
/**
 * How a run of the PHP kit leaves fast without being told from one that PHP has ended: the code of an exit(), and what
 * the run has left behind.
 */

namespace Preforkd {

    /**
     * The code of an exit(), which PHP tells nobody. It is an int somewhere in executor_globals; where, differs from build to
     * build, and is found by leaving from a piece of code with codes that nothing else there is equal to.
     */
    final class ExitStatus
    {
        private const C = '
            extern char executor_globals[2048];
            int zend_eval_stringl_ex(const char *code, size_t length, void *result, const char *name, bool handle);';

        private function __construct(private readonly \FFI\CData $place)
        {
        }

        /** Null where there is no such thing (threads, a library of its own), or not one place alone. */
        public static function find(): ?self
        {
            try {
                $php = \FFI::cdef(self::C);
            } catch (\FFI\Exception) {
                return null;
            }
            $globals = $php->executor_globals;
            if (!\function_exists('exit') && \PHP_VERSION_ID >= 80400 || !self::readable($php, $globals)) {
                return null;
            }
            $places = null;
            // The last one leaves it as it was.
            foreach ([\random_int(1 << 20, 1 << 30), \random_int(1 << 20, 1 << 30), 0] as $code) {
                $text = "exit($code);";
                $php->zend_eval_stringl_ex($text, \strlen($text), null, 'preforkd', true);
                $found = \array_keys(\unpack('V*', \FFI::string($globals, 2048)), $code, true);
                $places = \array_intersect($places ?? $found, $found);
            }
            if (\count($places) !== 1) {
                return null;
            }
            $at = 4 * (\reset($places) - 1); // unpack counts from 1
            return new self($php->cast('int *', \FFI::addr($globals[$at])));
        }

        /** Whether as much as is looked at lies in memory that is there; the real size is not known. */
        private static function readable(\FFI $php, \FFI\CData $globals): bool
        {
            $from = $php->cast('uint64_t', \FFI::addr($globals[0]))->cdata;
            foreach (\file('/proc/self/maps') as $line) {
                [$begin, $end] = \array_map('hexdec', \explode('-', \strstr($line, ' ', true)));
                if ($begin <= $from && $from + 2048 <= $end) {
                    return true;
                }
            }
            return false;
        }

        public function now(): int
        {
            return $this->place[0];
        }
    }

    /** What a run has made and left behind: PHP's own end would destroy it, and walk through the preload for that. */
    final class Left
    {
        /** @var array<string, int> the preload's global variables; its objects' ids, else 0 */
        private static array $globals = [];
        private static int $resource = 0;
        private static bool $sessions = false;

        public static function afterPreload(): void
        {
            foreach ($GLOBALS as $name => $value) {
                self::$globals[$name] = \is_object($value) ? \spl_object_id($value) : 0;
            }
            self::$resource = \max([0, ...\array_keys(\get_resources())]);
            self::$sessions = \extension_loaded('session');
        }

        /** Global variables in PHP's order: objects, the latest first, but for those of several names; then the rest. */
        public static function destroy(): void
        {
            $objects = $others = [];
            foreach ($GLOBALS as $name => $value) {
                $id = \is_object($value) ? \spl_object_id($value) : 0;
                if ((self::$globals[$name] ?? -1) !== $id) {
                    $id === 0 ? $others[$name] = 0 : $objects[$name] = $id;
                }
            }
            $value = null; // or else it would keep the last one
            $shared = \array_filter(\array_count_values($objects), fn ($names) => $names > 1);
            $last = \array_filter($objects, fn ($id) => isset($shared[$id]));
            \asort($last);
            $order = \array_reverse(\array_diff_key($objects, $last), true) + $last + \array_reverse($others, true);
            foreach (\array_keys($order) as $name) {
                unset($GLOBALS[$name]);
            }
        }

        /** What a stream still holds goes out, and what is piped to is waited for; sessions are written. */
        public static function close(): void
        {
            $resources = \get_resources();
            if (\array_key_last($resources) > self::$resource) {
                foreach (\array_reverse($resources, true) as $id => $resource) {
                    if ($id > self::$resource && \get_resource_type($resource) === 'stream') {
                        \fclose($resource);
                    }
                }
            }
            if (self::$sessions && \session_status() === \PHP_SESSION_ACTIVE) {
                \session_write_close();
            }
        }
    }
}

