"""Ways to run the trials of a sweep; a launcher knows processes and trial folders, not tensors."""
