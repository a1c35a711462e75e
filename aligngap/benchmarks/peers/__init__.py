"""What `aligngap bench readers` and `step` compare: programs, each started as a process of its own.

    python -m aligngap.benchmarks.peers.NAME JOB.json

Readers import nothing of each other but job.py, and those that train step_job.py and torch_step.py:
what is measured stands in them.
"""
