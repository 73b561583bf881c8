"""The node agent: what istio-cni is to Istio, and the kernel's book-keeper beside it.

agent: its state, one method per operation of the control channel; lane: what one lane carries here;
shared: what all lanes do. workers: a process for whatever is done in another namespace. netns: entering one.
wiring: which links there should be, pure; links: making them. sysctls: settings and their reasons.
rules: interception levels and counting rules, pure; appliers: into the kernel and back;
policy_routes: which marks are routed to lo; capture: all three in the right order; wanted: the values;
probe: which applier writes them here, and why. features: all that the agent needs of a kernel, tried.
packets, taps: looking at frames; listening: what is heard on links; clock: two clocks compared;
attempt: one request out of a pod; roundtrip: one to each of several targets, which is what ready means.
delay: distance between nodes.
zds: hands pods' namespaces to the proxy. counters, conntrack, stray: what the kernel counted; ctnetlink:
the messages by which conntrack's table is read.
"""
