"""Lets ``python -m tlbench`` be the command line."""

from tlbench.cli import main

if __name__ == "__main__":
    main()
