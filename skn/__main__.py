"""``python -m skn`` is ``skn``."""

from skn.cli import main

if __name__ == "__main__":
    main()
