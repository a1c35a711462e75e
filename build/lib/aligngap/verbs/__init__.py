"""The verbs of `aligngap`, a room each by the verb's name; `cli.VERBS` lists them.

Each has `add_flags(parser)` and `run(arguments)`, and imports what it needs when it runs: `--help`
and a wrong flag answer at once. A room may also have:

- `OVERRIDES = True`: the verb takes `--config.key=value ...`, found in `arguments.overrides`;
- `NAMED`, name → summary, and `named(name)`: what `aligngap VERB NAME ...` does instead, again with
  `add_flags`, `run` and perhaps `OVERRIDES`.

`arguments.command` holds the words of the command line, from the verb on.
"""
