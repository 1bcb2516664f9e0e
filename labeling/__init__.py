"""Batch jobs: from a manifest of photos to label maps, a table of what became of each, and exports."""
