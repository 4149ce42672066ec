//! supervisord's kinds of values: switches, sizes, codes, variables.

use std::collections::BTreeMap;

/// `yes`, `true`, `on`, `1` and their opposites, in large letters too.
pub(super) fn flag(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// `50MB`, `1kb`, `4096`.
pub(super) fn bytes(value: &str) -> Option<u64> {
    let value = value.trim().to_lowercase();
    let (number, shift) = match value.char_indices().rev().nth(1).map(|(at, _)| value.split_at(at)) {
        Some((number, "kb")) => (number, 10),
        Some((number, "mb")) => (number, 20),
        Some((number, "gb")) => (number, 30),
        _ => (value.as_str(), 0),
    };
    number.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `0,2`: codes from 0 to 255.
pub(super) fn codes(value: &str) -> Option<Vec<u8>> {
    if value.is_empty() {
        return Some(Vec::new());
    }
    value.split(',').map(|code| code.trim().parse().ok()).collect()
}

/// `KEY="value",OTHER=value`, with quotes. The error says what is wrong; what stands before it is read.
///
/// Up to 4.3 a backslash means itself and a quote counts only where a value begins. Later ones read as a shell does, which
/// is tried on what the former refuse.
pub(super) fn variables(value: &str) -> (BTreeMap<String, String>, Result<(), String>) {
    if let Ok(tokens) = tokens(value, Quotes::Plain)
        && let (mut found, true) = pairs(&tokens)
    {
        for value in found.values_mut() {
            *value = value.trim_matches(['\'', '"']).to_owned();
        }
        return (found, Ok(()));
    }
    let tokens = match tokens(value, Quotes::Shell) {
        Ok(tokens) => tokens,
        Err(fault) => return (BTreeMap::new(), Err(fault.to_owned())),
    };
    let (found, whole) = pairs(&tokens);
    // Which one, and not what is in it: that may be a secret.
    let fault = format!("expected KEY=\"value\" as variable {}; put values in double quotes", found.len() + 1);
    (found, if whole { Ok(()) } else { Err(fault) })
}

/// The variables, and whether that is all there is.
fn pairs(tokens: &[String]) -> (BTreeMap<String, String>, bool) {
    let mut found = BTreeMap::new();
    let mut rest = tokens;
    while let [key, equals, value, after @ ..] = rest {
        if equals != "=" {
            break;
        }
        found.insert(key.clone(), value.clone());
        // supervisord does not look at what separates them.
        rest = after.get(1..).unwrap_or_default();
    }
    (found, rest.is_empty())
}

/// How Python's `shlex` takes quotes.
#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    /// They stay, and nothing is escaped.
    Plain,
    /// Its POSIX mode.
    Shell,
}

/// Words of letters, digits and some signs; all else is a token a character.
fn tokens(text: &str, quotes: Quotes) -> Result<Vec<String>, &'static str> {
    const OPEN: &str = "a quote is not closed";
    let plain = quotes == Quotes::Plain;
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' | '\'' if plain && word.is_none() => {
                let mut quoted = String::from(character);
                while !(quoted.len() > 1 && quoted.ends_with(character)) {
                    quoted.push(characters.next().ok_or(OPEN)?);
                }
                tokens.push(quoted);
            }
            '"' | '\'' if !plain => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next().ok_or(OPEN)? {
                        c if c == character => break,
                        '\\' if character == '"' => match characters.next().ok_or(OPEN)? {
                            escaped @ ('"' | '\\') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' if !plain => {
                word.get_or_insert_default().push(characters.next().ok_or("nothing follows a backslash")?);
            }
            c if c.is_alphanumeric() || "_/.+-():\"'".contains(c) => word.get_or_insert_default().push(c),
            other => {
                tokens.extend(word.take());
                if other == '#' {
                    // A comment to the end of its line.
                    let _ = characters.by_ref().find(|c| *c == '\n'); // none: it was the last line
                } else if !other.is_whitespace() {
                    tokens.push(other.to_string());
                }
            }
        }
    }
    tokens.extend(word);
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(value: &str) -> Vec<(String, String)> {
        let (found, fault) = variables(value);
        assert_eq!(fault, Ok(()), "{value}");
        found.into_iter().collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn variables_with_quotes_commas_and_lines() {
        assert_eq!(pairs(""), []);
        assert_eq!(
            pairs(r#"A="1, 2",B='x"y',C=/usr/bin:/bin"#),
            owned(&[("A", "1, 2"), ("B", "x\"y"), ("C", "/usr/bin:/bin")])
        );
        assert_eq!(pairs("A=\"\",\n B=\"b\" ,\n"), owned(&[("A", ""), ("B", "b")]));
        assert_eq!(pairs(r#"A="say \"hi\" \n",B=a"b c"d"#), owned(&[("A", "say \"hi\" \\n"), ("B", "ab cd")]));
        assert_eq!(
            pairs(r#"A="C:\\x\",B='é'"#),
            owned(&[("A", r"C:\\x\"), ("B", "é")]),
            "a backslash is one up to 4.3"
        );
    }

    #[test]
    fn what_supervisord_refuses_is_told_with_what_stands_before_it() {
        let (found, fault) = variables("A=1,B=x@y,C=3");
        assert!(fault.unwrap_err().contains("double quotes"));
        assert_eq!(found.get("A").map(String::as_str), Some("1"));
        assert!(variables("A=\"1").1.is_err());
        assert!(variables("A").1.is_err());
    }

    #[test]
    fn sizes_switches_and_codes() {
        assert_eq!(bytes("50MB"), Some(50 << 20));
        assert_eq!(bytes("1kb"), Some(1024));
        assert_eq!(bytes("0"), Some(0));
        assert_eq!(bytes("1TB"), None);
        assert_eq!(bytes("é"), None);
        assert_eq!((flag("On"), flag("0"), flag("maybe")), (Some(true), Some(false), None));
        assert_eq!(codes("0, 2"), Some(vec![0, 2]));
        assert_eq!(codes("256"), None);
    }
}
