"""The mesh as the proxy knows it.

model: workloads and services. mesh: a snapshot of all of them with the policies, and its questions.
applying: which policies are for which workload.
document: a mesh document (JSON) into a snapshot; decoding, addresses, policies, fields: its parts.
store: the snapshot in force, and the file that it comes from.
"""
