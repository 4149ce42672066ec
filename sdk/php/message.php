<?php
/**
 * What the PHP kit and the daemon say to each other (`proto/ZYGOTE.md`), and what is written into it: JSON and text.
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
}
