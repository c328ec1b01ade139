#!/usr/bin/python3
"""Compares the manual pages and completions with what the programs say of themselves.

Usage: test_pages.py REPOSITORY RAFTKVD RAFTKVCTL RAFTKV-BENCH
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path


def output(*command, status=0):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert result.returncode == status, f"{command} ended with {result.returncode}: {result.stdout}"
    return result.stdout


def section(page, heading):
    """What stands below a heading of a page, down to the next one of its kind."""
    _, found, rest = page.partition(f"\n# {heading}\n")
    assert found, f"there is no section {heading}"
    return rest.partition("\n# ")[0]


def plain(text):
    """The text without scdoc's marks."""
    return re.sub(r"\\(.)|[*_]", lambda match: match[1] or "", text)


def options_of(text):
    """The options that a help text lists, each with its =ARGUMENT."""
    return set(re.findall(r"^  (--[a-z-]+(?:=[A-Z:,.-]+)?)", text, re.MULTILINE))


def compare(what, documented, known):
    for name in sorted(documented - known):
        yield f"{what}: {name} is documented, but not known"
    for name in sorted(known - documented):
        yield f"{what}: {name} is known, but not documented"


def names(options):
    return {option.partition("=")[0] for option in options}


# ---- raftkvctl ----


def commands_of(raftkvctl):
    """Command -> its arguments and options, as its help says."""
    listed = output(raftkvctl, "--help").partition("Commands:\n")[2].partition("\n\n")[0]
    commands = {}
    for line in listed.splitlines():
        usage, _, _ = line.strip().partition("  ")
        name, _, arguments = usage.partition(" ")
        own = output(raftkvctl, "help", name) if name != "help" else ""
        commands[name] = (arguments, options_of(own))
    return commands


def check_raftkvctl(page, raftkvctl):
    commands = commands_of(raftkvctl)
    explained = {}
    for match in re.finditer(r"^\*([a-z-]+)\*(.*)\n((?:\t.*\n|\n(?=\t))+)", section(page, "COMMANDS"), re.MULTILINE):
        options = re.findall(r"^\t(\*--.*)$", match[3], re.MULTILINE)
        explained[match[1]] = (plain(match[2]).strip(), {plain(option) for option in options})
    yield from compare("raftkvctl.1", set(explained), set(commands))
    for name in explained.keys() & commands.keys():
        arguments, options = commands[name]
        if explained[name][0] != arguments:
            yield f"raftkvctl.1: {name} has the arguments {explained[name][0]!r}, not {arguments!r}"
        yield from compare(f"raftkvctl.1, {name}", explained[name][1], options)
    overall = options_of(output(raftkvctl, "--help"))
    documented = {plain(line) for line in re.findall(r"^\*--.*$", section(page, "OPTIONS"), re.MULTILINE)}
    yield from compare("raftkvctl.1, OPTIONS", documented, overall)


def check_exit_statuses(page, schema):
    table = re.findall(r"^\|  (\d+)\n:  (.*)$", section(page, "EXIT STATUS"), re.MULTILINE)
    rows = {int(number): text for number, text in table}
    for name, number in re.findall(r"^    ERROR_CODE_(\w+) = (\d+);", schema, re.MULTILINE):
        if number == "0":
            continue
        camel = "".join(word.capitalize() for word in name.split("_"))
        if not rows.pop(10 + int(number), "").startswith(camel):
            yield f"raftkvctl.1: exit status {10 + int(number)} is not explained as {camel}"
    if set(rows) != {0, 1, 2}:
        yield f"raftkvctl.1: the exit statuses {sorted(rows)} are explained besides those of errors, not 0, 1, 2"


def check_completions(raftkvctl, bash, zsh):
    commands = commands_of(raftkvctl)
    overall = names(options_of(output(raftkvctl, "--help")))
    words = set(re.search(r"local commands='(.*)'", bash)[1].split())
    yield from compare("raftkvctl.bash", words, set(commands))
    yield from compare("raftkvctl.bash", names(re.search(r"local global='(.*)'", bash)[1].split()), overall)
    own = {name: names(text.split()) for name, text in re.findall(r"\[([a-z-]+)\]='(.*)'", bash)}
    for name, (_, options) in commands.items():
        yield from compare(f"raftkvctl.bash, {name}", own.get(name, set()), names(options))
    yield from compare("_raftkvctl", set(re.findall(r"^        '([a-z-]+):", zsh, re.MULTILINE)), set(commands))
    known = overall.union(*(names(options) for _, options in commands.values()))
    yield from compare("_raftkvctl", set(re.findall(r"'(--[a-z-]+)[=\[]", zsh)), known)


# ---- raftkvd and its configuration ----


def check_raftkvd(page, raftkvd):
    known = options_of(output(raftkvd, "--help"))
    documented = {plain(line) for line in re.findall(r"^\*--.*$", section(page, "OPTIONS"), re.MULTILINE)}
    yield from compare("raftkvd.8", documented, known)


def check_exit_statuses_of_raftkvd(page, raftkvd):
    said = output(raftkvd, "--help").partition("\nExit status:\n")[2]
    known = {": ".join(row) for row in re.findall(r"^  (\d+) +(.*)$", said, re.MULTILINE)}
    table = re.findall(r"^\|  (\d+)\n:  (.*)$", section(page, "EXIT STATUS"), re.MULTILINE)
    if not table:
        yield "raftkvd.8: the exit statuses are not explained"
    yield from compare("raftkvd.8, EXIT STATUS", {plain(": ".join(row)) for row in table}, known)


def keys_of(raftkvd):
    """Section and key -> the default, as --help says."""
    keys, heading = {}, None
    for line in output(raftkvd, "--help").splitlines():
        bracket = re.match(r"  \[(\w+)\]$", line)
        key = re.match(r"  (\w+)=(\S+)$", line)
        if bracket:
            heading = bracket[1]
        elif key and heading:
            keys[heading, key[1]] = key[2]
    return keys


def keys_that_reload(raftkvd):
    heading, key, found = None, None, set()
    for line in output(raftkvd, "--help").splitlines():
        if bracket := re.match(r"  \[(\w+)\]$", line):
            heading = bracket[1]
        elif pair := re.match(r"  (\w+)=\S+$", line):
            key = pair[1]
        elif line.startswith("      ") and line.endswith(" (reload)"):
            found.add((heading, key))
    return found


def allowed_values(raftkvd, heading, key, directory):
    """What --check-config says is allowed, when a value is wrong."""
    file = Path(directory) / "wrong.conf"
    file.write_text(f"[{heading}]\n{key}=!\n")
    return re.search(r"allowed is (.*)", output(raftkvd, f"--config={file}", "--check-config", "wrong", status=78))[1]


def check_configuration(page, raftkvd):
    keys = keys_of(raftkvd)
    reloaded = keys_that_reload(raftkvd)
    explained = {}
    for name in re.findall(r"^# \[(\w+)\] SECTION$", page, re.MULTILINE):
        body = section(page, f"[{name}] SECTION")
        for key, text in re.findall(r"^\*(\w+)\*=\n((?:\t.*\n?)+)", body, re.MULTILINE):
            explained[name.capitalize(), key] = " ".join(plain(text).split())
    yield from compare("raftkv.conf.5", {key for _, key in explained}, {key for _, key in keys})
    with tempfile.TemporaryDirectory() as directory:
        for (name, key), default in keys.items():
            text = explained.get((name, key), "")
            if not default.startswith("<") and f"Default: {default}." not in text:
                yield f"raftkv.conf.5: [{name}] {key}= does not say that its default is {default}"
            if ("A reload takes it over." in text) != ((name, key) in reloaded):
                yield f"raftkv.conf.5: [{name}] {key}= is wrong about whether a reload takes it over"
            allowed = allowed_values(raftkvd, name, key, directory)
            if re.search(r"^a .* from ", allowed) and allowed.partition(", such as")[0] not in text:
                yield f"raftkv.conf.5: [{name}] {key}= does not say that allowed is {allowed}"


# ---- the journal ----


def check_journal(page, ids, catalog):
    defined = re.findall(r'^#define MESSAGE_\w+ "MESSAGE_ID=(.*)"$', ids, re.MULTILINE)
    journal = section(page, "JOURNAL")
    listed = dict(re.findall(r"^_([0-9a-f]{32})_\n\t(.*)$", journal, re.MULTILINE))
    yield from compare("raftkvd.8, JOURNAL", set(listed), set(defined))
    kinds, _, fields = journal.partition("\n## Fields\n")
    used = set(re.findall(r"RAFTKV_[A-Z_]+", kinds)) - {"RAFTKV_NODE"}
    explained = {name for line in re.findall(r"^RAFTKV_.*$", fields, re.MULTILINE) for name in line.split(", ")}
    yield from compare("raftkvd.8, Fields", explained, used)
    for entry in re.split(r"^-- ", catalog, flags=re.MULTILINE)[1:]:
        for name in re.findall(r"@(RAFTKV_\w+)@", entry):
            if name not in listed.get(entry[:32], "") and name != "RAFTKV_NODE":
                yield f"raftkv.catalog: {entry[:32]} uses {name}, which the message does not have"


# Who may say something that has no id: nothing there is about elections, the membership, states or peers.
PLAIN = ("src/base/", "src/bus/", "src/daemon/", "src/service/", "src/node/space.c", "src/node/storage.c",
         "src/rpc/client_door.c")  # fmt: skip


def check_ids_of_messages(repository):
    for file in sorted((repository / "src").rglob("*.c")):
        name = str(file.relative_to(repository))
        if not name.startswith(PLAIN) and re.search(r"\bjournal\(", file.read_text()):
            yield f"{name} says something in the journal without a MESSAGE_ID"


# ---- D-Bus ----


def check_errors(page, names_of_errors):
    explained = re.findall(r"^\*org\.raftkv1\.Error\.(\w+)\*\n\t\S", section(page, "ERRORS"), re.MULTILINE)
    known = set(re.findall(r'^    \[ERROR_\w+\] = "(\w+)",$', names_of_errors, re.MULTILINE)) - {"Ok"}
    if not known:
        yield "org.raftkv1.5: there are no errors to compare with"
    yield from compare("org.raftkv1.5, ERRORS", set(explained), known)


def check_interfaces(page, interfaces, policy):
    known = set(re.findall(r'<action id="(.*?)">', policy))
    known.update(re.findall(r'<(?:method|signal|property|interface) name="(.*?)"', interfaces))
    if not known:
        yield "org.raftkv1.5: there are no interfaces to compare with"
    explained = plain(page)
    for name in sorted(name for name in known if not re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", explained)):
        yield f"org.raftkv1.5: {name} is known, but not documented"


def check_bench(page, raftkv_bench):
    known = names(options_of(output(raftkv_bench, "--help"))) | {"--version"}
    documented = set(re.findall(r"\*(--[a-z-]+)\*", section(page, "OPTIONS")))
    yield from compare("raftkv-bench.1", documented, known)


def main():
    repository, raftkvd, raftkvctl, raftkv_bench = Path(sys.argv[1]), *sys.argv[2:]

    def text(path):
        return (repository / path).read_text()

    bus_page = output(
        repository / "man/dbus_page.py", repository / "proto/raftkv.proto", *sorted((repository / "dbus").glob("*.xml"))
    )
    faults = [
        *check_raftkvctl(text("man/raftkvctl.1.scd"), raftkvctl),
        *check_exit_statuses(text("man/raftkvctl.1.scd"), text("proto/raftkv.proto")),
        *check_completions(
            raftkvctl, text("src/client/completion/raftkvctl.bash"), text("src/client/completion/_raftkvctl")
        ),
        *check_raftkvd(text("man/raftkvd.8.scd"), raftkvd),
        *check_exit_statuses_of_raftkvd(text("man/raftkvd.8.scd"), raftkvd),
        *check_journal(text("man/raftkvd.8.scd"), text("src/base/message_ids.h"), text("systemd/raftkv.catalog")),
        *check_ids_of_messages(repository),
        *check_interfaces(
            bus_page, "".join(map(Path.read_text, repository.glob("dbus/*.xml"))), text("dbus/org.raftkv1.policy")
        ),
        *check_errors(bus_page, text("src/base/error.c")),
        *check_configuration(text("man/raftkv.conf.5.scd"), raftkvd),
        *check_bench(text("man/raftkv-bench.1.scd"), raftkv_bench),
    ]
    print("\n".join(faults) or "The pages and completions say what the programs say.")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
