"""Axes to trials, trials to groups that share a stream, groups to processes, and what people see meanwhile."""
