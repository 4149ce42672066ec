//! The command line as a whole, and a run's status to show.

use super::*;
use crate::wire::status::Status;

/// A status of which only what a test is about is said.
pub fn status(known: &str) -> Status<'static> {
    let mut all = serde_json::json!({
        "id": "r1", "pool": "billing", "entry": "E", "state": "queued", "pid": null, "generation": null,
        "exit_code": null, "signal": null, "signal_name": null, "core_dumped": null, "timed_out": false,
        "result": null, "error": null, "stdout": null, "stderr": null, "queued_at": null,
        "started_at": null, "ended_at": null, "usage": null
    });
    let known: serde_json::Map<String, serde_json::Value> = serde_json::from_str(known).unwrap();
    for (key, value) in known {
        all[key] = value;
    }
    serde_json::from_str(&all.to_string()).unwrap()
}

fn refused(arguments: &[&str]) -> clap::Error {
    Cli::try_parse_from(["preforkd"].iter().chain(arguments)).unwrap_err()
}

#[test]
fn clap_finds_no_contradiction() {
    Cli::command().debug_assert();
}

#[test]
fn dir_and_json_may_stand_before_and_after_the_subcommand() {
    for arguments in [["--dir", "/d", "--json", "list"], ["list", "--json", "--dir", "/d"]] {
        let cli = Cli::try_parse_from(["preforkd"].iter().chain(&arguments)).unwrap();
        assert!(cli.wants_json());
        assert_eq!(cli.global.dir.as_deref(), Some(std::path::Path::new("/d")));
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_0() {
    for arguments in [
        &["run"][..],
        &["run", "billing"],
        &["wait", "a", "--timeout", "soon"],
        &["kill", "a", "--signal", "FOO"],
        &["runs", "--state", "done"],
        &["runs", "--limit", "0"],
        &["list", "extra"],
        &["completions", "tcsh"],
    ] {
        assert_eq!(refused(arguments).exit_code(), 2, "{arguments:?}");
    }
    assert_eq!(refused(&["--help"]).exit_code(), 0);
}

#[test]
fn every_subcommand_says_what_it_does_in_one_line() {
    for subcommand in described().get_subcommands() {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        assert!((10..=90).contains(&about.len()), "{}: {about:?}", subcommand.get_name());
        assert!(!about.contains('\n'), "{}", subcommand.get_name());
    }
}

#[test]
fn the_list_of_commands_describes_them_and_only_the_one_that_is_asked_for_is_built() {
    let help = read(&["preforkd".into(), "--help".into()]).unwrap_err().to_string();
    assert!(help.contains("  status "), "{help}");
    for subcommand in described().get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(
            !about.is_empty() && help.contains(about.split_once('(').map_or(&*about, |(start, _)| start)),
            "{about}"
        );
    }
    let lazy = Cli::command();
    let built = |name| lazy.find_subcommand(name).unwrap().get_arguments().count();
    assert_eq!((built("run"), built("status")), (0, 0));
}
