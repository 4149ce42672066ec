//! `preforkd completions`: for shells.

use clap::{Args, ValueEnum};
use clap_complete::{Shell, generate};

use super::terminal::write_out;
use super::{Context, Error};

const EXAMPLES: &str = "\
Examples:
  preforkd completions bash > ~/.local/share/bash-completion/completions/preforkd
  preforkd completions zsh > \"${fpath[1]}/_preforkd\"
  preforkd completions fish > ~/.config/fish/completions/preforkd.fish";

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Known,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn execute(self, context: &Context) -> Result<u8, Error> {
        if context.json {
            return Err(Error::Usage("a completion script is no JSON".into()));
        }
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut super::described(), "preforkd", &mut script);
        write_out(script)?;
        Ok(0)
    }
}
