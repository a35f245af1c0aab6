"""How long tests wait for a process: only one that hangs takes longer, however busy the machine is."""

HUNG = 600  # seconds
