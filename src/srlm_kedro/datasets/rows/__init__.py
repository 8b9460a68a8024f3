"""Reads the rows of files that people bring, in any format and form, as the rows of a record."""
