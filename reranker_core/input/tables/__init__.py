"""Folders that are tables: their files are data only as their log or metadata says."""
