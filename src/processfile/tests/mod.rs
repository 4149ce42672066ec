//! Process files good and bad, in a folder of their own.

mod apps;
mod bad;
mod damaged;
mod good;
mod schema;
mod size;

use super::{Errors, ProcessFile, parse};

/// A folder with what the files under test name: `bootstrap.php`, `bin/tool` (executable),
/// `bin/text` (not), `app/` (a folder).
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        std::fs::create_dir(path.join("app")).unwrap();
        std::fs::create_dir(path.join("bin")).unwrap();
        for file in ["bootstrap.php", "bin/tool", "bin/text"] {
            std::fs::write(path.join(file), "").unwrap();
        }
        std::fs::set_permissions(path.join("bin/tool"), PermissionsExt::from_mode(0o755)).unwrap();
        Place(dir)
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    fn parse(&self, text: &str) -> Result<ProcessFile, Errors> {
        parse(text, &self.path().join("f"))
    }

    /// What is said of a bad file, with `f` for the file and `DIR` for its folder.
    fn errors(&self, text: &str) -> String {
        let dir = self.path().to_str().unwrap();
        let errors = self.parse(text).expect_err(text).to_string();
        errors.replace(&format!("{dir}/f:"), "f:").replace(dir, "DIR")
    }

    /// What is said of the only pool, whose further keys stand alone in line 2.
    fn pool_errors(&self, keys: &str) -> String {
        self.errors(&format!("{{pools: [{{ name: \"a\", runtime: \"php\",\n{keys}\n}}]}}"))
    }
}
