//! Which workers are meant: by id, name, namespace, `all`, `/regex/`.

use crate::processfile::nearest;
use crate::wire::request::{Target, Targets};

/// A worker as far as it can be named.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Named<'a> {
    pub id: u32,
    pub name: &'a str,
    pub namespace: &'a str,
}

/// The ids that are meant, each once, in the order of `workers`. The error says what was not found.
pub fn find(targets: &Targets, workers: &[Named<'_>]) -> Result<Vec<u32>, String> {
    let mut chosen = vec![false; workers.len()];
    for target in &targets.0 {
        let mut any = false;
        let mut choose = |matches: &dyn Fn(&Named<'_>) -> bool| {
            for (worker, chosen) in workers.iter().zip(&mut chosen) {
                if matches(worker) {
                    (*chosen, any) = (true, true);
                }
            }
        };
        match target {
            Target::All => choose(&|_| true),
            Target::Pattern(pattern) => choose(&|w| pattern.is_match(w.name)),
            Target::Word(word) if workers.iter().any(|w| w.name == word) => choose(&|w| w.name == word),
            Target::Word(word) => match word.parse::<u32>() {
                Ok(id) => choose(&|w| w.id == id),
                Err(_) => choose(&|w| w.namespace == word),
            },
        }
        if !any && !matches!(target, Target::All) {
            return Err(not_found(&target.to_string(), workers));
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
        find(&Targets(targets.iter().map(|text| Target::parse(text).unwrap()).collect()), &workers)
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
        assert!(of(&["web", "12"]).unwrap_err().contains("12"));
    }
}
