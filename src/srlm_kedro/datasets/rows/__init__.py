"""Rows of files that people bring, as the records of seed data have them."""
