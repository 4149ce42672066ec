<?php
/**
 * preforkd's PHP kit: loads an application once, then forks a child of it for every run.
 *
 * The master starts it as `php /proc/self/fd/5`; `proto/ZYGOTE.md` is what the two say to each other.
 * Read from the bottom: the last block is the whole life of a zygote and of its children. Above it stand
 * the functions for your code and `Kit` (what happens in which order). The daemon puts the other parts before it, in
 * one file: `message.php` (messages, JSON that always arrives), `ffi.php` and `pcntl.php` (two ways to fork and pass
 * descriptors), `leaving.php` (how a run leaves), `entry.php` (what may be run).
 *
 * PHP 8.1 or later, Linux, 64 bit; the extension FFI, or else pcntl, sockets and posix.
 */

namespace Preforkd {

    /** What happens in which order. */
    final class Kit
    {
        public static string $file, $ownFile, $root;
        public static ?string $preload = null;
        public static ?array $entries = null;
        /** @var string|\Closure|null what the child is to run */
        public static string|\Closure|null $run = null;
        public static mixed $params = [];
        public static ?string $id = null;

        private static ByFfi|ByPcntl $way;
        private static string $pool = '', $generation = '', $tag = "\0\0\0\0\0\0\0\0\0\0\0\0";
        private static bool $fast = true, $huge = true;
        private static ?int $cpuSeconds = null;
        private static string $maxTime = '0';
        /** @var array<callable> */
        private static array $afterFork = [];
        /** @var array<string, int> pids of the latest forks by tag */
        private static array $forked = [];
        /** preload, serve (the zygote), prepare, run (its child); gone once the last word is said */
        private static string $phase = 'preload';
        private static int $pid = 0;
        /** What the fork before this child's took, in µs: STARTED's payload. A look at the clock would copy pages of the child. */
        private static string $forking = '';
        private static ?ExitStatus $exitStatus = null;
        /** @var ?int the exit code where it is known for sure */
        private static ?int $code = null;
        private static bool $errorSent = false;
        private static ?string $reserve = null;

        /** False where this file was not started by a master. */
        public static function start(): bool
        {
            $config = \getenv('PREFORKD_ZYGOTE');
            if ($config === false) {
                return false;
            }
            \putenv('PREFORKD_ZYGOTE');
            unset($_ENV['PREFORKD_ZYGOTE'], $_SERVER['PREFORKD_ZYGOTE']);
            $config = \json_decode($config, true, 64, \JSON_THROW_ON_ERROR);
            self::$ownFile = __FILE__;
            self::$file = (string) \readlink('/proc/self/fd/' . KIT);
            self::$pid = \getmypid();
            self::$pool = $config['pool'];
            self::$generation = (string) $config['generation'];
            self::$preload = $config['preload'] ?? null;
            self::$root = \rtrim(\realpath($config['cwd']) ?: $config['cwd'], '/');
            self::$entries = $config['entries'] ?? null;
            self::$fast = $config['shutdown'] !== 'full';
            self::$huge = $config['huge_pages'] ?? true;
            self::$cpuSeconds = isset($config['cpu_time']) ? (int) $config['cpu_time'] : null;
            self::title(self::$pool . ' zygote #' . self::$generation . ' loading');
            self::$way = self::way();
            if ($config['protocol'] !== 1) {
                $message = 'this kit speaks protocol 1, the master ' . $config['protocol'];
                self::preloadFailed(Text::error('ProtocolMismatch', $message, ''));
            }
            // Traces go to logs, and arguments hold what must not be there; php.ini-production has it so too.
            \ini_set('zend.exception_ignore_args', '1');
            \register_shutdown_function([self::class, 'onShutdown']);
            self::$reserve = \str_repeat("\0", 65536);
            self::scriptGlobals([self::$preload ?? '']);
            return true;
        }

        private static function way(): ByFfi|ByPcntl
        {
            $missing = [];
            if (\getenv('PREFORKD_PHP_VIA') !== 'pcntl') {
                try {
                    if (\PHP_INT_SIZE === 8 && \class_exists(\FFI::class, false)) {
                        return new ByFfi();
                    }
                } catch (\FFI\Exception $exception) {
                    $missing[] = 'FFI does not work: ' . $exception->getMessage();
                }
            }
            $lacking = \array_filter(['pcntl', 'sockets', 'posix'], fn ($name) => !\extension_loaded($name));
            if ($lacking === []) {
                return new ByPcntl();
            }
            $missing[] = 'neither FFI nor ' . \implode(' and ', $lacking) . ' loaded';
            // There is no channel to say it on without them but the stream of a raw descriptor.
            $error = Text::error('MissingExtension', 'PHP ' . \PHP_VERSION . ' cannot fork warm: ' . \implode('; ', $missing)
                . '. Install the extension FFI (Debian: php-common has it, enable it with phpenmod ffi; Docker\'s image: '
                . 'apt-get install libffi-dev && docker-php-ext-install ffi), or pcntl, sockets and posix '
                . '(Docker\'s image: docker-php-ext-install pcntl sockets).', '');
            \fwrite(\fopen('php://fd/' . REPLIES, 'w'), \pack('vv', PRELOAD_FAILED, 0) . self::$tag . $error);
            exit(1);
        }

        /** After the preload: what it left behind that a fork must not repeat, then READY. */
        public static function ready(): void
        {
            // Else every child would print again what the preload left in them.
            self::flush();
            if (\function_exists('pcntl_signal_get_handler')) {
                for ($signal = 1; $signal < 32; $signal++) {
                    if (\pcntl_signal_get_handler($signal) !== \SIG_DFL) {
                        // PHP on the command line ignores SIGPIPE from its start.
                        \pcntl_signal($signal, $signal === \SIGPIPE ? \SIG_IGN : \SIG_DFL);
                    }
                }
                \pcntl_sigprocmask(\SIG_SETMASK, []);
            }
            // Its timer would run on in the zygote and not in the children; they set it again.
            self::$maxTime = \ini_get('max_execution_time');
            \set_time_limit(0);
            \chdir(self::$root . '/');
            \error_clear_last();
            \gc_collect_cycles();
            \set_error_handler(static fn () => true);
            self::$way->settle();
            self::$exitStatus = self::$way->exitStatus();
            Left::afterPreload();
            Entry::remember();
            if (self::$huge) {
                self::$way->collapse();
            }
            // PHP remembers where a link leads: /proc/self would lead to the zygote for ever.
            foreach (\realpath_cache_get() as $path => ['realpath' => $target]) {
                if (\str_starts_with($target, '/proc/')) {
                    \clearstatcache(true, $path);
                }
            }
            self::$phase = 'serve';
            self::title(self::$pool . ' zygote #' . self::$generation);
            $warnings = self::$way->warnings();
            if (($threads = self::threads()) > 1) {
                $warnings[] = "the preload left $threads threads running; nothing can be forked while there is more than one";
            }
            self::send(READY, Text::json([
                'runtime' => 'PHP ' . \PHP_VERSION,
                'via' => self::$way->name(),
                'warnings' => $warnings,
            ]));
        }

        public static function preloadFailed(string $error): never
        {
            self::$phase = 'gone';
            self::send(PRELOAD_FAILED, $error);
            self::flush();
            self::$way->leave(1);
        }

        /** Obeys orders. Returns in a child alone, with its run in `$run`. */
        public static function serve(): void
        {
            while (($order = self::$way->nextOrder()) !== null) {
                if ($order->type === FORK) {
                    self::$tag = $order->tag;
                    if (($threads = self::threads()) > 1) {
                        self::$way->discard($order);
                        self::forkFailed(null, 'pool ' . self::$pool . ": the zygote has $threads threads, and a fork would "
                            . 'copy only one of them; start threads after the fork (preforkd_after_fork) or in the run');
                        continue;
                    }
                    $before = \hrtime(true);
                    $pid = self::$way->fork($order);
                    if ($pid === 0) {
                        self::child($order);
                        return;
                    }
                    if ($pid < 0) {
                        self::forkFailed(-$pid, 'pool ' . self::$pool . ': fork failed: ' . self::reason(-$pid));
                        continue;
                    }
                    self::$forking = \pack('V', \intdiv(\hrtime(true) - $before, 1000));
                    unset(self::$forked[$order->tag]);
                    self::$forked[$order->tag] = $pid;
                    if (\count(self::$forked) > 512) {
                        self::$forked = \array_slice(self::$forked, -256, null, true);
                    }
                } elseif ($order->type === WHOIS) {
                    self::$tag = $order->tag;
                    self::send(FORKED, Text::json(['pid' => self::$forked[$order->tag] ?? 0]));
                } elseif ($order->type === RETIRE) {
                    break;
                }
            }
            self::$way->leave(0);
        }

        /** Links of /proc/self/task are `.`, `..` and a directory a thread: one stat tells. */
        private static function threads(): int
        {
            \clearstatcache();
            return (\stat('/proc/self/task')['nlink'] ?? 3) - 2;
        }

        private static function forkFailed(?int $errno, string $message): void
        {
            self::send(FORK_FAILED, Text::json(['message' => $message, 'errno' => $errno]));
        }

        private static function reason(int $errno): string
        {
            return match ($errno) {
                11 => 'too many processes (limit of the user, or pids.max of the cgroup); raise it or lower max_running',
                12 => 'out of memory',
                74 => 'the descriptors of the order do not match its flags',
                default => "errno $errno",
            };
        }

        private static function child(Message $message): void
        {
            self::$phase = 'prepare';
            self::$pid = \getmypid();
            self::$way->enterChild(self::$cpuSeconds);
            if ($message->flags & CHANNEL) {
                $channel = $message->fds[0];
                if ($message->flags & STDIO) {
                    self::$way->stdio($message->fds, 1);
                }
                self::title(self::$pool . ' idle');
                self::rehearse();
                self::$way->beforeIdle();
                $message = self::$way->receive($channel);
                if ($message === null) {
                    // Maybe a thousand of us at once, and somebody waits for the next master to start.
                    \usleep(self::$pid % 256 * 1000);
                    self::$way->leave(0);
                }
                self::$tag = $message->tag;
                self::$way->close($channel);
            }
            try {
                self::prepare($message);
            } catch (Refusal $refusal) {
                self::refuse($refusal->kind, $refusal->getMessage());
            } catch (\Throwable $thrown) {
                self::refuse('error', \get_class($thrown) . ' before the start: ' . $thrown->getMessage()
                    . ' in ' . $thrown->getFile() . ':' . $thrown->getLine());
            }
            if (!self::send(STARTED, self::$forking)) {
                self::$way->leave(0); // nobody waits for it any more
            }
            self::$phase = 'run';
        }

        /** An idle child takes the page faults of what it will have to do now, while nobody waits for it. */
        private static function rehearse(): void
        {
            \json_decode('{"id":"","entry":"","params":[1,2.5]}', true, 4096);
            self::reseed();
            \class_exists('preforkd_run_id', false);
            (new \ReflectionFunction('preforkd_run_id'))->getClosure();
            self::$way->rehearse();
        }

        private static function reseed(): void
        {
            \mt_srand(\random_int(0, 0xffffffff));
            if (\function_exists('gmp_random_seed')) {
                \gmp_random_seed(\random_int(0, \PHP_INT_MAX));
            }
        }

        private static function prepare(Message $message): void
        {
            if (\count($message->fds) !== $message->promised()) {
                throw new Refusal('error', 'the descriptors of the request do not match its flags');
            }
            if ($message->flags & STDIO) {
                self::$way->stdio($message->fds, 0);
            }
            if ($message->flags & MEMFD) {
                $message->payload = self::$way->contents(\end($message->fds));
            }
            $request = \json_decode($message->payload, true, 4096, \JSON_THROW_ON_ERROR);
            \restore_error_handler();
            foreach ($request['env'] ?? [] as $name => $value) {
                \putenv("$name=$value");
                $_ENV[$name] = $_SERVER[$name] = $value;
            }
            self::reseed();
            if (self::$maxTime > 0) {
                \set_time_limit((int) self::$maxTime);
            }
            $entry = $request['entry'];
            $args = $request['args'] ?? [];
            self::$id = $request['id'] ?? null;
            self::$params = $request['params'] ?? $args;
            self::title(self::$pool . ' ' . $entry);
            self::$way->mark(\bin2hex(\strrev(\substr(self::$tag, 4))));
            foreach (self::$afterFork as $hook) {
                $hook();
            }
            self::$run = Entry::resolve($entry);
            if (\is_string(self::$run) || $args !== []) {
                self::scriptGlobals([$entry, ...$args]);
            }
        }

        private static function refuse(string $kind, string $message): never
        {
            self::$phase = 'gone';
            self::send(REFUSED, Text::json(['code' => $kind, 'message' => Text::cut($message)]));
            self::$way->leave(0);
        }

        /** What a script finds as if PHP had been started on it. */
        private static function scriptGlobals(array $argv): void
        {
            $GLOBALS['argv'] = $_SERVER['argv'] = $argv;
            $GLOBALS['argc'] = $_SERVER['argc'] = \count($argv);
            foreach (['PHP_SELF', 'SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_TRANSLATED'] as $key) {
                $_SERVER[$key] = $argv[0];
            }
            $_SERVER['REQUEST_TIME_FLOAT'] = \microtime(true);
            $_SERVER['REQUEST_TIME'] = (int) $_SERVER['REQUEST_TIME_FLOAT'];
        }

        /** The end of a run that came back. A script that returns nothing returns 1 to its `require`. */
        public static function returned(mixed $result, bool $ofScript): void
        {
            if ($ofScript && $result instanceof \Closure && \class_exists('Symfony\Component\Runtime\SymfonyRuntime')) {
                self::symfonyRuntime($result);
            }
            self::$code = 0;
            if ($result === null || $ofScript && $result === 1) {
                return;
            }
            try {
                // As JSON it would be an empty object, and a script whose closure nobody called a success.
                $json = $result instanceof \Closure ? throw new \JsonException('nobody calls it') : Text::json($result);
                if (\strlen($json) > LARGEST) {
                    self::sendError(Text::error('ResultTooLarge', 'the result has ' . \strlen($json)
                        . ' bytes as JSON; at most ' . LARGEST . ' are kept', ''));
                } else {
                    self::send(RESULT, $json);
                }
            } catch (\Throwable $thrown) {
                self::sendError(Text::error('ResultNotJson', 'the result (' . \get_debug_type($result)
                    . ') cannot be said in JSON: ' . $thrown->getMessage(), ''));
            }
        }

        /**
         * A script on Symfony's Runtime component returns its application to vendor/autoload_runtime.php, which does
         * nothing where the preload has loaded vendor/autoload.php. So what it would have done is done here.
         */
        private static function symfonyRuntime(\Closure $application): never
        {
            $class = $_SERVER['APP_RUNTIME'] ?? 'Symfony\Component\Runtime\SymfonyRuntime';
            $runtime = new $class(($_SERVER['APP_RUNTIME_OPTIONS'] ?? []) + ['project_dir' => self::$root]);
            [$application, $arguments] = $runtime->getResolver($application)->resolve();
            self::$code = $runtime->getRunner($application(...$arguments))->run();
            exit(self::$code);
        }

        /** The end of a run that threw. Where it comes back, the caller throws on, so that PHP logs the exception. */
        public static function threw(\Throwable $thrown): void
        {
            self::sendError(Text::thrown($thrown));
            $handler = \set_exception_handler(null);
            if ($handler !== null) {
                // It may leave with a code of its own; PHP would take 0 or 255 where it comes back, by version.
                $handler($thrown);
                self::$code = 255;
                exit(255);
            }
            self::$code = 255;
        }

        private static function sendError(string $error): void
        {
            self::$errorSent = true;
            self::send(ERROR, $error);
        }

        /** The first shutdown function of all; PHP calls it also after a fatal error and after exit(). */
        public static function onShutdown(): void
        {
            if (self::$code === null && \in_array(self::$phase, ['preload', 'prepare', 'run'], true)) {
                self::endedEarly();
            }
            if (self::$code === null && self::$phase === 'run') {
                // After an exit(n) of the app. Where n stays PHP's secret it takes its own, full way.
                self::$code = self::$exitStatus?->now();
            }
            if (self::$code !== null && self::$fast) {
                \register_shutdown_function([self::class, 'leaveLast'], 3);
            }
        }

        /** Something ended before its time: by a fatal error, or by exit(). */
        private static function endedEarly(): void
        {
            self::$reserve = null;
            $last = \error_get_last();
            $fatal = \E_ERROR | \E_PARSE | \E_CORE_ERROR | \E_COMPILE_ERROR | \E_USER_ERROR | \E_RECOVERABLE_ERROR;
            $last = $last !== null && ($last['type'] & $fatal) ? $last : null;
            $where = $last === null ? '' : $last['file'] . ':' . $last['line'];
            if (self::$phase === 'preload') {
                self::preloadFailed($last === null
                    ? Text::error('PreloadExited', 'the preload called exit(); it must come back for the zygote to fork', '')
                    : Text::error('FatalError', $last['message'], $where));
            }
            if (self::$phase === 'prepare') {
                self::refuse('error', $last === null ? 'exit() was called before the start (by an autoloader or a '
                    . 'preforkd_after_fork function)' : $last['message'] . " in $where");
            }
            if ($last !== null && !self::$errorSent) {
                self::sendError(Text::error('FatalError', $last['message'], $where));
                self::$code = 255;
            }
        }

        /** Leaves after all shutdown functions: goes behind those that others register meanwhile, and these register. */
        public static function leaveLast(int $again): void
        {
            if ($again > 0) {
                \register_shutdown_function([self::class, 'leaveLast'], $again - 1);
                return;
            }
            if (\is_string(self::$run)) {
                // Looking at the globals copies a page of each, and a function's variables are its own.
                Left::destroy();
            }
            self::flush();
            // Output that could not be written makes the code 255, and a buffer that may not be ended is PHP's to flush.
            if (\connection_status() === \CONNECTION_NORMAL && \ob_get_level() === 0) {
                Left::close();
                self::$way->leave(self::$code);
            }
        }

        private static function flush(): void
        {
            while (\ob_get_level() > 0 && @\ob_end_flush());
        }

        public static function progress(mixed $value): bool
        {
            $json = Text::json($value);
            if (\strlen($json) > LARGEST) {
                throw new \LengthException('progress has ' . \strlen($json) . ' bytes as JSON, at most ' . LARGEST . ' go');
            }
            return self::$phase === 'run' && self::send(PROGRESS, $json);
        }

        public static function afterFork(callable $hook): void
        {
            \in_array(self::$phase, ['preload', 'serve'], true) ? self::$afterFork[] = $hook : $hook();
        }

        /** A process that the run forked is nobody to the master and stays silent. */
        private static function send(int $type, string $payload = ''): bool
        {
            return \getmypid() === self::$pid && self::$way->send($type, self::$tag, $payload);
        }

        private static function title(string $text): void
        {
            if (\function_exists('cli_set_process_title')) {
                \cli_set_process_title("preforkd: $text");
            }
        }
    }
}

namespace {

    /** Calls `$hook` in every child before its run: to open again what must not be shared, such as connections. */
    function preforkd_after_fork(callable $hook): void
    {
        \Preforkd\Kit::afterFork($hook);
    }

    /** Shows any JSON value in the run's status; the latest one counts. False where there is no run. */
    function preforkd_progress(mixed $value): bool
    {
        return \Preforkd\Kit::progress($value);
    }

    /** What the request gave as params, or its arguments; an empty array where it gave neither. */
    function preforkd_params(): mixed
    {
        return \Preforkd\Kit::$params;
    }

    /** The run's id; null in the preload. */
    function preforkd_run_id(): ?string
    {
        return \Preforkd\Kit::$id;
    }

    if (!\Preforkd\Kit::start()) {
        return;
    }
    // In global scope, as if it were the main script; so no variable of the kit's lives here.
    try {
        if (\Preforkd\Kit::$preload !== null) {
            require \Preforkd\Kit::$preload;
        }
    } catch (\Throwable $preforkd_thrown) {
        \Preforkd\Kit::preloadFailed(\Preforkd\Text::thrown($preforkd_thrown));
    }
    \Preforkd\Kit::ready();
    \Preforkd\Kit::serve();
    try {
        \is_string(\Preforkd\Kit::$run)
            ? \Preforkd\Kit::returned(require \Preforkd\Kit::$run, true)
            : \Preforkd\Kit::returned((\Preforkd\Kit::$run)(\Preforkd\Kit::$params), false);
    } catch (\Throwable $preforkd_thrown) {
        \Preforkd\Kit::threw($preforkd_thrown);
        throw $preforkd_thrown;
    }
}
