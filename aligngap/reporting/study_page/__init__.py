"""What `aligngap study` makes of a sweep of methods and seeds: results.json, a page, a picture."""
