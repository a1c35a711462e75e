"""What `aligngap study why` makes of a sweep over a method's parts: their effects, one by one."""
