"""A stand-in for a member that says to the others whatever it likes."""

import socket
import struct
import threading

from backup_file import crc32c
from client import Client
from protocol import peer

FRAGMENT_MAX = 60 << 10


def checked_frame(content):
    """A frame of the peer port: its length, the checksums of that and of the content."""
    length = struct.pack(">I", len(content))
    return length + struct.pack(">II", crc32c(length), crc32c(content)) + content


def receive_checked_frame(client):
    length = client.receive_exactly(4)
    checksums = struct.unpack(">II", client.receive_exactly(8))
    content = client.receive_exactly(*struct.unpack(">I", length))
    assert checksums == (crc32c(length), crc32c(content))
    return content


class FakeMember:
    """Takes the place of a node that is down. The others' links to it come up; it reads what they
    say, and answers nothing of it."""

    def __init__(self, node, status):
        self.identity = peer.Identity(
            cluster_id=status.cluster_id,
            member_id=status.id,
            incarnation=1000,
            name=node.name,
            peer_address=node.peer_address,
            client_address=node.client_address,
            protocol_min=1,
            protocol_max=1,
        )
        self.listener = socket.create_server(("127.0.0.1", node.peer_port))
        self.listening = []
        self.links = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for opened in [self.listener, *self.listening, *self.links.values()]:
            opened.close()

    # What it is told

    def _accept(self):
        try:
            while True:
                connection, _ = self.listener.accept()
                self.listening.append(connection)
                threading.Thread(target=self._listen, args=[connection], daemon=True).start()
        except OSError:
            pass  # closed

    def _listen(self, connection):
        welcome = peer.LinkFrame(welcome=peer.Welcome(identity=self.identity, protocol=1))
        try:
            stream = connection.makefile("rb")
            stream.read(*struct.unpack(">I", stream.read(12)[:4]))
            connection.sendall(checked_frame(welcome.SerializeToString()))
            while stream.read(1 << 16):
                pass
        except (OSError, ValueError, struct.error):
            pass  # the node, or close(), closed the connection

    # What it says

    def _dial(self, node):
        link = Client(node.peer_port)
        hello = peer.Hello(identity=self.identity, purpose=peer.LINK_PURPOSE_MEMBER)
        link.send_bytes(checked_frame(peer.LinkFrame(hello=hello).SerializeToString()))
        assert peer.LinkFrame.FromString(receive_checked_frame(link)).HasField("welcome")
        return link

    def say(self, node, message, urgent=True):
        """Lost, when the node has closed the link for what was said before; the next one comes over
        a new link."""
        data = message.SerializeToString()
        pieces = [data[at : at + FRAGMENT_MAX] for at in range(0, len(data), FRAGMENT_MAX)] or [b""]
        try:
            if node.name not in self.links:
                self.links[node.name] = self._dial(node)
            for piece in pieces:
                fragment = peer.Fragment(urgent=urgent, last=piece is pieces[-1], data=piece)
                frame = peer.LinkFrame(fragment=fragment).SerializeToString()
                self.links[node.name].send_bytes(checked_frame(frame))
        except (OSError, EOFError):
            if node.name in self.links:
                self.links.pop(node.name).close()
