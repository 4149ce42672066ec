//! Apps that wait for each other in a circle, and would never start.

use std::collections::HashMap;

use super::App;

/// The names of one circle of `depends_on`, each of which waits for the next and the last for the first. In time that
/// grows with the number of names alone: a file may have ten thousand apps.
pub fn circle<'a>(apps: &[&'a App]) -> Option<Vec<&'a str>> {
    let by_name: HashMap<&str, usize> = apps.iter().enumerate().map(|(at, app)| (app.name.as_str(), at)).collect();
    // Places of a walk from app to app: not reached, on the way, done.
    let mut seen = vec![None; apps.len()];
    for start in 0..apps.len() {
        // The way from `start`, with how many of each app's names have been followed.
        let mut way = vec![(start, 0)];
        while let Some((at, followed)) = way.last_mut() {
            let at = *at;
            if seen[at] == Some(true) {
                way.pop();
                continue;
            }
            seen[at] = Some(false);
            let Some(on) = apps[at].depends_on.get(*followed) else {
                seen[at] = Some(true);
                way.pop();
                continue;
            };
            *followed += 1;
            let Some(&next) = by_name.get(on.as_str()) else { continue };
            if seen[next] == Some(false) {
                let names = way.iter().skip_while(|(at, _)| *at != next).map(|(at, _)| apps[*at].name.as_str());
                return Some(names.collect());
            }
            way.push((next, 0));
        }
    }
    None
}

/// A circle as an error tells it.
pub fn told(names: &[&str]) -> String {
    format!("depends_on goes in a circle: {} → {}", names.join(" → "), names.first().unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    fn apps(depends: &[(String, Vec<String>)]) -> Vec<App> {
        let apps: Vec<_> = depends
            .iter()
            .map(|(name, on)| serde_json::json!({"name": name, "script": "/bin/true", "depends_on": on}))
            .collect();
        let text = serde_json::json!({ "apps": apps }).to_string();
        super::super::parse_apps(&text, Path::new("/"), &[]).unwrap().0
    }

    fn named(depends: &[(&str, &[&str])]) -> Option<String> {
        let owned = |(name, on): &(&str, &[&str])| ((*name).to_owned(), on.iter().map(|on| (*on).to_owned()).collect());
        let apps = apps(&depends.iter().map(owned).collect::<Vec<_>>());
        circle(&apps.iter().collect::<Vec<_>>()).map(|names| names.join(" "))
    }

    #[test]
    fn a_circle_is_named_and_those_that_only_lead_to_it_are_not() {
        let lead: &[(&str, &[&str])] =
            &[("a", &["b"]), ("b", &["free", "c"]), ("c", &["d"]), ("d", &["b"]), ("free", &["nobody"])];
        assert_eq!(named(lead).as_deref(), Some("b c d"));
        assert_eq!(named(&[("self", &["self"])]).as_deref(), Some("self"));
        assert_eq!(named(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d", "d"]), ("d", &[])]), None);
    }

    #[test]
    fn a_chain_of_ten_thousand_takes_no_time() {
        let name = |n: u32| format!("app{n}");
        let chain: Vec<_> =
            (0..10_000).map(|n| (name(n), if n < 9_999 { vec![name(n + 1)] } else { vec![] })).collect();
        let apps = apps(&chain);
        let apps: Vec<&App> = apps.iter().collect();
        let began = Instant::now();
        assert_eq!(circle(&apps), None);
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}
