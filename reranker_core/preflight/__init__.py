"""What a replica must pass before it may score a row.

Checks come in groups; `preflight.checks.<group>` says what a failure does. Each check holds what
it measured, what was expected, and the remedy.
"""
