<?php

namespace App\Template;

/**
 * A small template language, compiled to PHP:
 *
 *   {{ expression }}            its value          {{ expression | 10 }}   padded to 10; -10: from the left
 *   {% for x in expression %}   {% end %}          {% include name %}
 *
 * An expression is a PHP expression over the template's values.
 */
final class Compiler
{
    public function __construct(private string $folder)
    {
    }

    /** @return \Closure(array<string, mixed>): string */
    public function compile(string $source): \Closure
    {
        $body = $this->body($source);

        return eval("return static function (array \$values): string { extract(\$values); \$out = ''; $body return \$out; };");
    }

    private function body(string $source): string
    {
        $code = '';
        // A line that holds nothing but a tag leaves no empty line.
        $source = preg_replace('/^[ \t]*(\{%.*?%\})[ \t]*\n/m', '$1', $source);
        foreach (preg_split('/(\{\{.*?\}\}|\{%.*?%\})/', $source, -1, PREG_SPLIT_DELIM_CAPTURE) as $part) {
            $code .= match (true) {
                str_starts_with($part, '{{') => $this->value(trim(substr($part, 2, -2))),
                str_starts_with($part, '{%') => $this->tag(trim(substr($part, 2, -2))),
                default => '$out .= ' . var_export($part, true) . ';',
            };
        }

        return $code;
    }

    private function value(string $text): string
    {
        if (preg_match('/^(.*)\|\s*(-?)(\d+)$/', $text, $match)) {
            $side = $match[2] === '-' ? 'true' : 'false';

            return '$out .= \\' . self::class . "::pad((string) ({$match[1]}), {$match[3]}, $side);";
        }

        return "\$out .= $text;";
    }

    private function tag(string $text): string
    {
        return match (true) {
            $text === 'end' => '}',
            (bool) preg_match('/^for (\w+) in (.+)$/', $text, $for) => "foreach ({$for[2]} as \${$for[1]}) {",
            (bool) preg_match('/^include (\w+)$/', $text, $file) => $this->body(file_get_contents("$this->folder/{$file[1]}.txt")),
            default => throw new \ParseError("A template has a tag that is not known: {% $text %}"),
        };
    }

    /** As str_pad, by characters instead of bytes. */
    public static function pad(string $text, int $width, bool $left): string
    {
        $fill = str_repeat(' ', max(0, $width - iconv_strlen($text, 'UTF-8')));

        return $left ? $fill . $text : $text . $fill;
    }
}
