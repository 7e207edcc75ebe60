"""Where groups of trials are run."""
