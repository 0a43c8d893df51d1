"""What is kept on the disk.

    folders.py        where a user's files are (XDG)
    storage.py        files that are read and replaced with care
    keyfolder.py      checks that nobody else can change the folder of the keys
    lines.py          a file of lines there, which several programs may change
    keys.py           RSA key pairs as PEM files
    clusterkey.py     the key that all servers of a cluster share
    known_servers.py  which servers were met, and with which keys
    rooms.py          invites, each under a name of the person's own
    members.py        whose key was seen under which name, in each room
    motd.py           the message of the day
    lists.py          what a server keeps: keys that may come in, bans, names
    adminsocket.py    the socket at which a server is operated, in the folder of its keys
    logs.py           files to which lines are appended
    history.py        what was typed, for the next run
    said.py           what was said, at the end of a log
    config.py         the person's own settings: config.toml

Only regular files of a bounded size are read. Whatever fails while one is written, the old version
or the new one is there, whole. May import `client.known`, `kex`, `invite`, `text`, `program`,
`guesses`, `errors` and `limits`.
"""
