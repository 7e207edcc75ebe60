"""The report as one page: what the table and the folders of a sweep hold, to look at in a browser."""
