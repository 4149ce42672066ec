<?php
/**
 * Forking and passing descriptors without FFI.
 */

namespace Preforkd {

    /**
     * With pcntl, sockets and posix, where there is no FFI. Two forks make a child, and the keeper adopts it.
     * Descriptors are streams and Sockets. PHP cannot close a descriptor by its number, nor mark it
     * close-on-exec: 3, 4 and 5 stay open in the children and in what they start.
     */
    final class ByPcntl
    {
        private \Socket $orders, $replies;
        /** @var array{\Socket, \Socket} on which a first child says the pid of the second */
        private array $pids = [];
        /** @var int[] numbers that the next descriptors received will get */
        private array $free = [];
        /** @var array<resource> what stands in the place of STDIN, STDOUT and STDERR */
        private static array $stdio = [];
        /** @var ?resource see exitProgram() */
        private $program = null;
        private string $programPath = '';

        public function __construct()
        {
            $this->orders = \socket_import_stream(\fopen('php://fd/' . ORDERS, 'r+'));
            $this->replies = \socket_import_stream(\fopen('php://fd/' . REPLIES, 'r+'));
            \socket_create_pair(\AF_UNIX, \SOCK_SEQPACKET, 0, $this->pids);
        }

        public function name(): string
        {
            return 'pcntl';
        }

        public function warnings(): array
        {
            return ['without FFI a run costs about twice the time, and programs that a run starts inherit '
                . 'descriptors 3 and 4; enable the extension FFI (ffi.enable=preload, the default, is enough)'];
        }

        /** Only peeks at a FORK: its descriptors are for the child, who takes them. */
        public function nextOrder(): ?Message
        {
            $length = $this->insist(function () use (&$bytes) {
                return @\socket_recv($this->orders, $bytes, 16 + INLINE, \MSG_PEEK);
            });
            if ($length < 16) {
                return null;
            }
            $message = Message::parse($bytes);
            return $message->type === FORK ? $message : $this->receive($this->orders);
        }

        public function receive(\Socket $socket): ?Message
        {
            $message = [];
            $length = $this->insist(function () use ($socket, &$message) {
                $control = \socket_cmsg_space(\SOL_SOCKET, \SCM_RIGHTS, MOST_FDS);
                $message = ['buffer_size' => 16 + INLINE, 'controllen' => $control];
                return @\socket_recvmsg($socket, $message, \MSG_CMSG_CLOEXEC);
            });
            if ($length < 16) {
                return null;
            }
            $parsed = Message::parse($message['iov'][0]);
            $parsed->fds = $message['control'][0]['data'] ?? [];
            return $parsed;
        }

        /** Repeats a call that was interrupted. */
        private function insist(\Closure $call): int
        {
            while (($result = $call()) === false) {
                if (\socket_last_error() !== \SOCKET_EINTR) {
                    return -1;
                }
            }
            return $result;
        }

        /** As in ByFfi; the first child takes the order from the channel, so that the zygote never holds its descriptors. */
        public function fork(Message $order): int
        {
            $first = @\pcntl_fork();
            if ($first < 0) {
                $errno = \pcntl_get_last_error();
                $this->discard($order);
                return -$errno;
            }
            if ($first === 0) {
                $order->fds = $this->receive($this->orders)->fds;
                $second = \count($order->fds) === $order->promised() ? @\pcntl_fork() : null;
                if ($second === 0) {
                    return 0;
                }
                $answer = match ($second) {
                    null => -74, // EBADMSG
                    -1 => -\pcntl_get_last_error(),
                    default => $second,
                };
                \socket_write($this->pids[1], \pack('l', $answer));
                \posix_kill(\posix_getpid(), \SIGKILL);
            }
            while (\pcntl_waitpid($first, $status) < 0 && \pcntl_get_last_error() === \PCNTL_EINTR);
            if (@\socket_recv($this->pids[0], $bytes, 4, \MSG_DONTWAIT) !== 4) {
                // Killed between the forks: whether the order was taken is not known. A new zygote will know better.
                $this->leave(1);
            }
            return \unpack('l', $bytes)[1];
        }

        public function discard(Message $order): void
        {
            if ($order->type === FORK) {
                $this->receive($this->orders);
            }
        }

        /** Without FFI only programs that a run executes have it, by the environment. */
        public function mark(string $digits): void
        {
            \putenv(TREE . "=$digits");
        }

        public function enterChild(?int $cpuSeconds): void
        {
            \socket_close($this->orders);
            \array_map('socket_close', $this->pids);
            \posix_setsid();
            if ($cpuSeconds !== null) {
                $hard = \posix_getrlimit()['hard cpu'];
                $hard = $hard === 'unlimited' ? \PHP_INT_MAX : $hard;
                \posix_setrlimit(\POSIX_RLIMIT_CPU, \min($cpuSeconds, $hard), \min($cpuSeconds + 1, $hard));
            }
        }

        public function beforeIdle(): void
        {
            $this->findFree();
        }

        public function rehearse(): void
        {
        }

        /** The kernel gives received descriptors the lowest free numbers, and a stream does not tell its own. */
        private function findFree(): void
        {
            $this->free = [];
            for ($fd = 0; \count($this->free) < MOST_FDS; $fd++) {
                if (@\readlink("/proc/self/fd/$fd") === false) {
                    $this->free[] = $fd;
                }
            }
        }

        /** As in ByFfi, but for the constants STDIN, STDOUT and STDERR, which are closed by that. */
        public function stdio(array $fds, int $first): void
        {
            foreach (['STDIN', 'STDOUT', 'STDERR'] as $to => $constant) {
                $old = self::$stdio[$to] ?? \constant($constant);
                if (\is_resource($old)) {
                    \fclose($old);
                }
                // Opening dups to the lowest free number, which is the one just closed.
                self::$stdio[$to] = \fopen('php://fd/' . $this->free[$first + $to], $to === 0 ? 'r' : 'w');
            }
        }

        public function contents($stream): string
        {
            return \stream_get_contents($stream, null, 0);
        }

        public function close($descriptor): void
        {
            $descriptor instanceof \Socket ? \socket_close($descriptor) : \fclose($descriptor);
        }

        /** A large payload goes in an unlinked file: PHP alone can make no memfd and no seals. */
        public function send(int $type, string $tag, string $payload): bool
        {
            $flags = \strlen($payload) > INLINE ? MEMFD : 0;
            $message = ['iov' => [\pack('vv', $type, $flags) . $tag . ($flags ? '' : $payload)]];
            if ($flags) {
                // In memory, where there is a place for it: the master takes nothing that a slow disk could hold it up with.
                $path = @\tempnam(\is_writable('/dev/shm') ? '/dev/shm' : \sys_get_temp_dir(), 'preforkd-');
                $file = $path === false ? false : @\fopen($path, 'w+b');
                if ($path !== false) {
                    @\unlink($path);
                }
                if ($file === false || \fwrite($file, $payload) !== \strlen($payload)) {
                    return false;
                }
                $message['control'] = [['level' => \SOL_SOCKET, 'type' => \SCM_RIGHTS, 'data' => [$file]]];
            }
            return $this->insist(fn () => @\socket_sendmsg($this->replies, $message, 0)) > 0;
        }

        public function settle(): void
        {
            \pcntl_alarm(0);
            for ($fd = 0; $fd <= 2; $fd++) {
                if (@\readlink("/proc/self/fd/$fd") === false) {
                    self::$stdio[$fd] = \fopen('/dev/null', 'r+');
                }
            }
            $this->findFree();
            $this->exitProgram();
            $this->findFree();
        }

        /**
         * PHP has no _exit, but it can become another program: one of four instructions, which leaves with the
         * first byte of its argument. It lives in an unlinked file.
         */
        private function exitProgram(): void
        {
            $code = match (\php_uname('m')) {
                // mov rdi, [rsp+16]; movzx edi, byte [rdi]; mov eax, 231 (exit_group); syscall
                'x86_64' => [62, "\x48\x8b\x7c\x24\x10\x0f\xb6\x3f\xb8\xe7\0\0\0\x0f\x05"],
                // ldr x0, [sp, #16]; ldrb w0, [x0]; mov x8, #94 (exit_group); svc #0
                'aarch64' => [183, "\xe0\x0b\x40\xf9\0\0\x40\x39\xc8\x0b\x80\xd2\x01\0\0\xd4"],
                default => null,
            };
            $path = $code === null ? false : @\tempnam(\sys_get_temp_dir(), 'preforkd-');
            if ($path === false) {
                return;
            }
            [$machine, $text] = $code;
            $size = 120 + \strlen($text);
            // elf(5): header, then one segment of the whole file, readable and executable, at 4 MiB
            $elf = "\x7fELF\2\1\1" . \str_repeat("\0", 9)
                . \pack('vvVPPPVvvvvvv', 2, $machine, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
                . \pack('VVPPPPPP', 1, 5, 0, 0x400000, 0x400000, $size, $size, 4096) . $text;
            if (@\file_put_contents($path, $elf) === $size && \chmod($path, 0500)) {
                $this->program = \fopen($path, 'r');
                $this->programPath = '/proc/self/fd/' . $this->free[0];
            }
            \unlink($path);
        }

        /** Not without FFI. */
        public function collapse(): void
        {
        }

        /** Not without FFI either. */
        public function exitStatus(): ?ExitStatus
        {
            return null;
        }

        /** Without shutdown functions and destructors. */
        public function leave(int $code): never
        {
            if ($this->program !== null) {
                @\pcntl_exec($this->programPath, [$code === 0 ? '' : \chr($code)], []);
            }
            // Where temporary files may not be executed.
            @\pcntl_exec('/bin/sh', ['-c', "exit $code"], []);
            exit($code);
        }
    }
}
