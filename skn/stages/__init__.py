"""One file per command: reads artifacts, calls the library, writes artifacts and a table."""
