<?php

namespace App\Template;

/** The templates of a folder, compiled to closures. */
final class Templates
{
    /** @param array<string, \Closure(array<string, mixed>): string> $compiled */
    private function __construct(private array $compiled)
    {
    }

    public static function load(string $folder): self
    {
        $compiled = [];
        foreach (glob($folder . '/*.txt') as $file) {
            $compiled[basename($file, '.txt')] = (new Compiler($folder))->compile(file_get_contents($file));
        }

        return new self($compiled);
    }

    /** @param array<string, mixed> $values */
    public function render(string $name, array $values): string
    {
        return ($this->compiled[$name])($values);
    }
}
