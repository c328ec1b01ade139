#!/usr/bin/python3
"""Runs one fuzz target: what once failed, the seeds, then a number of runs; meson calls it.

    run.py TARGET SEEDS NAME RUNS LONGEST [LIBFUZZER-OPTION...]

The same sources and options make the same runs. An input that fails is kept, and named, in
$RAFTKV_FUZZ_FINDINGS or the current directory; once the defect is fixed it belongs into
tests/fuzz/regressions/NAME/. With $RAFTKV_FUZZ_CORPUS, NAME/ in that directory is read too and
gathers what finds new code (for long runs); without it nothing is kept.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

REGRESSIONS = Path(__file__).resolve().parent / "regressions"
LIMITS = ["-timeout=20", "-rss_limit_mb=1024", "-malloc_limit_mb=64", "-print_final_stats=0"]


def main():
    target, seeds, name, runs, longest = sys.argv[1:6]
    findings = Path(os.environ.get("RAFTKV_FUZZ_FINDINGS", "."))
    options = [f"-artifact_prefix={findings}/{name}-", f"-max_len={longest}", *LIMITS]
    options += sys.argv[6:]
    with tempfile.TemporaryDirectory(prefix="raftkv-fuzz-corpus-") as temporary:
        subprocess.run([seeds, temporary], check=True)
        dictionary = Path(temporary) / f"{name}.dict"
        if dictionary.exists():
            options.append(f"-dict={dictionary}")
        corpus = Path(temporary) / name
        known = sorted((REGRESSIONS / name).glob("*"))
        if known:
            subprocess.run([target, *options, *known], check=True)
        new = Path(temporary) / "new"
        if "RAFTKV_FUZZ_CORPUS" in os.environ:
            new = Path(os.environ["RAFTKV_FUZZ_CORPUS"]) / name
        new.mkdir(parents=True, exist_ok=True)
        command = [target, *options, "-seed=1", f"-runs={runs}", new, corpus]
        if known:
            command.append(REGRESSIONS / name)
        subprocess.run(command, check=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"run.py: {Path(error.cmd[0]).name} ended with status {error.returncode}")
