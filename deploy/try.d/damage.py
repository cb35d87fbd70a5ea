#!/usr/bin/env python3
"""What happens to stored files, for the demonstrations. Python's standard library only.

damage.py flip FILE...      one bit in the middle of each
damage.py rot FILE...       one bit in every KiB of each, so that whoever reads any of it meets it
damage.py truncate FILE...  each to its first half
damage.py remove FILE...
damage.py swap FILE FILE    each gets the other's bytes
"""
import os
import sys


def flip(path):
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def rot(path):
    with open(path, "r+b") as file:
        content = bytearray(file.read())
        for index in range(min(512, len(content) - 1), len(content), 1024):
            content[index] ^= 1
        file.seek(0)
        file.write(content)


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


def swap(one, other):
    with open(one, "rb") as first, open(other, "rb") as second:
        bytes_of_one, bytes_of_other = first.read(), second.read()
    for path, content in ((one, bytes_of_other), (other, bytes_of_one)):
        with open(path, "wb") as file:
            file.write(content)


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "swap":
        swap(*arguments[1:])
    elif len(arguments) > 1 and arguments[0] in ("flip", "rot", "truncate", "remove"):
        for path in arguments[1:]:
            {"flip": flip, "rot": rot, "truncate": truncate, "remove": os.remove}[arguments[0]](path)
    else:
        sys.exit(__doc__)


main(sys.argv[1:])
