#!/usr/bin/env python3
"""Compares a store with the manifest of a golden one: look.py CKPTFS STORE MANIFEST SCRATCH [--no-past]

All that the manifest names must be there, and nothing else below run/.  Prints what is wrong; status 1 then.
"""
import hashlib
import os
import shutil
import subprocess
import sys


def sha(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def one(line, root, past):
    kind, rest = line.split(" ", 1)
    if kind == "past":
        want, path = rest.split(" ", 1)
        return past is None or want in past.get(path, ()), path + " has not this version in its history"
    if kind == "file":
        want, size, path = rest.split(" ", 2)
        full = os.path.join(root, path)
        return os.path.isfile(full) and os.path.getsize(full) == int(size) and sha(full) == want, path + " has other bytes"
    if kind == "dir":
        return os.path.isdir(os.path.join(root, rest)), rest + " is no directory"
    if kind == "link":
        target, path = rest.split(" ", 1)
        full = os.path.join(root, path)
        return os.path.islink(full) and os.readlink(full) == target, path + " leads elsewhere"
    if kind == "names":
        count, path = rest.split(" ", 1)
        return os.stat(os.path.join(root, path)).st_nlink == int(count), path + " has another number of names"
    if kind == "xattr":
        name, value, path = rest.split(" ", 2)
        return os.getxattr(os.path.join(root, path), name).decode() == value, path + " has another " + name
    return False, "the manifest has a line that nobody knows: " + line


def history(program, store, scratch):
    """{path: {SHA-256}} of all versions in the history."""
    subprocess.run([program, "export", store + ":@history/run", scratch], check=True)
    # An entry of the history is a directory named as the file was, with a file for each version.
    found = {}
    for path, _, files in os.walk(scratch):
        for name in files:
            found.setdefault(os.path.relpath(path, scratch), set()).add(sha(os.path.join(path, name)))
    return found


def main():
    program, store, manifest, scratch = sys.argv[1:5]
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    tree = os.path.join(scratch, "tree")
    os.mkdir(tree)
    subprocess.run([program, "export", store + ":/run", tree], check=True)
    past = None
    if "--no-past" not in sys.argv:
        os.mkdir(os.path.join(scratch, "past"))
        past = history(program, store, os.path.join(scratch, "past"))
    with open(manifest) as f:
        lines = f.read().splitlines()
    bad = [text for good, text in (one(line, tree, past) for line in lines) if not good]
    names = {line.split(" ")[-1] for line in lines if line.split(" ", 1)[0] in ("file", "dir", "link")}
    for path, dirs, files in os.walk(tree):
        for name in dirs + files:
            rel = os.path.relpath(os.path.join(path, name), tree)
            if rel not in names:
                bad.append(rel + " is too much")
    print("\n".join(bad))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
