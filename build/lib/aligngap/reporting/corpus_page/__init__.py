"""What `aligngap prepare --source` shows of a corpus: one self-contained HTML page."""
