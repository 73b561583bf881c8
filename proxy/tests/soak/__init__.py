"""What only time shows: mutated input to everything that reads a peer's bytes, and hours' worth of load.

    make soak                         # 10 minutes of fuzzing, 5 GiB, 30 minutes of load, 3 with neighbours
    make soak FUZZ_S=120 LOAD_S=180
    make soak ARGS="--beside-s 70"

fuzz: the mutator and its loop. targets: what is fuzzed, its corpus, what it may raise.
transfer: 5 GiB through one tunnel.
load: memory, descriptors and tasks of the proxies under load. callers: a thousand connections of all kinds.
neighbours: connections that must live beside what looks like an attack and is none. suspects: that traffic.
"""
