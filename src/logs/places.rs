//! Which files a stream goes to.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::file::FileConfig;
use super::stream::Kind;
use crate::processfile::{Format, Logs, Sink};
use crate::sys::users::Identity;

/// A pool's files: 10 MB, five before it, compressed.
const POOL_SIZE: u64 = 10_000_000;
const POOL_FILES: u32 = 5;

/// The files of a stream of instance `instance` of an app. Those in the daemon's own `folder` are the daemon's; others are
/// opened as `identity`.
pub fn of_app(
    logs: &Logs,
    name: &str,
    instance: u32,
    kind: Kind,
    folder: &Path,
    identity: Option<&Identity>,
) -> Vec<FileConfig> {
    let sink = match kind {
        Kind::Out => &logs.out,
        Kind::Err => &logs.error,
    };
    let own = match sink {
        Sink::Default => Some((default(folder, name, kind), None)),
        Sink::File(path) => Some((path.clone(), identity)),
        Sink::Off => None,
    };
    let both = match &logs.both {
        Sink::File(path) => Some((path.clone(), identity)),
        Sink::Default | Sink::Off => None,
    };
    let config = |(path, identity): (PathBuf, Option<&Identity>)| FileConfig {
        path: if logs.merge { path } else { numbered(&path, instance) }.into(),
        identity: identity.cloned().map(Box::new),
        max_size: logs.max_size,
        max_age: logs.max_age,
        max_files: logs.max_files,
        compress: logs.compress,
        json: logs.format == Format::Json,
    };
    let both = both.filter(|(path, _)| own.as_ref().is_none_or(|(other, _)| other != path));
    own.into_iter().chain(both).map(config).collect()
}

/// The file of a pool's stream.
pub fn of_pool(name: &str, kind: Kind, folder: &Path) -> FileConfig {
    FileConfig {
        path: default(folder, name, kind).into(),
        identity: None,
        max_size: Some(POOL_SIZE),
        max_age: None,
        max_files: POOL_FILES,
        compress: true,
        json: false,
    }
}

fn default(folder: &Path, name: &str, kind: Kind) -> PathBuf {
    let what = match kind {
        Kind::Out => "out",
        Kind::Err => "error",
    };
    folder.join(format!("{name}-{what}.log"))
}

/// `a/b-2.log` for instance 2 of `a/b.log`; instance 0 has the path itself. Devices are one for all.
fn numbered(path: &Path, instance: u32) -> PathBuf {
    if instance == 0 || path.starts_with("/dev") || path.starts_with("/proc") {
        return path.to_owned();
    }
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push(format!("-{instance}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs() -> Logs {
        Logs {
            out: Sink::Default,
            error: Sink::File("/l/e.log".into()),
            both: Sink::Default,
            merge: false,
            format: Format::Text,
            date: None,
            max_size: Some(5),
            max_age: None,
            max_files: 2,
            compress: true,
        }
    }

    fn paths(logs: &Logs, instance: u32, kind: Kind) -> Vec<String> {
        let all = of_app(logs, "a.b", instance, kind, Path::new("/d"), None);
        all.into_iter().map(|file| file.path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_instance_has_its_own_unless_they_are_merged() {
        assert_eq!(paths(&logs(), 0, Kind::Out), ["/d/a.b-out.log"]);
        assert_eq!(paths(&logs(), 2, Kind::Out), ["/d/a.b-out-2.log"]);
        assert_eq!(paths(&logs(), 1, Kind::Err), ["/l/e-1.log"]);
        assert_eq!(paths(&Logs { merge: true, ..logs() }, 1, Kind::Err), ["/l/e.log"]);
        let both = Logs { both: Sink::File("/l/e.log".into()), ..logs() };
        assert_eq!(paths(&both, 1, Kind::Out), ["/d/a.b-out-1.log", "/l/e-1.log"]);
        assert_eq!(paths(&both, 1, Kind::Err), ["/l/e-1.log"], "the same file once");
        let off = Logs { out: Sink::Off, error: Sink::File("/dev/stderr".into()), ..logs() };
        assert!(paths(&off, 0, Kind::Out).is_empty());
        assert_eq!(paths(&off, 7, Kind::Err), ["/dev/stderr"]);
    }
}
