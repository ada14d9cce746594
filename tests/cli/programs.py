"""The real programs as tests see them: a broker in a folder of its own, and the command line."""

import collections
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

CAIRND = os.environ["CAIRND"]
CAIRN = os.environ["CAIRN"]
# Sanitized programs are many times slower: they get a tenth of the records.
SANITIZED = bool(os.environ.get("CAIRN_SANITIZE"))
PATIENCE_S = 120


def scaled(count):
    return count // 10 if SANITIZED else count


Result = collections.namedtuple("Result", "code out err")


class Broker:
    """A cairnd on a free loopback port; `with Broker() as broker:` stops it and removes its data."""

    def __init__(self, *flags):
        self.flags = flags
        self.folder = tempfile.mkdtemp(prefix="cairn-cli-test-")
        self.data = os.path.join(self.folder, "data")
        self.process = None
        self.address = None
        self.listen = "127.0.0.1:0"  # set it to `address` to start again where clients look for it

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        self.log = open(os.path.join(self.folder, "cairnd.log"), "ab")
        self.process = subprocess.Popen(
            [CAIRND, "--data-dir", self.data, "--listen", self.listen, *self.flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline().decode()
        if not line.startswith("cairnd ready on "):
            self.process.wait()
            self._forget()
            raise AssertionError(f"cairnd did not start: {line!r}\n{self.log_text()}")
        self.address = line.split()[-1]

    def log_text(self):
        with open(os.path.join(self.folder, "cairnd.log"), errors="replace") as log:
            return log.read()[-4000:]

    def stop(self):
        """Stops it cleanly; a broken stop is a failure."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=PATIENCE_S)
        self._forget()
        if code != 0:
            raise AssertionError(f"cairnd ended with {code}\n{self.log_text()}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._forget()

    def _forget(self):
        self.process.stdout.close()
        self.log.close()
        self.process = None

    def restart(self):
        self.stop()
        self.start()

    def kill_and_start(self):
        self.kill()
        self.start()

    def run(self, *arguments, stdin=b""):
        """`cairn ARGUMENTS…` against this broker, whatever becomes of it."""
        return run("-b", self.address, *arguments, stdin=stdin)

    def ok(self, *arguments, stdin=b""):
        """The same, and it must succeed; gives stdout as bytes."""
        result = self.run(*arguments, stdin=stdin)
        if result.code != 0:
            raise AssertionError(f"cairn {arguments} ended with {result.code}: {result.err}")
        return result.out

    def begin(self, *arguments, **options):
        """Starts `cairn ARGUMENTS…` and leaves it running."""
        return subprocess.Popen([CAIRN, "-b", self.address, *arguments], **options)


def run(*arguments, stdin=b"", environment=None):
    done = subprocess.run([CAIRN, *arguments], input=stdin, capture_output=True,
                          env={**os.environ, **(environment or {})}, timeout=5 * PATIENCE_S)
    return Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def eventually(fact):
    """Waits until `fact()` holds; a fact that never comes true is a failure."""
    deadline = time.monotonic() + PATIENCE_S
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.01)


class LineCollector:
    """Gathers the lines of a stream on a thread, so that a test can wait for them."""

    def __init__(self, stream):
        self.lines = []
        self.thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.thread.start()

    def _read(self, stream):
        for line in stream:
            self.lines.append(line.rstrip(b"\n"))
