"""The page that `aligngap gap` writes about two clouds of paired embeddings."""
