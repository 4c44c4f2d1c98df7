"""Measurements that anyone can run; each prints a table and, last, one line of JSON."""
