#!/usr/bin/env bash
# until_complete.sh ATTEMPTS COMMAND...: runs the command, and again while it exits with 5
# (incomplete), at most ATTEMPTS times. Another attempt does not help after other exit codes. After ctrl-C
# or SIGTERM it makes no other attempt: it ends with 5 as soon as the command has ended.
set -u
trap 'exit 5' INT TERM
attempts=$1
shift
for ((attempt = 1; attempt <= attempts; attempt++)); do
    "$@"
    code=$?
    [[ $code -eq 5 ]] || exit "$code"
    echo "attempt $attempt of $attempts was incomplete" >&2
done
exit 5
