"""Benchmarks: each measures aion and its limit or its peer in the same run, and prints the ratio beside the goal."""
