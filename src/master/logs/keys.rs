//! What a stream is called, here and in the keeper's store.

use std::rc::Rc;

use crate::logs::Kind;

/// Names one stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey {
    /// The app or pool.
    pub name: Rc<str>,
    /// Which instance of the app; None: a pool.
    pub instance: Option<u32>,
    /// Which of the two.
    pub kind: Kind,
}

impl StreamKey {
    /// `log/NAME/0/out`, `log/NAME/pool/err`.
    pub fn store_name(&self) -> String {
        let (name, kind) = (&self.name, self.kind.as_str());
        match self.instance {
            Some(instance) => format!("log/{name}/{instance}/{kind}"),
            None => format!("log/{name}/pool/{kind}"),
        }
    }

    /// From such a name.
    pub fn stored(name: &str) -> Option<StreamKey> {
        let parts: Vec<&str> = name.split('/').collect();
        let &["log", name, instance, kind] = &parts[..] else { return None };
        let instance = if instance == "pool" { None } else { Some(instance.parse().ok()?) };
        let kind = [Kind::Out, Kind::Err].into_iter().find(|k| k.as_str() == kind)?;
        Some(StreamKey { name: name.into(), instance, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_the_store_and_back() {
        for (instance, name) in [(None, "log/a.b/pool/err"), (Some(12), "log/a.b/12/err")] {
            let key = StreamKey { name: "a.b".into(), instance, kind: Kind::Err };
            assert_eq!(key.store_name(), name);
            assert_eq!(StreamKey::stored(name), Some(key));
        }
        for other in ["log/a/x/out", "log/a/1/both", "log/a/1", "capture/1/out"] {
            assert_eq!(StreamKey::stored(other), None);
        }
    }
}
