#!/bin/sh
# Runs a command, tells the room how it ended, and ends with the command's own status:
#
#     examples/tell.sh 127.0.0.1 9443 builder make test
#     examples/tell.sh friends builder make test

usage() {
    echo "usage: tell.sh HOST PORT|KEPT NAME COMMAND ..." >&2
    exit 2
}
[ $# -ge 3 ] || usage
where=$1 port=
shift
case $1 in *[!0-9]*) ;; *) port=$1 && shift ;; esac
[ $# -ge 2 ] || usage
name=$1
shift
status=0
"$@" || status=$?
case $status in
    0) how="is done" ;;
    *) how="failed with status $status" ;;
esac
# A command may be longer than a message, and what is no text would not be sent.
what=$(printf '%s' "$*" | head -c 1000 | iconv -c -f UTF-8 -t UTF-8)
${CHATAPP:-chatapp} send "$where" ${port:+"$port"} "$name" -- "$what $how" ||
    echo "tell.sh: the room was not told" >&2
exit $status
