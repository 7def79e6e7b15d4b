"""StatsD in, batches out: receives lines, aggregates them per window, commits each window to the spool.

Promises: every received line is in a window or counted as rejected with its reason; what the kernel dropped
is counted in the window it fell into; reception does not wait for a commit. Does not know HTTP or the
shipper: what both must agree on lives in `spool`.
"""
