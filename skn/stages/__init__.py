"""One file for each command. A command reads artifacts, calls the library, and writes artifacts and a table."""
