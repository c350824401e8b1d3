"""`python give_back.py FROM SINCE UID GID (all|in):FOLDER…`: gives user FROM's files that were made or changed since then (seconds since
the epoch) to UID and GID; `in`: not the folder itself. What others have there stays theirs. Runs as root, in any Python from 2.7 on."""

import os
import stat
import sys


def give(path, owner, since, uid, gid):
    try:
        status = os.lstat(path)
        if status.st_uid != owner or status.st_ctime < since:
            return
        os.lchown(path, uid, gid)
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o6000:
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~0o6000)  # it must not run with its new owner's rights
    except (OSError, IOError):
        pass  # it has just gone


def main(owner, since, uid, gid, folders):
    for word in folders:
        what, _, folder = word.partition(":")
        if what == "all":
            give(folder, owner, since, uid, gid)
        for root, names, files in os.walk(folder):
            for name in names + files:
                give(os.path.join(root, name), owner, since, uid, gid)


main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
