"""``python -m facade`` is the ``facade`` command."""

from facade.cli import main

if __name__ == "__main__":
    main()
