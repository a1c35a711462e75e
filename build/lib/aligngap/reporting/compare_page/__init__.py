"""What `aligngap evaluate --compare` says of runs and seeds."""
