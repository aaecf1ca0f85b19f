"""`python -m gradflow`: the command, where it is not on the path."""

from gradflow.cli import main

if __name__ == "__main__":
    main()
