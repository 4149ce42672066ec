//! Which entries a pool's patterns let in.

use std::borrow::Cow;

/// Whether one of a pool's `entries` patterns matches the whole of `entry`.
///
/// `*` stands for any run of characters, backslashes and slashes included, `?` for exactly one;
/// everything else stands for itself, upper and lower case told apart. Paths are compared without
/// `.` and empty parts (`./bin/console` is `bin/console`). An entry with a part `..` matches
/// nothing, because what it names cannot be told from its text.
pub fn entry_allowed(patterns: &[String], entry: &str) -> bool {
    if entry.is_empty() || entry.split('/').any(|part| part == "..") {
        return false;
    }
    let entry = normal(entry);
    patterns.iter().any(|pattern| matches(&normal(pattern), &entry))
}

/// A path without `.` and empty parts, but with its first slash; other text as it is.
fn normal(path: &str) -> Cow<'_, str> {
    let idle = |part: &str| part.is_empty() || part == ".";
    let absolute = path.starts_with('/');
    if !path.contains('/') || !path.split('/').skip(usize::from(absolute)).any(idle) {
        return Cow::Borrowed(path);
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !idle(part)).collect();
    Cow::Owned(format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

/// Matches from left to right; at a mismatch the last star takes one character more. Earlier
/// stars need no second try: what stands between two stars is best found as far left as it can
/// be. So the work is at most the product of the two lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut left, mut rest) = (pattern, text);
    // The pattern behind the last star, and the text that was left when that was tried last.
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let next = left.chars().next();
        let found = rest.chars().next();
        match (next, found) {
            (Some('*'), _) => {
                left = &left[1..];
                retry = Some((left, rest));
                continue;
            }
            (None, None) => return true,
            (Some(wanted), Some(character)) if wanted == '?' || wanted == character => {
                left = &left[wanted.len_utf8()..];
                rest = &rest[character.len_utf8()..];
                continue;
            }
            _ => {}
        }
        let Some((behind, tried)) = retry else {
            return false;
        };
        let mut characters = tried.chars();
        if characters.next().is_none() {
            return false;
        }
        left = behind;
        rest = characters.as_str();
        retry = Some((behind, rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn allowed(patterns: &[&str], entry: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        entry_allowed(&patterns, entry)
    }

    #[test]
    fn a_star_runs_over_backslashes_and_slashes() {
        assert!(allowed(&["App\\Jobs\\*"], "App\\Jobs\\Mail\\Send"));
        assert!(allowed(&["App\\Jobs\\*"], "App\\Jobs\\Mail::send"));
        assert!(allowed(&["bin/*"], "bin/a/b"));
        assert!(!allowed(&["App\\Jobs\\*"], "App\\Jobs"));
        assert!(!allowed(&["App\\Jobs\\*"], "Evil\\App\\Jobs\\X"));
        assert!(!allowed(&["App\\Jobs\\*"], "app\\jobs\\X"));
    }

    #[test]
    fn everything_but_star_and_question_mark_is_literal() {
        assert!(allowed(&["a.b"], "a.b"));
        assert!(!allowed(&["a.b"], "axb"));
        assert!(!allowed(&["[ab]"], "a"));
        assert!(allowed(&["[ab]"], "[ab]"));
        assert!(allowed(&["job_?"], "job_ü"));
        assert!(!allowed(&["job_?"], "job_"));
        assert!(!allowed(&["job_?"], "job_12"));
    }

    #[test]
    fn a_script_matches_by_its_normal_path() {
        for entry in ["bin/console", "./bin/console", "././bin//console", "bin/./console"] {
            assert!(allowed(&["bin/console"], entry), "{entry}");
            assert!(allowed(&["./bin/console"], entry), "{entry}");
        }
        assert!(!allowed(&["bin/console"], "/bin/console"));
        assert!(!allowed(&["bin/console"], "bin/console2"));
        assert!(allowed(&["/srv/*"], "/srv//app.php"));
    }

    #[test]
    fn a_path_that_goes_up_matches_nothing() {
        for entry in ["..", "../x", "bin/../x", "bin/..", "/srv/../etc/x"] {
            assert!(!allowed(&["*"], entry), "{entry}");
        }
        assert!(allowed(&["*"], "a..b"));
    }

    #[test]
    fn no_patterns_and_no_entry_match_nothing() {
        assert!(!allowed(&[], "x"));
        assert!(!allowed(&["*"], ""));
        assert!(!allowed(&[""], "x"));
    }

    #[test]
    fn stars_do_not_blow_up() {
        let pattern = "*a".repeat(5_000) + "b";
        let began = std::time::Instant::now();
        assert!(!allowed(&[&pattern], &"a".repeat(10_000)));
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    }

    /// The definition, with no thought of cost.
    fn model(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', behind)), _) => (0..=text.len()).any(|taken| model(behind, &text[taken..])),
            (Some((wanted, left)), Some((found, rest))) => (*wanted == '?' || wanted == found) && model(left, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matches_as_its_definition_says(pattern in "[abü*?\\\\]{0,9}", text in "[abü\\\\]{0,12}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), model(&p, &t));
        }

        #[test]
        fn never_panics(pattern in ".{0,20}", entry in ".{0,20}") {
            entry_allowed(&[pattern], &entry);
        }

        #[test]
        fn an_entry_that_is_its_own_pattern_is_allowed(entry in "[a-zA-Z0-9_\\\\:/-]{1,30}") {
            prop_assert!(entry_allowed(std::slice::from_ref(&entry), &entry));
        }
    }
}
