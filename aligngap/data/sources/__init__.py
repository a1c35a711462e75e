"""What a user has → records."""
