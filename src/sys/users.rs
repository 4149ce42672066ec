//! Users and groups by name, resolved before a process is made.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

pub use super::acting::acting_as;

/// What a process becomes: ids and supplementary groups, all resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    /// Home directory and login name, for HOME, USER and LOGNAME.
    pub home: Option<(String, String)>,
}

impl Identity {
    /// The number of the user.
    pub fn uid(&self) -> u32 {
        self.uid
    }
}

/// Resolves `user` and `group` (names or numbers). A group alone keeps the user; a user alone brings its own groups.
/// None when nothing was asked for, or when it is what we already are.
pub fn resolve(user: Option<&str>, group: Option<&str>) -> io::Result<Option<Identity>> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let unknown = |what: &str, name: &str| {
        io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} \"{name}\" on this machine"))
    };
    let account = match user {
        None => User::from_uid(Uid::effective())?,
        Some(name) => match User::from_name(name)? {
            Some(user) => Some(user),
            None => match name.parse() {
                Ok(uid) => User::from_uid(Uid::from_raw(uid))?,
                Err(_) => None,
            },
        },
    };
    let account = account.ok_or_else(|| unknown("user", user.unwrap_or("(our own)")))?;
    let gid = match group {
        None => account.gid,
        Some(name) => match Group::from_name(name)? {
            Some(group) => group.gid,
            None => name.parse().map(Gid::from_raw).map_err(|_| unknown("group", name))?,
        },
    };
    let name = CString::new(account.name.clone())?;
    let groups: Vec<u32> = getgrouplist(&name, gid)?.into_iter().map(Gid::as_raw).collect();
    let same = account.uid == Uid::effective() && gid == Gid::effective();
    if same {
        return Ok(None);
    }
    if !Uid::effective().is_root() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "only root can start processes as another user (\"{}\"); run preforkd as root, or as that user",
                account.name
            ),
        ));
    }
    let home = account.dir.to_string_lossy().into_owned();
    Ok(Some(Identity { uid: account.uid.as_raw(), gid: gid.as_raw(), groups, home: Some((home, account.name)) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_strangers() {
        assert_eq!(resolve(None, None).unwrap(), None);
        assert!(resolve(Some("no-such-user-here"), None).unwrap_err().to_string().contains("no-such-user-here"));
        if Uid::effective().is_root() {
            let nobody = resolve(Some("nobody"), None).unwrap().unwrap();
            assert_eq!(resolve(Some(&nobody.uid.to_string()), None).unwrap().unwrap(), nobody);
            assert_eq!(resolve(Some("root"), None).unwrap(), None);
        }
    }
}
