"""What `aligngap bench readers` compares: a program a reader, each started as a process of its own.

    python -m aligngap.benchmarks.peers.NAME JOB.json

They import nothing of each other but job.py, and what is measured stands in it.
"""
