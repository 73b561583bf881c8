"""The whole thing: real engines, real kernel, real proxies."""
