"""One run: everybody is started, visited in rounds, and then asked how it starts and what silent connections weigh."""

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time

import contestants
import machine
import peers
import processes
import report
from contestants import TOKENS

LATE_US = 500
# A percentile of few requests says little: 1.2 s at 2,000/s have 24 of them beyond the 99th.
PACED_LONGER = 3
# One that fails is told of, and the others go on.
FAILURES = (peers.Missing, RuntimeError, OSError, subprocess.SubprocessError)
FILES = ("tokens", "jwks.json", "public.pem", "internal.pem", "server.pem", "server.key")


class Run:
    def __init__(self, options, root):
        self.options = options
        self.work = peers.work_directory(root)
        self.work.mkdir(parents=True, exist_ok=True)
        self.tools = options.tools or self.work.parent / "release/examples"
        self.program = options.sidegate or self.work.parent / "release/sidegate"
        self.processes = processes.Processes(options.urgent)

    def measure(self):
        options = self.options
        files = processes.open_files(2 * options.idle_connections + 1000)
        self.keys = {"RS256": self.signed("RS256", TOKENS), "ES256": self.signed("ES256", 1000)}
        upstream = self.start_upstream()
        wanted = [one for one in contestants.contestants(self.program, self.work, self.keys, upstream)
                  if re.search(options.only, one.name)]
        results, skipped, versions = {}, {}, {}
        for one in wanted:
            try:
                self.start(one)
                self.first_visit(one)
            except FAILURES as failure:
                skipped[one.name] = why(failure)
                continue
            versions[one.server.name] = peers.version(one.server.program, *one.server.version)
            results[one.name] = {"idle_kib": one.idle_kib, "visits": []}
        running = [one for one in wanted if one.name in results]
        for number in range(1, options.rounds + 1):
            for one in shuffled(running, number):
                self.count(one, number, results[one.name], skipped)
        self.processes.stop([one.process for one in wanted if hasattr(one, "process")])
        if not options.no_start:
            for one in running:
                if one.starts:
                    try:
                        results[one.name]["start_ms"] = self.start_times(one)
                    except FAILURES as failure:
                        skipped[f"{one.name}, start"] = why(failure)
        silent = [] if options.no_idle else self.hold(upstream, min(options.idle_connections, files - 500), skipped)
        rows = report.summary(results)
        memory = report.memory(rows, TOKENS)
        return {
            "machine": machine.describe(), "versions": versions, "rounds": options.rounds, "seconds": options.seconds,
            "connections": options.connections, "body": options.body, "rate": options.rate, "tokens": TOKENS,
            "about": {one.name: one.about for one in wanted},
            "summary": rows, "ratios": report.ratios(rows, results), "figures": report.figures(rows, memory, silent),
            "memory": memory, "connection_memory": silent, "skipped": skipped, "results": results,
        }

    def signed(self, algorithm, count):
        """Made once and kept: signing 50,000 tokens takes a while."""
        directory = self.work / f"{algorithm}-{count}"
        there = all((directory / name).exists() for name in FILES)
        if not there or time.time() - (directory / "tokens").stat().st_mtime > 30 * 86400:
            print(f"signing {count} {algorithm} tokens", file=sys.stderr)
            subprocess.run([self.tools / "bench_tokens", "--algorithm", algorithm, "--count", str(count),
                            "--directory", directory], check=True)
        return directory

    def empty_directory(self, name):
        directory = self.work / "runs" / re.sub(r"\W+", "-", name)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory

    def start_upstream(self):
        log, port = self.work / "upstream.log", processes.free_port()
        process = self.processes.spawn([self.tools / "bench_upstream", "--listen", f"127.0.0.1:{port}",
                                        "--body", str(self.options.body)], 1, log)
        processes.wait_for(port, process, log)
        self.upstream_pid = process.pid
        return port

    def start(self, one):
        """Of a contestant or a holder of connections: its process, alone on its core."""
        directory = self.empty_directory(one.name)
        one.server, one.port, one.log = one.server(), processes.free_port(), directory / "log"
        one.process = self.processes.spawn(one.server.command(one.port, directory), 0, one.log)
        processes.wait_for(one.port, one.process, one.log)
        time.sleep(0.3)
        one.pids = machine.tree(one.process.pid)
        one.idle_kib = machine.resident_kib(one.pids)

    def first_visit(self, one):
        """Every token is seen once; who answers nothing as it should is not visited again."""
        if one.tokens == "own":
            one.file = one.log.parent / "tokens"
            one.file.write_text("\n".join(one.server.sign_in(one.port, one.first)) + "\n")
        else:
            one.file = self.keys[one.tokens] / "tokens" if one.tokens else None
        visit = self.load(one, 0.3, 0.2, warm_requests=0 if one.paced else one.first)
        if visit["unexpected"] > visit["requests"] / 10:
            raise RuntimeError(f"{visit['unexpected']} of {visit['requests']} answers were wrong, "
                               f"the last one was {visit['last_status']}: {one.log.read_text()[-300:].strip()}")

    def count(self, one, number, result, skipped):
        try:
            # Every token was seen a moment ago: to renew an internal JWT before its end is not what is measured.
            warm_requests = 0 if one.paced else one.first
            seconds = self.options.seconds * (PACED_LONGER if one.paced else 1)
            visit = self.load(one, seconds, self.options.warm_seconds, warm_requests)
            result["after_kib"] = machine.resident_kib(one.pids)
        except FAILURES as failure:
            skipped[f"{one.name}, round {number}"] = why(failure)
            return
        result["visits"].append({"round": number, **visit})
        os.truncate(one.log, 0)  # megabytes, where each request has a line
        print(f"round {number}: {one.name}: {visit['cpu_us_per_request']:.2f} µs CPU, "
              f"{visit['per_second']:.0f}/s" + (" (noisy)" if visit["noisy"] else ""), file=sys.stderr)

    def load(self, one, seconds, warm_seconds, warm_requests=0):
        options = self.options
        command = [self.tools / "bench_load", "--address", f"127.0.0.1:{one.port}", "--path", one.path,
                   "--connections", str(one.connections or options.connections), "--seconds", str(seconds),
                   "--warm-seconds", str(warm_seconds), "--warm-requests", str(warm_requests)]
        if one.file:
            command += ["--tokens", one.file, "--first", str(one.first)]
        if one.tls:
            command += ["--tls", self.keys["RS256"] / "server.pem"]
        if one.paced:
            command += ["--rate", str(options.rate)]
        command += [str(word) for word in one.load]
        for pid in one.pids:
            command += ["--pid", str(pid)]
        watch = machine.Watch(time.monotonic, one.pids, [self.upstream_pid])
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 150,
                              preexec_fn=processes.on_core(1, options.urgent))
        if done.returncode:
            raise RuntimeError(f"{one.name}: {done.stderr.strip()}")
        visit = json.loads(done.stdout)
        if not visit["requests"]:
            raise RuntimeError(f"{one.name} answered nothing: {one.log.read_text()[-300:].strip()}")
        visit["noise"] = watch.end(visit["load_cpu_seconds"])
        # Where requests have their time, the load itself must keep it.
        late = (visit["late_p99_us"] or 0.0) > LATE_US
        visit["noisy"] = late or machine.noisy(visit["noise"], options.urgent)
        return visit

    def start_times(self, one):
        """Milliseconds from exec to the first 200, on a port of its own, all cores, ten times."""
        port, directory = processes.free_port(), self.empty_directory("start")
        command = one.server.command(port, directory)
        times = []
        for _ in range(10):
            done = subprocess.run(
                [self.tools / "bench_start", "--address", f"127.0.0.1:{port}", "--path", one.path,
                 "--token-file", one.file, "--", *command],
                capture_output=True, text=True, check=True, timeout=60)
            times.append(int(done.stdout) / 1e6)
        return {"min": min(times), "median": statistics.median(times)}

    def hold(self, upstream, connections, skipped):
        """What a silent connection weighs, in a process that nothing else was asked of."""
        out = []
        for one in contestants.holders(self.program, self.work, self.keys, upstream, connections):
            if not re.search(self.options.only, one.name):
                continue
            try:
                self.start(one)
                before, after = self.held(one)
            except FAILURES as failure:
                skipped[one.name] = why(failure)
                continue
            finally:
                if hasattr(one, "process"):
                    self.processes.stop([one.process])
            each = (after - before) / one.connections
            out.append({"name": one.program, "tls": one.tls, "connections": one.connections,
                        "kib_per_connection": each, "before_kib": before, "after_kib": after})
            print(f"{one.name}: {each:.2f} KiB a connection", file=sys.stderr)
        return out

    def held(self, one):
        """KiB before and while the connections are there; before: after as many requests as an idle proxy needs to
        have made what it makes once."""
        one.file, one.path, one.first, one.load, one.paced = self.keys["RS256"] / "tokens", "/orders/1", 1, (), False
        command = [self.tools / "bench_load", "--hold", "--address", f"127.0.0.1:{one.port}", "--path", one.path,
                   "--tokens", one.file, "--first", "1", "--connections", str(one.connections)]
        command += ["--tls", self.keys["RS256"] / "server.pem"] if one.tls else []
        small = [str(self.options.connections) if word == str(one.connections) else word for word in command]
        subprocess.run(small, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
        time.sleep(0.5)
        before = machine.resident_kib(one.pids)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as load:
            try:
                if not load.stdout.readline():
                    raise RuntimeError(f"{one.name}: {load.stderr.read().strip()}")
                time.sleep(1)
                return before, machine.resident_kib(one.pids)
            finally:
                load.kill()


def why(failure):
    return f"{failure} is not installed (--install does it)" if isinstance(failure, peers.Missing) else str(failure)


def shuffled(running, number):
    """The groups in another order each round, and so is each group, so that nobody always follows the same one."""
    order = random.Random(number)
    groups = {}
    for one in running:
        groups.setdefault(one.group, []).append(one)
    for group in order.sample(list(groups.values()), len(groups)):
        yield from order.sample(group, len(group))
