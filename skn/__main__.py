"""``python -m skn`` runs ``skn``."""

from skn.cli import main

if __name__ == "__main__":
    main()
