"""The page that `aligngap report` writes about runs."""
