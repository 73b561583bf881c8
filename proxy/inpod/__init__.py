"""Which pods this proxy serves, as the node agent says over ZDS.

api: what the pod manager needs from whoever listens inside pods.
protocol: ZDS messages, one per packet, with their descriptors. No sockets.
pods: the pods served now, and what to do about each message.
client: the connection to the agent: hello, requests, acknowledgements, reconnects.
"""
