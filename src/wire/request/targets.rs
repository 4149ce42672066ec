//! Which apps, workers and pools a request is about.

use std::fmt;

use regex::Regex;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// The longest pattern, in bytes of its compiled form.
const PATTERN: usize = 1 << 20;

/// One of them, as pm2's users write it.
#[derive(Debug, Clone)]
pub enum Target {
    /// `all`
    All,
    /// `/REGEX/`, somewhere in a name.
    Pattern(Regex),
    /// A name, a namespace, or, if it is a number, a worker's id.
    Word(String),
}

/// A text, a number, or a list of those; never empty.
#[derive(Debug, Clone)]
pub struct Targets(pub Vec<Target>);

impl Target {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with the pattern, or that there is nothing.
    pub fn parse(text: &str) -> Result<Target, String> {
        if text == "all" {
            return Ok(Target::All);
        }
        if let Some(pattern) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            let built = regex::RegexBuilder::new(pattern).size_limit(PATTERN).build();
            return built.map(Target::Pattern).map_err(|e| format!("{text} is not a regular expression: {e}"));
        }
        if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Target::Word(text.to_owned())) }
    }

    /// Whether it means that one.
    pub fn matches(&self, name: &str, namespace: Option<&str>, id: Option<u32>) -> bool {
        match self {
            Target::All => true,
            Target::Pattern(pattern) => pattern.is_match(name),
            Target::Word(word) => {
                word == name || Some(&**word) == namespace || id.is_some_and(|id| word.parse() == Ok(id))
            }
        }
    }
}

impl Targets {
    /// Whether one of them means that one.
    pub fn matches(&self, name: &str, namespace: Option<&str>, id: Option<u32>) -> bool {
        self.0.iter().any(|target| target.matches(name, namespace, id))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::All => f.write_str("all"),
            Target::Pattern(pattern) => write!(f, "/{pattern}/"),
            Target::Word(word) => f.write_str(word),
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, target) in self.0.iter().enumerate() {
            write!(f, "{}{target}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyTarget)
    }
}

/// One, or several.
struct AnyTarget;

impl<'de> Visitor<'de> for AnyTarget {
    type Value = Targets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id, a name, a namespace, \"all\", \"/regex/\", or a list of those")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Targets, E> {
        Target::parse(text).map(|target| Targets(vec![target])).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<Targets, E> {
        Ok(Targets(vec![Target::Word(id.to_string())]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Targets, A::Error> {
        let mut all = Vec::new();
        while let Some(Targets(mut one)) = list.next_element()? {
            all.append(&mut one);
        }
        if all.is_empty() { Err(de::Error::custom("the list is empty")) } else { Ok(Targets(all)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matching(text: &str) -> Vec<&'static str> {
        let targets: Targets = serde_json::from_str(text).unwrap();
        let all = [
            ("web", Some("shop"), Some(1)),
            ("worker", Some("default"), Some(2)),
            ("2", Some("default"), Some(3)),
            ("pool", None, None),
        ];
        all.into_iter().filter(|(name, space, id)| targets.matches(name, *space, *id)).map(|(name, ..)| name).collect()
    }

    #[test]
    fn ids_names_namespaces_patterns_and_lists_of_them() {
        assert_eq!(matching("1"), ["web"]);
        assert_eq!(matching("\"2\""), ["worker", "2"]);
        assert_eq!(matching("\"shop\""), ["web"]);
        assert_eq!(matching("\"all\"").len(), 4);
        assert_eq!(matching("\"/^wo/\""), ["worker"]);
        assert_eq!(matching("[\"pool\", 1]"), ["web", "pool"]);
        assert!(matching("\"nobody\"").is_empty());
    }

    #[test]
    fn what_is_no_target_is_told() {
        for (text, why) in [
            ("\"/(/\"", "not a regular expression"),
            ("[]", "empty"),
            ("\"\"", "empty"),
            ("-1", "an id"),
            ("{}", "an id"),
        ] {
            let error = serde_json::from_str::<Targets>(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
