"""One module a row of the table in docs/benchmarks.md: each has `measure(run)` and knows nothing of the others."""
