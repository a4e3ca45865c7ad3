"""Passes a process's standard error on, and puts its end into one line where others caused it.

Where a process of a run dies, JAX aborts the others with a stack trace. No code of ours runs in
them then, so `launch.processes` lets this script, in a process of its own, read what they write.
It holds back what begins to tell of such an end, and shows one line if it was one.
"""

import re
import signal
import sys

_BEGINS = re.compile(rb"^[WEF]\d{4} .*(coordination_service|preemption_sync_manager|client\.h)")
_FATAL = re.compile(rb"^F\d{4} .*JAX distributed service detected fatal errors")
_OURS = b"error: "
_LINE = (
    b"\nerror: another process of this run has ended, or has never begun; its own output says why; "
    b"run the same command again in all of them to go on\n"
)


def main() -> None:
    """Copies until the end of the input."""
    # Whoever stops the run stops it by its own process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    output, held = sys.stderr.buffer, []
    for line in sys.stdin.buffer:
        if line.startswith(_OURS):
            held = []
            output.write(line)
            break
        if held or _BEGINS.match(line):
            held.append(line)
        else:
            output.write(line)
            output.flush()
    if any(map(_FATAL.match, held)):
        held = [_LINE]
    output.writelines(held)
    output.flush()
    # What comes after the last words is read, so that nobody waits, and not shown.
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
