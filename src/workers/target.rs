//! Which workers are meant: by id, name, namespace, `all`, `/regex/`.

use regex::RegexBuilder;

use crate::processfile::nearest;

/// The largest compiled regular expression, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// A worker as far as it can be named.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Named<'a> {
    pub id: u32,
    pub name: &'a str,
    pub namespace: &'a str,
}

/// The ids that are meant, each once, in the order of `workers`. The error says what was not found.
pub fn find(targets: &[String], workers: &[Named<'_>]) -> Result<Vec<u32>, String> {
    let mut chosen = vec![false; workers.len()];
    for target in targets {
        let mut any = false;
        let mut choose = |matches: &dyn Fn(&Named<'_>) -> bool| {
            for (worker, chosen) in workers.iter().zip(&mut chosen) {
                if matches(worker) {
                    (*chosen, any) = (true, true);
                }
            }
        };
        if target == "all" {
            choose(&|_| true);
        } else if let Some(pattern) = target.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES).build();
            let regex = regex.map_err(|e| format!("\"{target}\" is no regular expression: {e}"))?;
            choose(&|w| regex.is_match(w.name));
        } else if workers.iter().any(|w| w.name == target) {
            choose(&|w| w.name == target);
        } else if let Ok(id) = target.parse::<u32>() {
            choose(&|w| w.id == id);
        } else {
            choose(&|w| w.namespace == target);
        }

        if !any {
            return Err(not_found(target, workers));
        }
    }
    Ok(workers.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(w, _)| w.id).collect())
}

fn not_found(target: &str, workers: &[Named<'_>]) -> String {
    let names = workers.iter().flat_map(|w| [w.name, w.namespace]).chain(["all"]);
    match nearest(target, names) {
        _ if workers.is_empty() => format!("there is no app \"{target}\": there are no apps"),
        Some(near) => format!("there is no app \"{target}\"; did you mean \"{near}\"?"),
        None => format!("there is no app \"{target}\": name one by id, name, namespace, all or /regex/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(targets: &[&str]) -> Result<Vec<u32>, String> {
        let worker = |(id, (name, namespace))| Named { id, name, namespace };
        let names = [("web", "shop"), ("web", "shop"), ("mail", "shop"), ("7", "other"), ("shop", "other")];
        let workers: Vec<Named<'_>> = (0..).zip(names).map(worker).collect();
        let targets: Vec<String> = targets.iter().map(|t| (*t).to_owned()).collect();
        find(&targets, &workers)
    }

    #[test]
    fn each_way_to_name_a_worker() {
        assert_eq!(of(&["web"]).unwrap(), [0, 1]);
        assert_eq!(of(&["2", "web"]).unwrap(), [0, 1, 2]);
        assert_eq!(of(&["7"]).unwrap(), [3], "a name wins over an id");
        assert_eq!(of(&["shop"]).unwrap(), [4], "a name wins over a namespace");
        assert_eq!(of(&["other"]).unwrap(), [3, 4]);
        assert_eq!(of(&["all"]).unwrap().len(), 5);
        assert_eq!(of(&["/^m|w/"]).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn what_is_not_found_is_named_with_the_nearest() {
        assert!(of(&["wbe"]).unwrap_err().contains("\"web\""));
        assert!(of(&["/(/"]).unwrap_err().contains("regular expression"));
        assert!(of(&["web", "12"]).unwrap_err().contains("12"));
    }
}
