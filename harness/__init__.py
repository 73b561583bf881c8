"""The testbed and the bench. Data flows one way:

    suite -> plan -> topology -> testbed -> load and samplers -> results -> analysis -> report

suite: what the user wrote. plan: what will be done. topology: what should exist.
engines: how namespaces and processes come to exist (docker, netns).
agent: per node; links, addresses, routes, redirection rules, ZDS, counters.
controlplane: the mesh document and the certificate authority.
dataplanes, backends: what carries the bytes, and what answers.
testbed: bring up, hand out handles, tear down, prove that nothing leaked.
load: Locust, first-packet probes. evidence: what proves that a cell did what it claims.
results: run folders. analysis: rounds, ratios, verdicts. report: page, terminal, markdown.
control: the channel by which the harness talks to what it started. cgroups: whose limits hold for us.
cli: one file per verb. shipped: the files that come with the code.
errors: who is wrong, and the exit code. interrupts: what Ctrl-C does, and what it may not break off.
"""
