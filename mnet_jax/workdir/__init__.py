"""The folders of a sweep and of its trials, and the table read from them."""
