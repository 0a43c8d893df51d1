#!/bin/sh
# Runs a command again and again, and tells the room when it begins to fail, and when it works again:
#
#     EVERY=300 examples/builds.sh 127.0.0.1 9443 builder make test
#
# The last lines of a failure are sent with it. Ends with the first message that cannot be sent.

usage() {
    echo "usage: builds.sh HOST PORT|KEPT NAME COMMAND ..." >&2
    exit 2
}
[ $# -ge 3 ] || usage
where=$1 port=
shift
case $1 in *[!0-9]*) ;; *) port=$1 && shift ;; esac
[ $# -ge 2 ] || usage
name=$1
shift
output=$(mktemp) || exit
trap 'rm -f "$output"' EXIT
trap 'exit 1' HUP INT TERM
what=$(printf '%s' "$*" | head -c 1000)
before=works
while true; do
    if "$@" >"$output" 2>&1; then now=works; else now=fails; fi
    if [ $now != $before ]; then
        { printf '%s\n' "$what $now"; [ $now = works ] || tail -n 10 "$output" | cut -b 1-200; } |
            iconv -c -f UTF-8 -t UTF-8 | # what is no text, or was cut in two, would not be sent
            ${CHATAPP:-chatapp} send "$where" ${port:+"$port"} "$name" --strip --patience 3600 - ||
            exit
        before=$now
    fi
    sleep "${EVERY:-60}" &
    wait $!
done
