//! The text of units, and systemctl as a script that notes what it is told.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn unit(user: Option<&str>, dir: Option<&str>, system: bool, folder: &Path) -> Unit {
    Unit {
        program: "/opt/my tools/preforkd".into(),
        path: "/opt/100%/bin:/usr/bin".into(),
        dir: dir.map(PathBuf::from),
        user: user.map(str::to_owned),
        system,
        folder: folder.to_owned(),
    }
}

#[test]
fn the_unit_is_notified_of_readiness_and_stops_in_order() {
    let text = unit(None, None, true, Path::new("/x")).text();
    for line in [
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "KillMode=mixed",
        "OOMPolicy=continue",
        "ExecStart=\"/opt/my tools/preforkd\" serve",
        "Environment=\"PATH=/opt/100%%/bin:/usr/bin\"",
        "StateDirectory=preforkd",
        "WantedBy=multi-user.target",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("User=") && !text.contains("NoNewPrivileges"), "{text}");
}

#[test]
fn the_hardening_of_a_users_unit_lets_setuid_programs_be() {
    let text = unit(Some("www"), Some("/var/lib/preforkd-www"), true, Path::new("/x")).text();
    assert!(text.contains("User=www\n") && text.contains("StateDirectory=preforkd-www\n"), "{text}");
    assert!(text.contains("serve --dir \"/var/lib/preforkd-www\"\n"), "{text}");
    assert!(!text.contains("LockPersonality") && !text.contains("ProtectKernelModules"), "{text}");
    let own = unit(None, None, false, Path::new("/x")).text();
    assert!(own.contains("WantedBy=default.target") && !own.contains("Protect"), "{own}");
}

#[test]
fn it_is_installed_and_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let systemctl = folder.path().join("systemctl");
    fs::write(&systemctl, format!("#!/bin/sh\necho \"$@\" >> {}\n", said.display())).unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let unit = unit(None, None, false, &folder.path().join("systemd/user"));
    assert!(!unit.uninstall(systemctl.as_os_str()).unwrap());
    unit.install(systemctl.as_os_str()).unwrap();
    assert_eq!(fs::read_to_string(unit.file()).unwrap(), unit.text());
    assert!(unit.uninstall(systemctl.as_os_str()).unwrap() && !unit.file().exists());
    let expected = "--user daemon-reload\n--user enable preforkd.service\n\
                    --user disable preforkd.service\n--user daemon-reload\n";
    assert_eq!(fs::read_to_string(said).unwrap(), expected);
}

#[test]
fn what_systemctl_says_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let systemctl = folder.path().join("systemctl");
    fs::write(&systemctl, "#!/bin/sh\necho 'no bus' >&2\nexit 3\n").unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let error = unit(None, None, true, folder.path()).install(systemctl.as_os_str()).unwrap_err();
    assert!(error.to_string().contains("no bus"), "{error}");
}
