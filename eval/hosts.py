"""The flags by which several hosts share the tasks of a benchmark."""

from absl import flags

from ocijax.errors import InputError


def define_hosts() -> None:
    """Defines --hosts and --host; `ocijax.judge.benchmark.Benchmark.share` does what they say."""
    flags.DEFINE_integer("hosts", 1, "Hosts that share the tasks.", lower_bound=1)
    flags.DEFINE_integer("host", 0, "Which of them this is, from 0.", lower_bound=0)


def check_hosts(values: flags.FlagValues) -> None:
    """Refuses a host that is none of them.

    Raises:
      InputError: names the flag.
    """
    if values.host >= values.hosts:
        raise InputError(f"--host={values.host}: must be from 0 to {values.hosts - 1}")
