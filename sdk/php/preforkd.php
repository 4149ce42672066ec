<?php
/**
 * preforkd's PHP kit: loads an application once, then forks a child of it for every run.
 *
 * The master starts it as `php /proc/self/fd/5`; `proto/ZYGOTE.md` is what the two say to each other.
 * Read from the bottom: the last block is the whole life of a zygote and of its children. Above it stand
 * the functions for your code, `Kit` (what happens in which order), `Entry` (what may be run), `Text`
 * (JSON that always arrives) and the two ways to fork and pass descriptors: `ByFfi` and `ByPcntl`.
 * Before it goes `leaving.php`.
 *
 * PHP 8.1 or later, Linux, 64 bit; the extension FFI, or else pcntl, sockets and posix.
 */

namespace Preforkd {

    const ORDERS = 3, REPLIES = 4, KIT = 5;
    const FORK = 1, WHOIS = 2, RETIRE = 3, REQUEST = 4;
    const READY = 16, PRELOAD_FAILED = 17, FORK_FAILED = 18, FORKED = 19;
    const STARTED = 20, REFUSED = 21, PROGRESS = 22, RESULT = 23, ERROR = 24;
    const CHANNEL = 1, STDIO = 2, MEMFD = 4;
    // The last variable that a zygote is started with.
    const TREE = 'PREFORKD_TREE', MARK = TREE . "=0000000000000000\0";
    const INLINE = 65536, LARGEST = 1 << 20, MOST_FDS = 5;

    /** One message of a channel. `tag` is its slot and nonce as they came, to be repeated in the answer. */
    final class Message
    {
        public function __construct(
            public int $type,
            public int $flags,
            public string $tag,
            public string $payload,
            public array $fds = [],
        ) {
        }

        public static function parse(string $bytes): self
        {
            ['type' => $type, 'flags' => $flags] = \unpack('vtype/vflags', $bytes);
            return new self($type, $flags, \substr($bytes, 4, 12), \substr($bytes, 16));
        }

        /** Descriptors that the flags promise. */
        public function promised(): int
        {
            return ($this->flags & CHANNEL ? 1 : 0) + ($this->flags & STDIO ? 3 : 0) + ($this->flags & MEMFD ? 1 : 0);
        }
    }

    /** Why a run is not started: `code` is that of a REFUSED. */
    final class Refusal extends \Exception
    {
        public function __construct(public readonly string $kind, string $message)
        {
            parent::__construct($message);
        }
    }

    /**
     * With FFI alone. A child is made by clone(CLONE_PARENT), so that the keeper is its parent, and leaves by
     * _exit. Descriptors are plain numbers.
     */
    final class ByFfi
    {
        private const C = '
            typedef struct { void *base; size_t length; } vector;
            typedef struct { void *name; uint32_t name_length; vector *vectors; size_t count;
                             void *control; size_t control_length; int flags; } message;
            typedef struct { size_t length; int level; int type; int fds[10]; } rights;
            typedef struct { uint64_t soft; uint64_t hard; } limit;
            ssize_t recvmsg(int fd, message *m, int flags);
            ssize_t sendmsg(int fd, const message *m, int flags);
            ssize_t send(int fd, const char *bytes, size_t length, int flags);
            ssize_t write(int fd, const char *bytes, size_t length);
            ssize_t pread(int fd, char *bytes, size_t length, int64_t offset);
            int64_t lseek(int fd, int64_t offset, int whence);
            int memfd_create(const char *name, unsigned flags);
            int open(const char *path, int flags, ...);
            int dup2(int from, int to);
            int close(int fd);
            int fcntl(int fd, int command, ...);
            int prctl(int option, ...);
            long syscall(long number, ...);
            int fork(void);
            int waitpid(int pid, int *status, int options);
            int setsid(void);
            unsigned alarm(unsigned seconds);
            int getrlimit(int resource, limit *l);
            int setrlimit(int resource, const limit *l);
            int madvise(uint64_t address, size_t length, int advice);
            int mincore(uint64_t address, size_t length, char *pages);
            void *mmap(uint64_t address, size_t length, int protection, int flags, int fd, int64_t offset);
            void _exit(int code);
            char *getenv(const char *name);
            int *__errno_location(void);';

        private const NO_SIGNAL = 0x4000; // MSG_NOSIGNAL

        private \FFI $c;
        private \FFI\CData $in, $inVector, $inMessage, $inPointer, $inRights;
        private \FFI\CData $tid, $shared;
        /** @var ?array number and arguments of the raw clone, null where it must not be used */
        private ?array $clone = null;
        /** Where the last variable of the initial environment lies, in which a child's tree is marked. */
        private ?\FFI\CData $mark = null;
        /** Where the C library has that variable's value: elsewhere, once PHP has written a title. */
        private ?\FFI\CData $variable = null;

        public function __construct()
        {
            $this->c = $c = \FFI::cdef(self::C);
            $this->findMark();
            $this->in = $c->new('char[' . (16 + INLINE + 1) . ']');
            $this->inRights = $c->new('rights');
            [$this->inVector, $this->inMessage] = $this->envelope($this->in, 16 + INLINE + 1);
            $this->inMessage->control = $this->c->cast('void *', \FFI::addr($this->inRights));
            $this->inPointer = \FFI::addr($this->inMessage);
            foreach ([ORDERS, REPLIES] as $fd) {
                $this->closeOnExec($fd);
            }
            $c->close(KIT);
            $this->prepareFork();
        }

        public function name(): string
        {
            return 'ffi';
        }

        public function warnings(): array
        {
            return [];
        }

        /** @return array{\FFI\CData, \FFI\CData} a vector over the bytes and a message with it */
        private function envelope(\FFI\CData $bytes, int $length): array
        {
            $vector = $this->c->new('vector');
            $vector->base = $this->c->cast('void *', \FFI::addr($bytes));
            $vector->length = $length;
            $message = $this->c->new('message');
            $message->vectors = \FFI::addr($vector);
            $message->count = 1;
            return [$vector, $message];
        }

        private function errno(): int
        {
            return $this->c->__errno_location()[0];
        }

        private function closeOnExec(int $fd): void
        {
            $this->c->fcntl($fd, 2 /* F_SETFD */, 1 /* FD_CLOEXEC */);
        }

        /**
         * A raw clone leaves glibc's cached thread id behind, unless the kernel writes the child's into the same
         * place: the address that glibc gave to set_tid_address. Where that place does not hold our id (musl keeps
         * a lock there, gVisor knows no PR_GET_TID_ADDRESS), two fork() of the C library do instead.
         */
        private function prepareFork(): void
        {
            // CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD
            $flags = 0x8000 | 0x1000000 | 0x200000 | 17;
            $this->tid = $this->c->new('int *');
            $got = $this->c->prctl(40 /* PR_GET_TID_ADDRESS */, \FFI::addr($this->tid));
            $this->clone = match (\php_uname('m')) {
                'x86_64' => [56, $flags, 0, 0, $this->tid, 0],
                'aarch64', 'riscv64' => [220, $flags, 0, 0, 0, $this->tid],
                default => null,
            };
            if ($got !== 0 || \FFI::isNull($this->tid) || $this->tid[0] !== \getmypid()) {
                $this->clone = null;
            }
            if ($this->clone === null) {
                // PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS: where the first child leaves the second one's pid
                $this->shared = $this->c->cast('int *', $this->c->mmap(0, 4096, 3, 0x21, -1, 0));
            }
        }

        /** The next message, null at the end of the channel. Blocks. */
        public function receive(int $fd): ?Message
        {
            do {
                $this->inMessage->control_length = 56;
                $length = $this->c->recvmsg($fd, $this->inPointer, 0x40000000 /* MSG_CMSG_CLOEXEC */);
            } while ($length < 0 && $this->errno() === 4 /* EINTR */);
            if ($length < 16) {
                return null;
            }
            $message = Message::parse(\FFI::string($this->in, $length));
            if ($this->inMessage->control_length >= 20 && $this->inRights->level === 1 && $this->inRights->type === 1) {
                $count = ($this->inRights->length - 16) >> 2;
                for ($i = 0; $i < $count; $i++) {
                    $message->fds[] = $this->inRights->fds[$i];
                }
            }
            return $message;
        }

        public function nextOrder(): ?Message
        {
            return $this->receive(ORDERS);
        }

        /**
         * Forks the child that an order asks for; in the parent its descriptors are closed afterwards in any case.
         *
         * @return int 0 in the child, else its pid, or a negative errno
         */
        public function fork(Message $order): int
        {
            if (\count($order->fds) !== $order->promised()) {
                $pid = -74; // EBADMSG
            } elseif ($this->clone !== null) {
                $pid = $this->c->syscall(...$this->clone);
                $pid = $pid < 0 ? -$this->errno() : $pid;
            } else {
                $pid = $this->forkTwice();
            }
            if ($pid !== 0) {
                $this->discard($order);
            }
            return $pid;
        }

        private function forkTwice(): int
        {
            $this->shared[0] = -10; // ECHILD, should the first child not get as far as its own fork
            $first = $this->c->fork();
            if ($first === 0) {
                $second = $this->c->fork();
                if ($second === 0) {
                    return 0;
                }
                $this->shared[0] = $second < 0 ? -$this->errno() : $second;
                $this->c->_exit(0);
            }
            if ($first < 0) {
                return -$this->errno();
            }
            while ($this->c->waitpid($first, null, 0) < 0 && $this->errno() === 4 /* EINTR */);
            return $this->shared[0];
        }

        /** Lets go of an order's descriptors. */
        public function discard(Message $order): void
        {
            foreach ($order->fds as $fd) {
                $this->c->close($fd);
            }
        }

        private function findMark(): void
        {
            $stat = (string) \file_get_contents('/proc/self/stat');
            $fields = \explode(' ', \substr($stat, \strrpos($stat, ')') + 2));
            $end = (int) ($fields[48] ?? 0); // proc(5): 51, the end of the environment
            if ($end === 0) {
                return;
            }
            $address = $this->c->new('uint64_t');
            $address->cdata = $end - \strlen(MARK);
            $place = $this->c->cast('char *', $address);
            // The title has written zeros over it, or nobody has.
            if (\in_array(\FFI::string($place, \strlen(MARK)), [MARK, \str_repeat("\0", \strlen(MARK))], true)) {
                $this->mark = $this->c->new('char *');
                \FFI::memcpy(\FFI::addr($this->mark), \FFI::addr($address), 8);
            }
        }

        /**
         * /proc/PID/environ of whatever is forked from here on shows it, and programs that are executed find it. In place: a
         * putenv() would copy pages of the heap.
         */
        public function mark(string $digits): void
        {
            if ($this->mark !== null) {
                \FFI::memcpy($this->mark, TREE . "=$digits\0", \strlen(MARK));
            }
            if ($this->variable !== null) {
                \FFI::memcpy($this->variable, $digits, 16);
            } else {
                \putenv(TREE . "=$digits");
            }
        }

        public function enterChild(?int $cpuSeconds): void
        {
            $this->c->close(ORDERS);
            $this->c->setsid();
            if ($cpuSeconds !== null) {
                $limit = $this->c->new('limit');
                $this->c->getrlimit(0 /* RLIMIT_CPU */, \FFI::addr($limit));
                // RLIM_INFINITY reads as a negative number here
                $hard = $limit->hard < 0 ? \PHP_INT_MAX : $limit->hard;
                $limit->soft = \min($cpuSeconds, $hard);
                $limit->hard = \min($cpuSeconds + 1, $hard);
                $this->c->setrlimit(0, \FFI::addr($limit));
            }
        }

        public function beforeIdle(): void
        {
        }

        public function rehearse(): void
        {
            $this->c->send(-1, \pack('vv', 0, 0), 4, 0);
        }

        /**
         * Puts three of a message's descriptors, from `$first` on, in the place of 0, 1 and 2. The constants STDIN,
         * STDOUT and STDERR stay valid.
         */
        public function stdio(array $fds, int $first): void
        {
            for ($to = 0; $to <= 2; $to++) {
                $this->c->dup2($fds[$first + $to], $to);
                $this->c->close($fds[$first + $to]);
            }
        }

        public function contents(int $fd): string
        {
            $size = $this->c->lseek($fd, 0, 2 /* SEEK_END */);
            $bytes = $this->c->new("char[$size]");
            for ($at = 0; $at < $size; $at += $read) {
                $read = $this->c->pread($fd, \FFI::addr($bytes[$at]), $size - $at, $at);
                if ($read <= 0) {
                    break;
                }
            }
            $this->c->close($fd);
            return \FFI::string($bytes, $at);
        }

        public function close(int $fd): void
        {
            $this->c->close($fd);
        }

        /** Sends header and payload; a large payload in a sealed memfd. */
        public function send(int $type, string $tag, string $payload): bool
        {
            if (\strlen($payload) <= INLINE) {
                $bytes = \pack('vv', $type, 0) . $tag . $payload;
                return $this->insist(fn () => $this->c->send(REPLIES, $bytes, \strlen($bytes), self::NO_SIGNAL));
            }
            $fd = $this->c->memfd_create('preforkd-reply', 3 /* MFD_CLOEXEC | MFD_ALLOW_SEALING */);
            for ($rest = $payload; $fd >= 0 && $rest !== ''; $rest = \substr($rest, $written)) {
                $written = $this->c->write($fd, $rest, \strlen($rest));
                if ($written <= 0) {
                    break;
                }
            }
            if ($fd < 0 || $rest !== '') {
                return false;
            }
            $this->c->fcntl($fd, 1033 /* F_ADD_SEALS */, 0xf /* SEAL | SHRINK | GROW | WRITE */);
            $header = $this->c->new('char[16]');
            \FFI::memcpy($header, \pack('vv', $type, MEMFD) . $tag, 16);
            [$vector, $message] = $this->envelope($header, 16);
            $rights = $this->c->new('rights');
            $rights->length = 20;
            $rights->level = $rights->type = 1; // SOL_SOCKET, SCM_RIGHTS
            $rights->fds[0] = $fd;
            $message->control = $this->c->cast('void *', \FFI::addr($rights));
            $message->control_length = 24;
            $sent = $this->insist(fn () => $this->c->sendmsg(REPLIES, \FFI::addr($message), self::NO_SIGNAL));
            $this->c->close($fd);
            return $sent;
        }

        /** Repeats what fails for want of memory or for too many descriptors in flight, for up to 5 s. */
        private function insist(\Closure $send): bool
        {
            for ($tries = 0; $send() < 0; $tries++) {
                $errno = $this->errno();
                if ($errno === 4 /* EINTR */) {
                    continue;
                }
                // EAGAIN, ENOMEM, ENOBUFS, ETOOMANYREFS
                if (!\in_array($errno, [11, 12, 105, 109], true) || $tries > 1000) {
                    return false;
                }
                \usleep(5000);
            }
            return true;
        }

        /** Once, after the preload and before the first fork. */
        public function settle(): void
        {
            for ($fd = 0; $fd <= 2; $fd++) {
                // A preload that closed one of them would make room for a descriptor of ours at this number.
                if ($this->c->fcntl($fd, 1 /* F_GETFD */) < 0) {
                    $this->c->open('/dev/null', 2 /* O_RDWR */);
                }
            }
            $this->c->alarm(0);
            $value = $this->c->getenv(TREE);
            $this->variable = $value !== null && \FFI::string($value) === \str_repeat('0', 16) ? $value : null;
            // The file PHP was started on. PHP itself closes it when the main script ends, so it may not be ours.
            foreach (\scandir('/proc/self/fd') as $fd) {
                if ((int) $fd > KIT && (string) \readlink("/proc/self/fd/$fd") === Kit::$file) {
                    $this->closeOnExec((int) $fd);
                }
            }
        }

        /**
         * Fork time is page tables: puts anonymous memory, where at least half of 2 MiB are there, into huge pages (Linux 6.1;
         * no privilege needed; elsewhere it fails without harm).
         */
        public function collapse(): void
        {
            $there = $this->c->new('char[512]'); // a byte for each of the small pages
            foreach (\file('/proc/self/maps') as $line) {
                if (!\preg_match('~^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0\s~', $line, $m)) {
                    continue;
                }
                $to = \hexdec($m[2]) - 0x200000;
                for ($at = (\hexdec($m[1]) + 0x1fffff) & ~0x1fffff; $at <= $to; $at += 0x200000) {
                    if (
                        $this->c->mincore($at, 0x200000, $there) === 0
                        && \substr_count(\FFI::string($there, 512), "\0") <= 256
                    ) {
                        $this->c->madvise($at, 0x200000, 25 /* MADV_COLLAPSE */);
                    }
                }
            }
        }

        public function exitStatus(): ?ExitStatus
        {
            return ExitStatus::find();
        }

        public function leave(int $code): never
        {
            $this->c->_exit($code);
            exit($code);
        }
    }

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

    /** JSON and text that always arrive. */
    final class Text
    {
        /** At most `$most` bytes of valid UTF-8. */
        public static function cut(string $text, int $most = 65536): string
        {
            $text = \substr($text, 0, $most + 4);
            if (!\preg_match('//u', $text)) {
                $text = \json_decode(\json_encode($text, \JSON_INVALID_UTF8_SUBSTITUTE));
            }
            if (\strlen($text) > $most) {
                while (($text[$most] & "\xC0") === "\x80") {
                    $most--;
                }
                $text = \substr($text, 0, $most);
            }
            return $text;
        }

        /** @throws \JsonException where it cannot be said in JSON */
        public static function json(mixed $value): string
        {
            return \json_encode(
                $value,
                \JSON_THROW_ON_ERROR | \JSON_UNESCAPED_SLASHES | \JSON_UNESCAPED_UNICODE | \JSON_PRESERVE_ZERO_FRACTION,
                4096,
            );
        }

        public static function error(string $class, string $message, string $trace): string
        {
            // The name of an anonymous class goes on with a NUL byte and its file.
            $class = \strstr($class . "\0", "\0", true);
            return self::json([
                'class' => self::cut($class, 1024),
                'message' => self::cut($message),
                'trace' => self::cut($trace),
            ]);
        }

        public static function thrown(\Throwable $thrown): string
        {
            $trace = '';
            for ($cause = $thrown; $cause !== null; $cause = $cause->getPrevious()) {
                $trace .= ($trace === '' ? '' : "\nCaused by " . \get_class($cause) . ': ' . $cause->getMessage() . "\n")
                    . $cause->getFile() . ':' . $cause->getLine() . "\n" . $cause->getTraceAsString();
            }
            return self::error(\get_class($thrown), $thrown->getMessage(), $trace);
        }

        /** ' (did you mean "…"?)' for the candidate most like the name, or nothing. */
        public static function nearest(string $name, array $candidates): string
        {
            [$best, $least] = [null, \intdiv(\strlen($name), 3) + 1];
            foreach ($candidates as $candidate) {
                $distance = \levenshtein(\strtolower($name), \strtolower($candidate));
                if ($distance < $least) {
                    [$best, $least] = [$candidate, $distance];
                }
            }
            return $best === null ? '' : " (did you mean \"$best\"?)";
        }
    }

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
