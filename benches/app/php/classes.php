<?php
// Writes real class files, as an application's own would lie on disk: classes.php FOLDER COUNT

declare(strict_types=1);

[, $folder, $count] = $argv + [1 => '', 2 => '300'];
if ($folder === '' || !is_dir($folder)) {
    fwrite(STDERR, "usage: php classes.php FOLDER COUNT; the folder must be there\n");
    exit(2);
}

for ($i = 0; $i < (int) $count; $i++) {
    $parent = $i % 10 === 0 ? '' : sprintf(' extends Part%03d', $i - $i % 10);
    $methods = '';
    for ($m = 0; $m < 8; $m++) {
        $methods .= <<<PHP

                public function step{$i}x{$m}(array \$order, ?string \$note = null): array
                {
                    \$total = 0;
                    foreach (\$order['lines'] ?? [] as \$key => \$line) {
                        if (!isset(\$line['price'], \$line['count'])) {
                            throw new \\InvalidArgumentException("line \$key of order {$i} has no price");
                        }
                        \$total += \$line['price'] * \$line['count'] + self::RATES['r{$m}'];
                    }

                    return ['total' => \$total, 'note' => \$note ?? \$this->label, 'part' => {$i}, 'step' => {$m}];
                }

            PHP;
    }
    $class = <<<PHP
        <?php

        declare(strict_types=1);

        namespace Bench\\Parts;

        class Part%03d%s
        {
            public const RATES = ['r0' => 0, 'r1' => 1, 'r2' => 2, 'r3' => 3, 'r4' => 4, 'r5' => 5, 'r6' => 6, 'r7' => 7];

            protected array \$seen = [];
            protected string \$label = 'part $i';
        %s}

        PHP;
    file_put_contents(sprintf('%s/Part%03d.php', $folder, $i), sprintf($class, $i, $parent, $methods));
}
