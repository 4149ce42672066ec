//! How many instances, and what each of them finds in its environment.

use std::collections::{BTreeMap, HashSet};

use crate::processfile::{App, Inherit, Instances, Program};

/// The most instances of one app.
pub const MOST: u32 = 10_000;

/// What a process gets of the caller's environment at least: without these most programs are lost.
const LEAST: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "TERM"];
/// Variables that were meant for us, or for one process alone.
const OURS: [&str; 7] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NODE_CHANNEL_FD"];

/// How many instances an app has, with so many processors, which are only asked for where it matters.
pub fn count(app: &App, processors: impl FnOnce() -> u32) -> u32 {
    if let Program::Pool { params_each: Some(each), .. } = &app.program {
        return each.len() as u32;
    }
    match app.instances {
        Instances::Fixed(count) => count.clamp(1, MOST),
        Instances::Processors { less } => processors().saturating_sub(less).max(1),
    }
}

/// `5`, `+2`, `-1`: the number that is wanted after `now`.
pub fn scale(text: &str, now: u32) -> Result<u32, String> {
    let wrong = || format!("\"{text}\" is no number of instances: give 5, +2 or -1");
    let number = |digits: &str| {
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        digits.parse::<u32>().map_err(|_| wrong())
    };
    let wanted = match text.split_at_checked(1) {
        Some(("+", more)) => now.saturating_add(number(more)?),
        Some(("-", fewer)) => now.saturating_sub(number(fewer)?),
        _ => number(text)?,
    };
    match wanted {
        0 => Err("an app has at least 1 instance: `stop` or `delete` it instead".to_owned()),
        1..=MOST => Ok(wanted),
        _ => Err(format!("an app has at most {MOST} instances")),
    }
}

/// Numbers for `count` new instances beside those that are `taken`: the lowest that are free, as pm2 gives them.
pub fn free_numbers(taken: impl IntoIterator<Item = u32>, count: usize) -> Vec<u32> {
    let taken: HashSet<u32> = taken.into_iter().collect();
    (0..).filter(|number| !taken.contains(number)).take(count).collect()
}

/// The environment of instance `instance`: the caller's as far as it is inherited, the declared one over it, and
/// what tells it which instance it is.
pub fn environment(app: &App, caller: &BTreeMap<String, String>, id: u32, instance: u32) -> BTreeMap<String, String> {
    let inherited = |name: &str| {
        let allowed = match &app.inherit_env {
            Inherit::All => !app.filter_env.iter().any(|prefix| name.starts_with(prefix.as_str())),
            Inherit::Least => LEAST.contains(&name) || name.starts_with("LC_"),
            Inherit::Names(names) => names.iter().any(|n| n == name),
        };
        let ours = OURS.contains(&name) || name.starts_with("PREFORKD_") && name != "PREFORKD_DIR";
        allowed && !ours
    };
    let mut env: BTreeMap<String, String> =
        caller.iter().filter(|(name, _)| inherited(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
    env.extend(app.env.iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
    if let Some(name) = &app.increment_var {
        let first = env.get(name).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
        env.insert(name.clone(), first.saturating_add(instance.into()).to_string());
    }
    env.insert(app.instance_var.clone().into_owned(), instance.to_string());
    env.insert("PREFORKD_INSTANCE".to_owned(), instance.to_string());
    env.insert("PREFORKD_NAME".to_owned(), app.name.clone());
    env.insert("PREFORKD_WORKER".to_owned(), id.to_string());
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(text: &str) -> App {
        let known = ["pool"];
        let text = format!("{{\"apps\": [{text}]}}");
        let (mut apps, _) = crate::processfile::parse_apps(&text, std::path::Path::new("/"), &known).unwrap();
        apps.remove(0)
    }

    #[test]
    fn how_many() {
        for (instances, processors, expected) in
            [("3", 8, 3), ("0", 8, 8), ("\"max\"", 8, 8), ("-1", 8, 7), ("-8", 8, 1), ("-20", 8, 1), ("0", 0, 1)]
        {
            let app = app(&format!("{{\"name\": \"a\", \"script\": \"/bin/true\", \"instances\": {instances}}}"));
            assert_eq!(count(&app, || processors), expected, "{instances} with {processors}");
        }
        let each = app(r#"{"name": "a", "pool": "pool", "entry": "E", "params_each": [1, 2, 3]}"#);
        assert_eq!(count(&each, || 8), 3);
    }

    #[test]
    fn a_number_to_scale_to() {
        let good = [("5", 5), ("+2", 5), ("-2", 1), ("10000", MOST), ("+0", 3)];
        good.iter().for_each(|(text, wanted)| assert_eq!(scale(text, 3).as_ref(), Ok(wanted), "{text}"));
        let bad = [
            ("0", "`stop` or `delete`"),
            ("-3", "`stop` or `delete`"),
            ("-4000000000", "`stop` or `delete`"),
            ("10001", "at most 10000"),
            ("+4294967295", "at most 10000"),
            ("99999999999", "give 5, +2 or -1"),
            ("", "give 5, +2 or -1"),
            ("+", "give 5, +2 or -1"),
            ("+-1", "give 5, +2 or -1"),
            (" 5", "give 5, +2 or -1"),
            ("ä", "give 5, +2 or -1"),
        ];
        bad.iter().for_each(|(text, why)| assert!(scale(text, 3).unwrap_err().contains(why), "{text}"));
    }

    #[test]
    fn a_new_instance_gets_the_lowest_number_that_is_free() {
        assert_eq!(free_numbers([], 3), [0, 1, 2]);
        assert_eq!(free_numbers([4, 0, 2], 4), [1, 3, 5, 6]);
        assert!(free_numbers([1], 0).is_empty());
        assert_eq!(free_numbers((0..MOST).filter(|n| *n != 77), 2), [77, MOST]);
    }

    /// Which of the caller's variables an instance sees.
    fn inherited(keys: &str, caller: &[&str]) -> Vec<String> {
        let caller = caller.iter().map(|name| ((*name).to_owned(), "theirs".to_owned())).collect();
        let env = environment(&app(&format!("{{\"name\": \"a\", \"script\": \"/bin/true\"{keys}}}")), &caller, 7, 2);
        env.into_iter().filter(|(_, value)| value == "theirs").map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_inherited() {
        let caller = ["PATH", "LC_ALL", "SECRET", "SECRETS", "A"];
        assert_eq!(inherited("", &caller), ["A", "LC_ALL", "PATH", "SECRET", "SECRETS"]);
        assert_eq!(inherited(", \"filter_env\": [\"SECRET\"]", &caller), ["A", "LC_ALL", "PATH"]);
        assert_eq!(inherited(", \"inherit_env\": false", &caller), ["LC_ALL", "PATH"]);
        assert_eq!(inherited(", \"inherit_env\": [\"A\", \"B\"]", &caller), ["A"]);
        assert_eq!(inherited(", \"env\": {\"A\": \"ours\"}", &["A", "B"]), ["B"], "what is declared wins");
        // Those tell of the daemon's or the caller's own sockets, and would mislead.
        assert!(
            inherited("", &["LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "NODE_CHANNEL_FD", "PREFORKD_NAME"])
                .is_empty()
        );
    }

    #[test]
    fn what_an_instance_is_told_of_itself() {
        let app = app(
            r#"{"name": "a", "script": "/bin/true", "env": {"PORT": "8000"}, "increment_var": "PORT", "instance_var": "N"}"#,
        );
        let env = environment(&app, &BTreeMap::new(), 7, 2);
        let told = [
            ("PORT", "8002"),
            ("N", "2"),
            ("PREFORKD_INSTANCE", "2"),
            ("PREFORKD_NAME", "a"),
            ("PREFORKD_WORKER", "7"),
        ];
        assert_eq!(env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<BTreeMap<_, _>>(), told.into());
    }
}
