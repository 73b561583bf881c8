"""Run folders: what a run leaves, written so that a crash loses one cell at most and tears nothing.

layout: which file is where. schema: what is in them, and its version. atomic: how they appear.
write: `RunWriter`, in the order of a run. read: `read`, which verifies before it believes.
baselines: excerpts of runs that are kept to be compared with.
environment: the software and settings that a result belongs to; machine: the machine, and in which words
two are alike.

    results/<run>/
        run.json  plan.json  topology.json  environment.json      before anything starts
        cells/<cell>/cell.json                                    as each cell ends, whole or not at all
                    /probes.parquet rate.parquet requests.parquet transfers.parquet
                    /evidence/<source>.json
                    /SHA256SUMS                                   of all others; `sha256sum -c` reads it
        findings.json  report.html  summary.md                    after analysis; made again at any time

Samples need no program of ours to be read:

    duckdb -c "select state, median(first_byte_ns - start_ns) / 1e6 as ms, count(*)
               from 'results/RUN/cells/*/probes.parquet' where ok and sequence = 0 group by state"
"""
