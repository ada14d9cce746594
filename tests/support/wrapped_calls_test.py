#!/usr/bin/env python3
"""No call of the storage to the file system passes by tests/support/faulty_calls.cc.

    wrapped_calls_test.py LIBRARY CALL...      the calls that are wrapped
"""
import subprocess
import sys

# What the C library offers for files, but for what cannot lose anything: close, flock, fcntl,
# fstatvfs, munmap.
FILE_CALLS = set("""
    chmod copy_file_range creat fallocate fchmod fdatasync fopen fstat fstatat fsync ftruncate fwrite
    ioctl link linkat lseek lstat madvise mkdir mkdirat mmap mremap msync open openat opendir
    posix_fadvise posix_fallocate pread preadv pwrite pwritev pwritev2 read readahead readv rename
    renameat renameat2 rmdir sendfile splice stat statx symlink sync sync_file_range syncfs truncate
    unlink unlinkat utimensat write writev
""".split())


def main():
    library, *wrapped = sys.argv[1:]
    listing = subprocess.run(["nm", "--undefined-only", library], check=True, text=True,
                             capture_output=True).stdout
    words = {line.split()[-1] for line in listing.splitlines() if line.strip()}
    used = {word.removesuffix("64") for word in words} & FILE_CALLS
    if "pwrite" not in used:
        sys.exit(f"{library} is no library that writes files")
    missed = sorted(used - set(wrapped))
    if missed:
        sys.exit(f"{library} calls {', '.join(missed)}: let faulty_calls.cc stand before it too, and "
                 "name it in tests/support/CMakeLists.txt")


main()
