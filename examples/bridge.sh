#!/bin/sh
# Leads a room into a folder: what is written to its `in` is said, and all that is said is in `out`.
#
#     examples/bridge.sh room 127.0.0.1 9443 &
#     echo "hello from a file" > room/in
#     tail -f room/out
#
# What stands behind the folder goes to the client unchanged. A line EXIT ends it.

if [ $# -lt 2 ]; then
    echo "usage: bridge.sh FOLDER HOST [PORT]|KEPT [option ...]" >&2
    exit 2
fi
folder=$1
shift
umask 077
mkdir -p "$folder" || exit
[ -p "$folder/in" ] || mkfifo "$folder/in" || exit
# Opened for writing as well, it does not end when a writer closes it.
exec ${CHATAPP:-chatapp} client --name bridge --patience forever --log "$folder/out" "$@" \
    <>"$folder/in" >/dev/null
