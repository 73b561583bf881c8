"""Which test stands for which requirement: `make test-ids`.

catalogue.toml: every id with a short title. exclusions.toml: ids that have no test, and why.
mutations: guards of the product that can be switched off. mutate: does a test notice?
against: do the proxy's own ids fail on older sources?
collect: ids in tests' names, docstrings and parameters, read from the source. report: both, joined.

A test says what it stands for in its own docstring, its module's, its name or the id of a parameter:
`T03`, `T06 to T08`, `http2/5.1.2`.
"""
