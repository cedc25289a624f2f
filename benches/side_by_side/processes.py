"""The programs that are running: started on a core of their own, waited for, and ended."""

import os
import random
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path


def free_port():
    """Below the range of ephemeral ports: who polls a closed port of that range may end up connected to itself."""
    for _ in range(100):
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise RuntimeError("no free port")


def wait_for(port, process, log):
    end = time.monotonic() + 15
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode}: {log.read_text()[-600:].strip()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"does not listen: {log.read_text()[-600:].strip()}")


def on_core(number, urgent):
    def prepare():
        os.sched_setaffinity(0, {number})
        if urgent:
            os.setpriority(os.PRIO_PROCESS, 0, -20)
            hurry_session()

    return prepare


def hurry_session():
    """Where the kernel shares processors among sessions, niceness counts inside one session only."""
    try:
        Path("/proc/self/autogroup").write_text("-20")
    except OSError:
        pass


def open_files(wanted):
    """Lets everything that is started have as many files open; how many it got."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(wanted, hard), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return most
        except (OSError, ValueError):
            continue
    return soft


class Processes:
    """What was started, so that all of it ends."""

    def __init__(self, urgent):
        self.urgent, self.running = urgent, []

    def spawn(self, command, core, log, **more):
        # Appended to, so that a log can be cut while it is written.
        log.write_bytes(b"")
        with open(log, "ab") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                       preexec_fn=on_core(core, self.urgent), **more)
        self.running.append(process)
        return process

    def stop(self, stopped=None):
        """All of them, or those: asked first, since nginx would leave its worker behind."""
        stopped = list(self.running) if stopped is None else stopped
        for process in stopped:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 3
        for process in stopped:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = [process for process in self.running if process not in stopped]
