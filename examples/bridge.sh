#!/bin/sh
# Leads a room into a folder: what is written to its `in` is said, and all that is said is in `out`.
#
#     examples/bridge.sh room 127.0.0.1 9443 &
#     echo "hello from a file" > room/in
#     tail -f room/out
#
# Arguments after the port go to the client unchanged. A line EXIT ends it.

if [ $# -lt 3 ]; then
    echo "usage: bridge.sh FOLDER HOST PORT [option ...]" >&2
    exit 2
fi
folder=$1 host=$2 port=$3
shift 3
umask 077
mkdir -p "$folder" || exit
[ -p "$folder/in" ] || mkfifo "$folder/in" || exit
# Opened for writing as well, it does not end when a writer closes it.
exec "${PYTHON:-python3}" -m chat client "$host" "$port" bridge --patience forever \
    --log "$folder/out" "$@" <>"$folder/in" >/dev/null
