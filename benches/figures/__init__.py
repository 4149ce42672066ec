"""What `scripts/bench` measures. `machine`, `daemon`, `apps` and `peers` start and end things. `floors` measures what
there is without preforkd; `latency`, `throughput`, `others`, `syscalls` and `wakeups` measure its runs, `footprint`,
`successor`, `upkeep` and `shared` its workers. `frame` and `report` hold the result against the targets. Standard library only."""
