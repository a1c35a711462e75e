"""The page that `aligngap gap advise` writes."""
