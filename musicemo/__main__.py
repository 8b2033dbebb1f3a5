"""``python -m musicemo``: the command line."""

from musicemo.cli import main

if __name__ == "__main__":
    main()
