"""What is kept on the disk.

    folders.py        where a user's files are (XDG)
    storage.py        files that are read and replaced with care
    keyfolder.py      who may do what with the folder of the keys
    keys.py           RSA key pairs as PEM files
    known_servers.py  which servers were met, and with which keys
    history.py        what was typed, for the next run

Every file is a regular file, of a bounded size, and is there as it was or as it is to be, whole,
whatever fails in between. May import `kex`, `text`, `errors` and `limits`.
"""
