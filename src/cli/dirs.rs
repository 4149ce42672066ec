//! Which folders a command means: `--dir`, else the ones the system has for this user.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Error;
use crate::settings::Dirs;
use crate::sys::process::effective_uid;

/// `sun_path` has 108 bytes, the last one a NUL (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

/// The folders for `--dir` or, without it, the defaults of whoever asks.
pub fn resolve(dir: Option<&Path>) -> Result<Dirs, Error> {
    let dirs = match dir {
        Some(dir) => {
            let dir = std::path::absolute(dir)
                .map_err(|error| Error::Usage(format!("--dir {}: cannot make it absolute: {error}", dir.display())))?;
            Dirs { runtime: dir.clone(), state: dir }
        }
        None => defaults(effective_uid() == 0, |name| std::env::var_os(name))?,
    };
    check_socket_path(&dirs)?;
    Ok(dirs)
}

fn defaults(root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Result<Dirs, Error> {
    if root {
        return Ok(Dirs { runtime: "/run/preforkd".into(), state: "/var/lib/preforkd".into() });
    }
    // The XDG Base Directory Specification: a relative path counts as not set.
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            Error::Usage(
                "no folder to work in: neither XDG_STATE_HOME nor HOME is set to an absolute path; \
                 give --dir DIR or set PREFORKD_DIR"
                    .into(),
            )
        })?
        .join("preforkd");
    let runtime = match folder("XDG_RUNTIME_DIR") {
        Some(runtime) => runtime.join("preforkd"),
        None => state.join("run"),
    };
    Ok(Dirs { runtime, state })
}

fn check_socket_path(dirs: &Dirs) -> Result<(), Error> {
    let socket = dirs.socket();
    let length = socket.as_os_str().as_bytes().len();
    if length <= SOCKET_PATH_MAX {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "the socket's path {} has {length} bytes, a Unix socket's may have {SOCKET_PATH_MAX}: choose a shorter --dir",
        socket.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    #[test]
    fn a_given_folder_is_both() {
        let dirs = resolve(Some(Path::new("relative"))).unwrap();
        assert!(dirs.runtime.is_absolute());
        assert_eq!(dirs.runtime, dirs.state);
        assert!(dirs.socket().ends_with("relative/preforkd.sock"));
    }

    #[test]
    fn root_has_the_system_folders_even_with_xdg_set() {
        let dirs = defaults(true, with(&[("XDG_RUNTIME_DIR", "/run/user/0"), ("HOME", "/root")])).unwrap();
        assert_eq!(dirs.socket(), Path::new("/run/preforkd/preforkd.sock"));
        assert_eq!(dirs.journal(), Path::new("/var/lib/preforkd/journal"));
    }

    #[test]
    fn a_user_has_the_xdg_folders() {
        let dirs =
            defaults(false, with(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("XDG_STATE_HOME", "/state"), ("HOME", "/h")]))
                .unwrap();
        assert_eq!(dirs.runtime, Path::new("/run/user/7/preforkd"));
        assert_eq!(dirs.state, Path::new("/state/preforkd"));
    }

    #[test]
    fn without_xdg_all_is_below_home() {
        let dirs = defaults(false, with(&[("XDG_RUNTIME_DIR", "not/absolute"), ("HOME", "/h")])).unwrap();
        assert_eq!(dirs.state, Path::new("/h/.local/state/preforkd"));
        assert_eq!(dirs.runtime, Path::new("/h/.local/state/preforkd/run"));
    }

    #[test]
    fn without_home_the_error_names_the_way_out() {
        let error = defaults(false, with(&[])).unwrap_err();
        assert!(error.to_string().contains("--dir"), "{error}");
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_refused() {
        let long = format!("/{}", "d".repeat(120));
        let error = resolve(Some(Path::new(&long))).unwrap_err();
        assert!(matches!(error, Error::Usage(_)));
        assert!(error.to_string().contains("107"), "{error}");
    }
}
