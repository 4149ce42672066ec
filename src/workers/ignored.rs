//! Files whose changes do not count for a `watch`.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::processfile::Watch;

/// Folders of dependencies and caches.
const NAMES: [&str; 2] = ["node_modules", "__pycache__"];
/// Compiled files, and what editors write beside the file that is edited.
const ENDINGS: [&str; 5] = [".pyc", ".pyo", ".swp", ".swx", "~"];
/// Vim makes a file of this name to see whether it may.
const VIM_PROBE: &str = "4913";

/// What of some roots counts.
#[derive(Debug)]
pub struct Ignored {
    roots: Vec<PathBuf>,
    globs: GlobSet,
    /// Files and folders that are the supervisor's to write; files with what follows the name when they are rotated.
    own: Vec<PathBuf>,
}

impl Ignored {
    /// As a process file has it; `own` are logs and the like, which may lie in a watched folder. Beside it, patterns that are none.
    pub fn new(watch: &Watch, own: Vec<PathBuf>) -> (Ignored, Vec<String>) {
        let mut globs = GlobSetBuilder::new();
        let mut faults = Vec::new();
        for pattern in &watch.ignore {
            let plain = pattern.strip_prefix("./").unwrap_or(pattern).trim_end_matches('/');
            match GlobBuilder::new(plain).literal_separator(true).build() {
                Ok(glob) => drop(globs.add(glob)),
                Err(e) => faults.push(format!("ignore_watch \"{pattern}\": {e}")),
            }
        }
        let globs = globs.build().unwrap_or_else(|e| {
            faults.push(format!("ignore_watch: {e}"));
            GlobSet::empty()
        });
        (Ignored { roots: watch.paths.clone(), globs, own }, faults)
    }

    /// Whether a change of this file, or below this folder, counts.
    pub fn counts(&self, path: &Path) -> bool {
        // A root may be named anything, and lie anywhere.
        let Some(root) =
            self.roots.iter().filter(|root| path.starts_with(root)).max_by_key(|root| root.as_os_str().len())
        else {
            return false;
        };
        let below = path.strip_prefix(root).unwrap_or(path);
        if below.as_os_str().is_empty() {
            return true;
        }
        !self.is_own(path) && !below.ancestors().any(|part| self.is_ignored(root, part))
    }

    fn is_ignored(&self, root: &Path, part: &Path) -> bool {
        let Some(Component::Normal(name)) = part.components().next_back() else { return false };
        let text = name.to_string_lossy();
        text.starts_with('.')
            || text == VIM_PROBE
            || NAMES.contains(&&*text)
            || ENDINGS.iter().any(|ending| text.ends_with(ending))
            || text.starts_with('#') && text.ends_with('#')
            || self.globs.is_match(name)
            || self.globs.is_match(part)
            || self.globs.is_match(root.join(part))
    }

    /// `out.log`, and `out.log.1.gz`.
    fn is_own(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.own.iter().any(|own| {
            let file = own.file_name().unwrap_or_default().to_string_lossy();
            path.starts_with(own)
                || own.parent() == path.parent()
                    && name.strip_prefix(&*file).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_counts_and_what_does_not() {
        let watch = Watch {
            paths: vec!["/srv/.hidden/app".into(), "/srv/one.php".into()],
            ignore: ["./logs/", "*.tmp", "src/**/gen", "/srv/.hidden/app/data/*.db", "[bad"]
                .map(str::to_owned)
                .to_vec(),
            delay: Duration::from_secs(1),
        };
        let own = vec!["/srv/.hidden/app/out.log".into(), "/srv/.hidden/app/state".into()];
        let (ignored, faults) = Ignored::new(&watch, own);
        assert!(faults.len() == 1 && faults[0].contains("[bad"), "{faults:?}");
        let counts = |path: &str| ignored.counts(Path::new(path));
        for path in ["", "/a.php", "/src/gens/a", "/deep/er/x.py", "/outlog", "/data/x/y.db"] {
            assert!(counts(&format!("/srv/.hidden/app{path}")), "{path}");
        }
        assert!(counts("/srv/one.php"));
        let none = [
            "/.git/index",
            "/a/.env",
            "/node_modules/x/y.js",
            "/a/__pycache__/b",
            "/x.pyc",
            "/.a.php.swp",
            "/a.php~",
            "/4913",
            "/#a.php#",
            "/logs",
            "/logs/a",
            "/deep/logs/a",
            "/x.tmp",
            "/a/b.tmp",
            "/src/gen/x",
            "/src/a/b/gen/x",
            "/data/x.db",
            "/out.log",
            "/out.log.1.gz",
        ];
        for path in none {
            assert!(!counts(&format!("/srv/.hidden/app{path}")), "{path}");
        }
        assert!(!counts("/srv/two.php") && !counts("/elsewhere"));
    }
}
