//! `preforkd apply`: what runs becomes what the process file says.

use std::path::PathBuf;

use clap::Args;

use super::columns::{Cell, Column, render};
use super::start::Definitions;
use super::terminal::{Style, Terminal, message, write_out};
use super::{Context, Error, Manner, bringup, definition};
use crate::wire::apps::{Applied, Change};

/// Make what runs what a process file says: only what differs is touched
///
/// Apps that are not in the file are removed. An app whose definition has not changed keeps its processes.
#[derive(Debug, Args)]
pub struct Apply {
    /// The process file
    file: PathBuf,

    /// The variables of env_NAME over those of env
    #[arg(long, value_name = "NAME")]
    env: Option<String>,

    /// Tell what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        let mut file = definition::load(&self.file)?;
        if let Some(env) = &self.env {
            file.choose_env(env).map_err(Error::Failed)?;
        }
        let request = Definitions::of(&file.apps, &file.pools, &file.folder).dry_run(self.dry_run);
        let answer = bringup::client(context)?.call("apps.apply", &request, Manner::CHANGE)?;
        if context.json {
            write_out(format!("{}\n", answer.result))?;
            return Ok(0);
        }
        let applied: Applied = answer.read()?;
        if applied.changes.is_empty() {
            message("the file has neither apps nor pools, and there are none");
            return Ok(0);
        }
        write_out(table(&context.terminal, &applied.changes))?;
        if applied.dry_run {
            message("nothing has been done");
        }
        Ok(0)
    }
}

const COLUMNS: [Column; 4] = [
    Column::text("NAME").shrinks_to(12),
    Column::text("KIND"),
    Column::text("CHANGE"),
    Column::text("KEYS").shrinks_to(12),
];

fn table(terminal: &Terminal, changes: &[Change]) -> String {
    let rows: Vec<Vec<Cell>> = changes
        .iter()
        .map(|change| {
            let style = match &*change.change {
                "added" => Style::Good,
                "changed" => Style::Waiting,
                "removed" => Style::Bad,
                _ => Style::Normal,
            };
            vec![
                Cell::new(&change.name),
                Cell::new(&change.kind),
                Cell::styled(&change.change, style),
                Cell::new(&change.keys.join(", ")),
            ]
        })
        .collect();
    render(terminal, &COLUMNS, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_a_row_with_the_keys_that_differ() {
        let change = |name: &str, change: &str, keys: &[&str]| Change {
            name: name.into(),
            kind: "app".into(),
            change: change.into(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let text =
            table(&Terminal::PLAIN, &[change("web", "changed", &["args", "env"]), change("mail", "removed", &[])]);
        assert_eq!(text, "NAME  KIND  CHANGE   KEYS\nweb   app   changed  args, env\nmail  app   removed\n");
    }
}
