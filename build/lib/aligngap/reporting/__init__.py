"""Pages for people: about runs, and about embeddings in files."""
