"""The networks: block tables, the layers they share, and their names."""
