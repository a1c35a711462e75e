"""What `aligngap bench` runs: figures of this machine, never a pass or a fail."""
