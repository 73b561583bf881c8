"""pyztunnel beside the real ztunnel: the same random meshes, and what each makes of them.

ztunnel: one that runs in namespaces of its own, with an agent and a CA. meshes, policies: what is drawn.
"""
