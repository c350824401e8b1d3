"""`python give_back.py UID GID FOLDER…`: gives that owner all that others have made there. Runs as root, in any Python from 2.7 on."""

import os
import sys


def give(path, uid, gid):
    try:
        if os.lstat(path).st_uid != uid:
            os.lchown(path, uid, gid)
    except (OSError, IOError):
        pass  # it has just gone


def main(uid, gid, folders):
    for folder in folders:
        give(folder, uid, gid)
        for root, names, files in os.walk(folder):
            for name in names + files:
                give(os.path.join(root, name), uid, gid)


main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
