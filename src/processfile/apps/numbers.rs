//! Values of one key alone: instances, exit codes, signals, masks, users.

use super::super::app::{Inherit, Instances};
use super::super::error::{At, Report};
use super::super::parts::account;
use super::super::tree::{Node, Quoted, Value};
use super::super::values::{text, whole};
use super::program::words;

pub(super) fn inherit(node: &Node, at: &At, report: &mut Report) -> Option<Inherit> {
    match node.value {
        Value::Bool(true) => Some(Inherit::All),
        Value::Bool(false) => Some(Inherit::Least),
        _ => words(node, at, report, "true, false or names of variables").map(Inherit::Names),
    }
}

pub(super) fn variable(node: &Node, at: &At, report: &mut Report) -> Option<String> {
    let name = text(node, at, report, "the name of a variable", 255)?;
    if name.contains('=') {
        report.add((node.line, node.column), at, || format!("expected the name of a variable, found {}", Quoted(name)));
        return None;
    }
    Some(name.to_owned())
}

pub(super) fn instances(node: &Node, at: &At, report: &mut Report) -> Option<Instances> {
    let number: Option<i64> = match &node.value {
        Value::Text(text) if text == "max" => Some(0),
        Value::Text(text) | Value::Number(text) => text.parse().ok(),
        _ => None,
    };
    match number {
        Some(count @ 1..=10_000) => Some(Instances::Fixed(count as u32)),
        Some(less @ -1024..=0) => Some(Instances::Processors { less: less.unsigned_abs() as u32 }),
        _ => {
            let message = || {
                format!(
                    "expected a number from 1 to 10000, \"max\", 0 or -1 for fewer than all processors, found {}",
                    node.found()
                )
            };
            report.add((node.line, node.column), at, message);
            None
        }
    }
}

pub(super) fn codes(node: &Node, at: &At, report: &mut Report) -> Option<Vec<i32>> {
    match &node.value {
        Value::List(items) => {
            items.iter().enumerate().map(|(i, item)| whole(item, &At::Item(at, i), report, 0..=255)).collect()
        }
        _ => whole(node, at, report, 0..=255).map(|code| vec![code]),
    }
}

pub(super) fn signal(node: &Node, at: &At, report: &mut Report) -> Option<i32> {
    let number = match &node.value {
        Value::Number(number) => number.parse().ok().filter(|n| (1..=64).contains(n)),
        Value::Text(name) => crate::wire::signal::signal_number(name),
        _ => None,
    };
    if number.is_none() {
        report.add((node.line, node.column), at, || {
            format!("expected a signal such as \"SIGTERM\", found {}", node.found())
        });
    }
    number
}

pub(super) fn umask(node: &Node, at: &At, report: &mut Report) -> Option<u32> {
    let octal = match &node.value {
        Value::Text(text) | Value::Number(text) => {
            u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mask| *mask <= 0o777)
        }
        _ => None,
    };
    if octal.is_none() {
        report.add((node.line, node.column), at, || {
            format!("expected an octal mask such as \"027\", found {}", node.found())
        });
    }
    octal
}

pub(super) fn account_or_number(node: &Node, at: &At, report: &mut Report) -> Option<String> {
    match &node.value {
        Value::Number(number) if number.parse::<u32>().is_ok() => Some(number.clone()),
        _ => account(node, at, report),
    }
}
