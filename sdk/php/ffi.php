<?php
/**
 * Forking and passing descriptors with FFI.
 */

namespace Preforkd {

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
}
