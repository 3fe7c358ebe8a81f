"""The sub-commands of `rgh`: one module each with `add_arguments(parser)` and `run(arguments)`."""

COMMANDS: tuple[str, ...] = ()
