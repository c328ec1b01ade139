#!/usr/bin/python3
"""Writes the source of org.raftkv1(5) from the documented introspection XML in dbus/ and the errors in
proto/raftkv.proto.

Usage: dbus_page.py PROTO-FILE XML-FILE...

The file permissions beside the XML is the one place that says who may call what. The XML is the one place where the
interfaces are described (tests/unit/test_bus_introspection.py sees to it that it
describes all that is served), so the page is made from it.
"""

import os
import re
import sys
import textwrap
import xml.etree.ElementTree as ElementTree

HEAD = """org.raftkv1(5)

# NAME

org.raftkv1 - the D-Bus interfaces of raftkvd

# DESCRIPTION

A node with the name _NAME_ offers the object _/org/raftkv1_ under the bus name _org.raftkv1.NAME_, on the system bus unless
*raftkvd*(8) was told otherwise. Types are those of the D-Bus specification; *busctl*(1) shows them with
*busctl introspect org.raftkv1.NAME /org/raftkv1*. A method replies once, when what it does is done.

An error's name is _org.raftkv1.Error._ with the name that the sections below give it, see *ERRORS*; its message is a sentence
that says what was wrong and what is allowed.

The object _/org/freedesktop/LogControl1_ has the interface of *org.freedesktop.LogControl1*(5), so that *systemctl
service-log-level* shows and changes how much the node logs.

# PERMISSIONS

Anyone may read a node's properties, status and statistics, the members as it knows them, and who asks to join, and see and
await its operations. Root and the daemon's user may do everything. On the system bus, *polkit*(8)
decides about others:

*org.raftkv1.read-keys*
	Read keys and values, all of them in a backup, and the members as the leader has them confirmed.

*org.raftkv1.write-keys*
	Change and delete keys.

*org.raftkv1.manage-cluster*
	Change the members, hand leadership over, have it confirmed, write a barrier, compact the log, cancel operations, set how
	much the node logs.

By default administrators (in Debian, the members of the group _sudo_) may do all that after an agent of polkit has asked for
their password: that of a desktop, or *pkttyagent*(1) at a terminal, for the process that is to call. In a file in
_/etc/polkit-1/rules.d_ it can be permitted without; for example, to the members of the group _operators_ to write:

```
polkit.addRule(function(action, subject) {
    if (action.id == "org.raftkv1.write-keys" && subject.isInGroup("operators"))
        return polkit.Result.YES;
});
```
"""

TAIL = """
# EXAMPLES

```
$ busctl --address=$BUS call org.raftkv1.$NODE /org/raftkv1 org.raftkv1.KV Put ss colour blue
tb 10 true
$ busctl --address=$BUS call org.raftkv1.$NODE /org/raftkv1 org.raftkv1.KV Get s colour
st "blue" 11
$ busctl --address=$BUS get-property org.raftkv1.$NODE /org/raftkv1 org.raftkv1.Node Role
s "voter"
```

On the system bus *--address*= is left out.

# SEE ALSO

*raftkv*(7), *raftkvd*(8), *raftkvctl*(1), *busctl*(1), *polkit*(8)
"""


def write_permissions(path):
    """A table of the members and who may call each."""
    print("Who may call each member, besides root and the daemon's user:\n")
    print("[[ *Member*\n:[ *Who*")
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                member, who = line.split()
                print(f"|  {escape(member)}\n:  {escape(who)}")


def escape(text):
    return re.sub(r"([\\*_`#~\[\]|<>])", r"\\\1", text)


def is_element(node):
    return isinstance(node.tag, str)


class Comment:
    """A documentation comment: a summary line or text, its @arguments and its paragraphs."""

    def __init__(self, text):
        self.arguments, self.paragraphs, self.summary = [], [], ""
        _, _, rest = text.strip().partition(":")
        for block in re.split(r"\n\s*\n", rest):
            self._add(textwrap.dedent(block))

    def _add(self, block):
        plain, argument = [], None
        for line in (line.strip() for line in block.splitlines()):
            described = re.match(r"@(\w+):\s*(.*)", line)
            if described and described[1] == "short_description":
                self.summary = described[2]
            elif described:
                argument = [described[1], described[2]]
                self.arguments.append(argument)
            elif argument:
                argument[1] += " " + line
            elif line:
                plain.append(line)
        if plain:
            self.paragraphs.append(" ".join(plain))


def described(parent):
    """The elements of a node, each with the comment before it."""
    text = ""
    for node in parent:
        if is_element(node):
            yield node, Comment(text)
            text = ""
        else:
            text = node.text


def signature(member):
    arguments = [f"{a.get('direction', 'out')} {a.get('type')} {a.get('name')}" for a in member.findall("arg")]
    return ", ".join(arguments)


def write_member(member, comment):
    kind, name = member.tag, escape(member.get("name"))
    if kind == "property":
        print(f"\n*{name}* ({escape(member.get('type'))}, {member.get('access')})")
    else:
        print(f"\n*{name}*({escape(signature(member))})")
    for argument, text in comment.arguments:
        print(f"\t_{escape(argument)}_: {escape(text)}\n")
    for paragraph in comment.paragraphs:
        print(f"\t{escape(paragraph)}\n")


def write_interface(interface, comment):
    print(f"\n# INTERFACE {escape(interface.get('name'))}\n\n{escape(comment.summary)}.\n")
    for paragraph in comment.paragraphs:
        print(f"{escape(paragraph)}\n")
    members = list(described(interface))
    for kind, heading in (("method", "Methods"), ("signal", "Signals"), ("property", "Properties")):
        chosen = [(member, text) for member, text in members if member.tag == kind]
        if chosen:
            print(f"\n## {heading}")
        for member, text in chosen:
            write_member(member, text)


def write_errors(path):
    """The codes of enum ErrorCode but OK, each with the comment behind it."""
    with open(path, encoding="utf-8") as file:
        codes = re.findall(r"^    ERROR_CODE_(\w+) = [1-9]\d*; *// (.+)$", file.read(), re.MULTILINE)
    print("\n# ERRORS\n")
    for code, meaning in codes:
        name = "".join(word.capitalize() for word in code.split("_"))
        print(f"*org.raftkv1.Error.{name}*\n\t{escape(meaning)}\n")


def main():
    print(HEAD)
    write_permissions(os.path.join(os.path.dirname(sys.argv[2]), "permissions"))
    for path in sys.argv[2:]:
        builder = ElementTree.TreeBuilder(insert_comments=True)
        with open(path, "rb") as file:
            root = ElementTree.fromstring(file.read(), ElementTree.XMLParser(target=builder))
        for node, comment in described(root):
            write_interface(node, comment)
    write_errors(sys.argv[1])
    print(TAIL)


if __name__ == "__main__":
    main()
