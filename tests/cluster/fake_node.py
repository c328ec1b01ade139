"""Stand-ins for a node's client port that misbehave, to see what clients make of it."""

import socket
import struct
import threading

from protocol import raftkv


class FakeNode:
    """Takes requests and reacts to each by `behaviour`:

    silent      never answers
    close       closes the connection
    garbage     answers what is no Response
    huge        announces an answer of 4 GiB
    no-leader   answers NoLeader
    busy-once   answers Busy, and from the second time on success
    redirect    answers NotLeader, naming `leader_address`
    """

    def __init__(self, behaviour, leader_address=""):
        self.behaviour = behaviour
        self.leader_address = leader_address
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.connections = []
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        for opened in [self.listener, *self.connections]:
            opened.close()

    def _accept(self):
        try:
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()
        except OSError:
            pass  # closed

    def _serve(self, connection):
        stream = connection.makefile("rb")
        try:
            while head := stream.read(4):
                request = raftkv.Request.FromString(stream.read(*struct.unpack(">I", head)))
                self.requests.append(request)
                if self.behaviour == "close":
                    connection.shutdown(socket.SHUT_RDWR)
                elif self.behaviour != "silent":
                    connection.sendall(self._reaction(request))
        except (OSError, ValueError):
            pass  # the client, or close(), closed the connection

    def _reaction(self, request):
        if self.behaviour == "huge":
            return b"\xff\xff\xff\xff"
        if self.behaviour == "garbage":
            return struct.pack(">I", 9) + b"\xff" * 9
        answer = self._answer(request).SerializeToString()
        return struct.pack(">I", len(answer)) + answer

    def _answer(self, request):
        response = raftkv.Response(id=request.id)
        if self.behaviour == "no-leader":
            response.error.code = raftkv.ERROR_CODE_NO_LEADER
        elif self.behaviour == "redirect":
            response.error.code = raftkv.ERROR_CODE_NOT_LEADER
            response.error.leader_address = self.leader_address
        elif len(self.requests) == 1:
            response.error.code = raftkv.ERROR_CODE_BUSY
        else:
            response.put.revision = 1
        return response
