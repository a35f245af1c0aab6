"""Every command: its options, and the stage that it calls. The order is the order of ``skn --help``."""

from skn.commands import pipeline, neurons, compare, sweep, searchlight, tools  # noqa: F401, I001  register on the application
from skn.commands.app import app

__all__ = ["app"]
