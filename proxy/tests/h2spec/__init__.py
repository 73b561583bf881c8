"""h2spec's cases (https://github.com/summerwind/h2spec, 147 at its head) against the real listener.

h2spec itself cannot be pointed at an HBONE port: it has no client certificate, and asks with GET and
POST. So the cases are told here in our own words, with CONNECT, one file a chapter. Where a CONNECT-only
server or RFC 9113 (h2spec follows 7540) wants another answer, or we chose among those allowed, the row
says so.
"""
