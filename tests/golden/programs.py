"""What the tests in this folder have in common: the daemon they start, a scratch folder, the tally."""

import argparse
import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

PATIENCE_S = 50


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cairnd", help="the daemon under test")
    parser.add_argument("--cairn", help="the command line under test")
    parser.add_argument("--flatc", default="flatc")
    parser.add_argument("--schema", help="protocol/cairn.fbs")
    parser.add_argument("--wire-page", help="protocol/WIRE.md")
    parser.add_argument("--scratch", default=".", help="folder for what the test leaves nothing of")
    return parser.parse_args()


@contextlib.contextmanager
def scratch_folder(parent):
    os.makedirs(parent, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="golden-", dir=parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Daemon:
    """A cairnd on a free loopback port. `with` kills it if the test did not stop it."""

    def __init__(self, program, folder):
        self.data = os.path.join(folder, "data")
        self.log_path = os.path.join(folder, "cairnd.log")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [program, "--data-dir", self.data, "--listen", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line.startswith("cairnd ready on "):
            self.kill()
            raise AssertionError(f"cairnd did not become ready: {line!r}\n{self.log_text()}")
        self.address = line.split()[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def log_text(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()[-4000:]

    def stop(self):
        """Stops it cleanly; anything but exit code 0 is a failure."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=PATIENCE_S)
        if code != 0:
            raise AssertionError(f"cairnd ended with {code}\n{self.log_text()}")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def partition_folder(self, topic, partition):
        return os.path.join(self.data, f"{topic}-{partition}")


class Tally:
    """Runs one test after another and counts: a failed one does not keep the next from running."""

    def __init__(self):
        self.passed = self.failed = 0

    def run(self, sentence, test, *parameters):
        try:
            test(*parameters)
        except Exception:  # whatever it was, it is this test's failure
            traceback.print_exc()
            print(f"FAILED  {sentence}", flush=True)
            self.failed += 1
        else:
            print(f"passed  {sentence}", flush=True)
            self.passed += 1

    def close(self):
        """Prints the count; the exit code of the whole."""
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"found {found!r}, expected {expected!r}")
