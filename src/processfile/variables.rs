//! Variables of an environment that is kept for long.

use std::collections::BTreeMap;

/// By name, in as little room as they take: a daemon keeps them for each app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(Box<[(Box<str>, Box<str>)]>);

impl Variables {
    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of this one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// These, with `over` over them.
    pub fn merged(&self, over: &BTreeMap<String, String>) -> Variables {
        let own = self.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut all: BTreeMap<String, String> = own.collect();
        all.extend(over.clone());
        all.into()
    }
}

impl From<BTreeMap<String, String>> for Variables {
    fn from(variables: BTreeMap<String, String>) -> Variables {
        Variables(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_by_name_and_merged() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let variables = Variables::from(map(&[("B", "2"), ("A", "1"), ("C", "")]));
        assert_eq!((variables.get("A"), variables.get("C"), variables.get("D")), (Some("1"), Some(""), None));
        assert_eq!(variables.iter().collect::<Vec<_>>(), [("A", "1"), ("B", "2"), ("C", "")]);
        let merged = variables.merged(&map(&[("B", "3"), ("D", "4")]));
        assert_eq!(merged.iter().collect::<Vec<_>>(), [("A", "1"), ("B", "3"), ("C", ""), ("D", "4")]);
        assert_eq!(Variables::default().get("A"), None);
    }
}
