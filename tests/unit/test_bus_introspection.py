#!/usr/bin/python3
"""Compares what the bus room serves with what dbus/*.xml documents, and checks that all of it is documented.

Usage: test_bus_introspection.py SERVER XML-FILE..., where SERVER prints the introspection of the served objects, each ended by a NUL.
"""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

STANDARD = "org.freedesktop.DBus."


def parse(text):
    builder = ElementTree.TreeBuilder(insert_comments=True)
    return ElementTree.fromstring(text, ElementTree.XMLParser(target=builder))


def is_element(node):
    return isinstance(node.tag, str)


def annotations(node):
    return sorted((a.get("name"), a.get("value")) for a in node.findall("annotation"))


def describe(interface):
    """An interface as lines that are equal when the interfaces are."""
    lines = []
    for member in filter(is_element, interface):
        kind, name = member.tag, member.get("name")
        if kind == "property":
            lines.append(f"property {name}: {member.get('type')} {member.get('access')} {annotations(member)}")
            continue
        if kind == "annotation":
            lines.append(f"annotation {name} {member.get('value')}")
            continue
        default = "out" if kind == "signal" else "in"
        arguments = [
            f"{a.get('direction', default)} {a.get('type')} {a.get('name')}" for a in member.findall("arg")
        ]
        lines.append(f"{kind} {name}({', '.join(arguments)}) {annotations(member)}")
    return sorted(lines)


def interfaces(root):
    return {
        i.get("name"): describe(i) for i in root.findall("interface") if not i.get("name").startswith(STANDARD)
    }


def undocumented(parent):
    """What has no comment before it that begins with its name, or whose comment leaves out an argument."""
    comment = ""
    for node in parent:
        if not is_element(node):
            comment = node.text.strip()
            continue
        if node.tag in ("interface", "method", "property", "signal"):
            name = node.get("name")
            if not comment.startswith(f"{name}:"):
                yield name
            for argument in node.findall("arg"):
                if f"@{argument.get('name')}:" not in comment:
                    yield f"{name}.{argument.get('name')}"
            yield from (undocumented(node) if node.tag == "interface" else ())
        comment = ""


def main():
    server, files = sys.argv[1], sys.argv[2:]
    printed = subprocess.run([server], check=True, stdout=subprocess.PIPE, timeout=60).stdout
    served, documented, faults = {}, {}, []
    for text in printed.split(b"\0")[:-1]:
        served.update(interfaces(parse(text)))
    for path in files:
        with open(path, "rb") as file:
            root = parse(file.read())
        documented.update(interfaces(root))
        faults += [f"{path}: {name} is not documented" for name in undocumented(root)]
    for name in sorted(served.keys() | documented.keys()):
        faults += [f"{name}: served but not in dbus/: {x}" for x in served.get(name, ["all of it"]) if x not in documented.get(name, [])]
        faults += [f"{name}: in dbus/ but not served: {x}" for x in documented.get(name, ["all of it"]) if x not in served.get(name, [])]
    if not served:
        faults.append("nothing is served")
    print("\n".join(faults) or f"{len(served)} interfaces are served as documented")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
