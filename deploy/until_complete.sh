#!/usr/bin/env bash
# until_complete.sh ATTEMPTS COMMAND...: runs the command, and again while it exits with 5
# (incomplete), at most ATTEMPTS times. No other exit code can be helped by another attempt.
set -u
attempts=$1
shift
for ((attempt = 1; attempt <= attempts; attempt++)); do
    "$@"
    code=$?
    [[ $code -eq 5 ]] || exit "$code"
    echo "attempt $attempt of $attempts was incomplete" >&2
done
exit 5
