"""What the machine is, and what else went on while something was measured."""

import os
import platform
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def describe():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {"cpu": model, "cores": os.cpu_count(), "memory_mib": memory, "kernel": platform.release(),
            "virtual": "hypervisor" in Path("/proc/cpuinfo").read_text()}


def tree(pid):
    """The process and everything that it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree(int(child))
    return found


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_kib(pids):
    """VmRSS of all; pages that processes share are counted once for each."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def core(number):
    """(busy, stolen) seconds of one core; interrupts are not counted as busy."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{number} "):
            fields = [int(field) for field in line.split()[1:]]
            return (fields[0] + fields[1] + fields[2]) / TICKS, fields[7] / TICKS
    raise RuntimeError(f"no core {number}")


class Watch:
    """Shares of both cores that went to others, and to the hypervisor."""

    def __init__(self, clock, proxy, upstream):
        self.clock, self.proxy, self.upstream = clock, proxy, upstream
        self.begun = clock()
        self.cores = [core(0), core(1)]
        self.own = [cpu_seconds(proxy), cpu_seconds(upstream)]

    def end(self, load_seconds):
        elapsed = self.clock() - self.begun
        busy = [now[0] - then[0] for now, then in zip([core(0), core(1)], self.cores, strict=True)]
        stolen = max(now[1] - then[1] for now, then in zip([core(0), core(1)], self.cores, strict=True))
        own = [cpu_seconds(self.proxy) - self.own[0], cpu_seconds(self.upstream) - self.own[1] + load_seconds]
        return {
            "proxy_core_foreign": max(0.0, busy[0] - own[0]) / elapsed,
            "load_core_foreign": max(0.0, busy[1] - own[1]) / elapsed,
            "steal": stolen / elapsed,
        }


def noisy(noise, urgent):
    """With priority, what others take of the load's core is what the load left over."""
    load = 0.0 if urgent else noise["load_core_foreign"]
    return noise["proxy_core_foreign"] > 0.04 or load > 0.10 or noise["steal"] > 0.01
