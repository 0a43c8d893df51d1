#!/bin/sh
# Runs a command, tells the room how it ended, and ends with the command's own status:
#
#     examples/tell.sh 127.0.0.1 9443 builder make test

if [ $# -lt 4 ]; then
    echo "usage: tell.sh HOST PORT NAME COMMAND ..." >&2
    exit 2
fi
host=$1 port=$2 name=$3
shift 3
status=0
"$@" || status=$?
case $status in
    0) how="is done" ;;
    *) how="failed with status $status" ;;
esac
# A command may be longer than a message, and what is no text would not be sent.
what=$(printf '%s' "$*" | head -c 1000 | iconv -c -f UTF-8 -t UTF-8)
"${PYTHON:-python3}" -m chat send "$host" "$port" "$name" -- "$what $how" ||
    echo "tell.sh: the room was not told" >&2
exit $status
