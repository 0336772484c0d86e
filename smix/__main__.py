"""`python -m smix` is `smix`."""

from smix.cli import main

main()
