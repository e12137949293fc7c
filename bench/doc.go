// Package bench measures falconbridge beside what else a user might pick, and
// beside what the machine can do at all, in one run and in turns: what counts is
// the ratio, as the machine's mood is the same for all. `make bench` runs it;
// peers/ holds what is not installed already. docs/performance.md keeps the
// results.
package bench
