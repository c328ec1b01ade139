"""Runs test suites and counts their tests; called by scripts/test, which documents them."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD_ROOT = Path(os.environ.get("RAFTKV_BUILD_ROOT", REPOSITORY))
DEFAULT = ["unit", "sim", "cluster", "asserts", "sanitize", "clang", "fuzz", "system"]
ON_DEMAND = ["long"]

BUILDS = {
    "build-test": ["--buildtype=debugoptimized"],
    "build-long": ["--buildtype=release"],
    "build-sanitize": [
        "--buildtype=debug",
        "-Doptimization=1",
        "-Db_sanitize=address,undefined",
        "-Db_lundef=false",
    ],
    "build-asserts": ["--buildtype=debugoptimized"],
    "build-clang": ["--buildtype=debugoptimized"],
    "build-fuzz": [
        "--buildtype=debug",
        "-Doptimization=1",
        "-Db_sanitize=address,undefined",
        "-Db_lundef=false",
        "-Dfuzz=true",
    ],
}

# Builds with a libraft of their own: where it is, and how scripts/libraft-asserts makes it.
LIBRAFTS = {
    "build-asserts": ("libraft-asserts", {}),
    "build-fuzz": ("libraft-fuzz", {"LIBRAFT_SANITIZE": "address,fuzzer-no-link", "CC": "clang"}),
}


class Counts:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add_junit(self, path):
        """Adds the test cases of a JUnit file. Returns whether there were any."""
        cases = list(ElementTree.parse(path).iter("testcase"))
        for case in cases:
            if case.find("failure") is not None or case.find("error") is not None:
                self.failed += 1
                print(f"FAILED: {case.get('classname', '')} {case.get('name')}")
            elif case.find("skipped") is not None:
                self.skipped += 1
            else:
                self.passed += 1
        return bool(cases)


def build_libraft(name):
    """Builds the libraft of a build directory unless it is there, and returns its path."""
    prefix, settings = LIBRAFTS[name]
    libraft = BUILD_ROOT / prefix
    if not (libraft / "lib").exists():
        environment = dict(os.environ, **settings)
        command = ["scripts/libraft-asserts", str(libraft)]
        subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    return libraft


def build(name, *targets):
    """Sets a build directory up, builds in it, and returns its path."""
    directory = BUILD_ROOT / name
    environment = dict(os.environ)
    if name in ("build-clang", "build-fuzz"):
        environment["CC"] = "clang"
    if name in LIBRAFTS:
        environment["PKG_CONFIG_PATH"] = str(build_libraft(name) / "lib" / "pkgconfig")
    if not (directory / "build.ninja").exists():
        subprocess.run(
            ["meson", "setup", str(directory), str(REPOSITORY), *BUILDS[name]],
            env=environment,
            check=True,
        )
    subprocess.run(["ninja", "-C", str(directory), *targets], check=True)
    return directory


def run_meson(counts, directory, suite):
    command = ["meson", "test", "-C", str(directory), "--no-rebuild", "--print-errorlogs"]
    # The time limits in meson.build are those of a machine that has nothing else to do.
    command += ["--timeout-multiplier", "5", "--suite", suite]
    result = subprocess.run(command)
    report = directory / "meson-logs" / "testlog.junit.xml"
    before = counts.failed
    found = counts.add_junit(report) if report.exists() else False
    if not found or (result.returncode != 0 and counts.failed == before):
        print(f"FAILED: suite {suite} ran no test or ended with status {result.returncode}")
        counts.failed += 1
    report.unlink(missing_ok=True)


def run_pytest(counts, directory, arguments):
    pytest(counts, "cluster", arguments, environment={"RAFTKV_BUILD": str(directory)})


def run_cluster(counts, directory, arguments):
    """These tests wait most of the time, so several files run at once; those of one file share their nodes."""
    run_pytest(counts, directory, ["-n", "3", "--dist", "loadfile", *arguments])


def pytest(counts, folder, arguments, wrapper=(), environment={}):
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary) / "junit.xml"
        command = [*wrapper, "/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", f"tests/{folder}", *arguments]
        result = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **environment})
        before = counts.failed
        found = counts.add_junit(report) if report.exists() else False
    if not found or (result.returncode != 0 and counts.failed == before):
        print(f"FAILED: the {folder} tests ended with status {result.returncode}")
        counts.failed += 1


def run_system(counts, arguments):
    """In a place of their own where that is possible; otherwise they skip themselves."""
    sys.path.insert(0, str(REPOSITORY / "tests/system"))
    import isolation

    import roots

    reason = isolation.why_not()
    if not reason:
        roots.pristine_root()  # here, for inside there is no way to the network
    wrapper = [] if reason else ["/usr/bin/python3", "tests/system/isolation.py"]
    pytest(counts, "system", arguments, wrapper)
    if reason:
        print(f"system: skipped, because {reason}")


def run_suite(counts, suite, arguments):
    print(f"==== {suite} ====", flush=True)
    if suite == "unit":
        directory = build("build-test")
        run_meson(counts, directory, "unit")
        run_meson(counts, directory, "failing")
    elif suite == "sim":
        run_meson(counts, build("build-test"), suite)
    elif suite == "cluster":
        run_cluster(counts, build("build-test"), arguments)
    elif suite == "long":
        run_pytest(counts, build("build-long"), ["-m", "long", *arguments])
    elif suite == "asserts":
        directory = build("build-asserts")
        run_meson(counts, directory, "unit")
        run_meson(counts, directory, "sim")
        run_meson(counts, directory, "seeds")
    elif suite == "sanitize":
        directory = build("build-sanitize")
        run_meson(counts, directory, "unit")
        run_meson(counts, directory, "failing")
        run_meson(counts, directory, "sim")
        run_cluster(counts, directory, arguments)
    elif suite == "system":
        run_system(counts, arguments)
    elif suite == "clang":
        run_meson(counts, build("build-clang"), "unit")
    elif suite == "fuzz":
        run_meson(counts, build("build-fuzz", "fuzz-targets"), "fuzz")


def main():
    arguments = sys.argv[1:]
    passed_on = []
    if "--" in arguments:
        passed_on = arguments[arguments.index("--") + 1 :]
        arguments = arguments[: arguments.index("--")]
    unknown = [suite for suite in arguments if suite not in DEFAULT + ON_DEMAND]
    if unknown:
        sys.exit(f"test: unknown suite {unknown[0]!r} (allowed: {', '.join(DEFAULT + ON_DEMAND)})")
    counts = Counts()
    for suite in arguments or DEFAULT:
        try:
            run_suite(counts, suite, passed_on)
        except subprocess.CalledProcessError as error:
            print(f"FAILED: {error}")
            counts.failed += 1
    print(f"{counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped", flush=True)
    sys.exit(1 if counts.failed else 0)


if __name__ == "__main__":
    main()
