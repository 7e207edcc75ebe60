"""The table of a workdir to text and plots, from files alone."""
