"""The D-Bus wire protocol, as far as it takes to say on a bus what no library would let pass."""

import os
import socket
import struct

METHOD_CALL = 1


def _pad(data, size):
    return data + b"\0" * (-len(data) % size)


def _string(text):
    return struct.pack("<I", len(text)) + text + b"\0"


def _field(code, signature, value):
    return bytes([code, 1]) + signature + b"\0" + value


def method_call(serial, destination, path, interface, member, signature=b"", body=b""):
    """A method call whose body is taken as it is."""
    values = [(1, b"o", path), (6, b"s", destination), (2, b"s", interface), (3, b"s", member)]
    fields = b""
    for code, kind, text in values:
        fields = _pad(fields, 8) + _field(code, kind, _string(text))
    if signature:
        fields = _pad(fields, 8) + _field(8, b"g", bytes([len(signature)]) + signature + b"\0")
    head = struct.pack("<BBBBIII", ord("l"), METHOD_CALL, 0, 1, len(body), serial, len(fields))
    return _pad(head + fields, 8) + body


class RawBus:
    """A connection to a bus that has said Hello, and says anything."""

    def __init__(self, bus, limit):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(limit)
        self.socket.connect(str(bus.socket))
        uid = str(os.getuid()).encode().hex().encode()
        self.socket.sendall(b"\0AUTH EXTERNAL " + uid + b"\r\n")
        assert self.socket.recv(1000).startswith(b"OK")
        self.socket.sendall(b"BEGIN\r\n")
        name = b"org.freedesktop.DBus"
        self.socket.sendall(method_call(1, name, b"/org/freedesktop/DBus", name, b"Hello"))
        assert self.socket.recv(10000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive_until_the_end(self):
        """All that comes before the bus closes the connection."""
        received = b""
        try:
            while data := self.socket.recv(65536):
                received += data
        except ConnectionError:
            pass
        return received
