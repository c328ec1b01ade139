#!/usr/bin/python3
"""A stand-in for a node's client port, to try clients in situations that a real cluster can't be
brought into at will.

fake_node.py PROTO_DIRECTORY [--port=PORT] [--behaviour=WORD]

Prints "port N" once it listens. PROTO_DIRECTORY is proto/ of the source tree; what protoc makes of
it is kept in a temporary directory. The behaviours:

  serve            answer from a dictionary
  silent           read, never answer
  close            read one request, then close the connection
  no-leader        answer NoLeader to everything
  redirect=ADDRESS answer NotLeader with this leader address
  busy-once        answer Busy to the first request, then serve
  garbage          answer a frame that is not a Response
  huge             announce an answer of 4 GiB
"""
import argparse
import asyncio
import importlib
import struct
import subprocess
import sys
import tempfile


def load_protocol(directory):
    output = tempfile.TemporaryDirectory()
    subprocess.run(["protoc", f"--proto_path={directory}", f"--python_out={output.name}",
                    f"{directory}/raftkv.proto"], check=True)
    sys.path.insert(0, output.name)
    module = importlib.import_module("raftkv_pb2")
    output.cleanup()
    return module


class Store:
    def __init__(self, protocol):
        self.protocol = protocol
        self.items = {}
        self.revision = 0

    def put(self, request, response):
        if len(request.value) > 4 * 1024 * 1024:
            return self.fail(response, self.protocol.ERROR_CODE_TOO_LARGE, "the value is too large")
        self.revision += 1
        old = self.items.get(request.key)
        self.items[request.key] = self.protocol.KeyValue(
            key=request.key, value=request.value, modify_revision=self.revision,
            create_revision=old.create_revision if old else self.revision,
            version=old.version + 1 if old else 1)
        response.put.revision = self.revision
        response.put.created = old is None

    def get(self, request, response):
        item = self.items.get(request.key)
        if item is None:
            return self.fail(response, self.protocol.ERROR_CODE_NOT_FOUND,
                             f"there is no key \"{request.key.decode(errors='replace')}\"")
        response.get.item.CopyFrom(item)
        response.get.revision = self.revision

    def delete(self, request, response):
        self.revision += 1
        response.delete.existed = self.items.pop(request.key, None) is not None
        response.delete.revision = self.revision

    def list(self, request, response):
        start = request.continuation or getattr(request, "from")
        keys = sorted(k for k in self.items if k.startswith(request.prefix) and k >= start)
        page = keys[:min(request.limit or 1000, 3)]
        for key in page:
            response.list.items.add().CopyFrom(self.items[key])
            if request.keys_only:
                response.list.items[-1].value = b""
        if len(page) < len(keys):
            response.list.continuation = keys[len(page)]
        response.list.revision = self.revision

    def status(self, request, response):
        me = self.protocol.MemberStatus(
            name="nodeA", id=2 ** 63 + 1, role=1, state=3, term=7, leader="nodeA",
            commit_index=10, applied_index=10, last_index=10, answers=True, version="0",
            peer_address="127.0.0.1:4712", client_address="127.0.0.1:4711", cluster_id=5)
        response.status.self.CopyFrom(me)
        if request.cluster:
            response.status.members.add().CopyFrom(me)
            response.status.members.add(name="nodeB", id=3, role=2, answers=False,
                                        error="no answer within 2 s")

    def members(self, _request, response):
        response.members.configuration_index = 1
        response.members.cluster_id = 5
        response.members.members.add(name="nodeA", id=2 ** 63 + 1, role=1, leader=True,
                                     peer_address="127.0.0.1:4712",
                                     client_address="127.0.0.1:4711")

    def add_voter(self, _request, response):
        response.configuration.configuration_index = 9

    remove_server = add_voter
    demote_voter = add_voter

    def transfer_leadership(self, request, response):
        response.transfer_leadership.leader = request.name or "nodeB"

    @staticmethod
    def fail(response, code, message, leader=""):
        response.error.code = code
        response.error.message = message
        response.error.leader_address = leader


class Node:
    def __init__(self, protocol, behaviour):
        self.protocol = protocol
        self.behaviour = behaviour
        self.store = Store(protocol)

    def answer(self, request):
        response = self.protocol.Response(id=request.id)
        if self.behaviour == "no-leader":
            self.store.fail(response, self.protocol.ERROR_CODE_NO_LEADER, "no leader is known")
        elif self.behaviour.startswith("redirect="):
            self.store.fail(response, self.protocol.ERROR_CODE_NOT_LEADER, "not the leader",
                            self.behaviour.partition("=")[2])
        elif self.behaviour == "busy-once":
            self.behaviour = "serve"
            self.store.fail(response, self.protocol.ERROR_CODE_BUSY, "too much to do")
        else:
            getattr(self.store, request.WhichOneof("body"))(
                getattr(request, request.WhichOneof("body")), response)
        return response.SerializeToString()

    async def serve(self, reader, writer):
        try:
            while True:
                size, = struct.unpack(">I", await reader.readexactly(4))
                request = self.protocol.Request.FromString(await reader.readexactly(size))
                if self.behaviour == "close":
                    break
                if self.behaviour == "silent":
                    continue
                if self.behaviour == "huge":
                    writer.write(b"\xff\xff\xff\xff")
                    continue
                body = b"\xff" * 9 if self.behaviour == "garbage" else self.answer(request)
                writer.write(struct.pack(">I", len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("proto")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--behaviour", default="serve")
    arguments = parser.parse_args()
    node = Node(load_protocol(arguments.proto), arguments.behaviour)
    server = await asyncio.start_server(node.serve, "127.0.0.1", arguments.port)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
