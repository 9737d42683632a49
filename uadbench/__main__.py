"""``python -m uadbench``: the same as the console script ``uadbench``."""

from uadbench.cli import main

if __name__ == "__main__":
    main()
