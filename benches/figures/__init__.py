"""What `scripts/bench` measures. `machine`, `daemon`, `apps` and `peers` start and end things. `floors` measures what
there is without preforkd; `latency`, `throughput`, `others`, `syscalls` and `wakeups` measure its runs, `offered` and `bursts`
what load does to them, `footprint`, `successor`, `upkeep` and `shared` its workers. `frame`,
`report` and `whole` hold the result against the targets, `picture` draws it. Standard library only."""
