"""`python -m proxy`: the same as `pyztunnel`."""

from proxy.main import main

if __name__ == "__main__":
    main()
