//! The integration tests: real daemons, real zygotes in PHP, Python and Rust. A file a subject; one binary, so that it links once.

mod cli;
mod cli_refusals;
mod duplicates;
mod exact;
mod faults;
mod golden;
mod house;
mod keep;
mod kill;
mod listing;
mod output;
mod php;
mod php_refusals;
mod python;
mod queue;
mod quiet;
mod reload;
mod results;
mod run;
mod security;
mod shutdown;
mod timeouts;
mod tokens;
mod upkeep;
mod wait;
