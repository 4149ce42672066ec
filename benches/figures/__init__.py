"""What `scripts/bench` measures. `machine` and `daemon` start and end things, `floors` measures what
there is without preforkd, `latency`, `throughput`, `others`, `syscalls` and `wakeups` measure it, and
`report` holds the result against the targets. Standard library only."""
