#!/bin/sh
# Runs each case of a list: options, a tab, what they had found.
set -eu
simulator=$1
list=$2
count=0
failed=0
tab=$(printf '\t')
while IFS=$tab read -r options what; do
    case $options in
    '#'*) continue ;;
    esac
    count=$((count + 1))
    # The options are several words.
    # shellcheck disable=SC2086
    if ! "$simulator" --quiet $options </dev/null; then
        echo "FAILED: raftkv-sim $options ($what)"
        failed=$((failed + 1))
    fi
done <"$list"
echo "$count cases, $failed failed"
[ "$count" -gt 0 ] && [ "$failed" -eq 0 ]
