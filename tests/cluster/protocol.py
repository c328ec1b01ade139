"""The protocols of raftkv, as protoc makes them of proto/ for Python: `raftkv` for clients, `peer`
for what nodes say to each other, `snapshot` for what a backup holds. Generated anew for each run,
outside the source tree."""

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

SCHEMAS = Path(__file__).resolve().parents[2] / "proto"


def _generate():
    with tempfile.TemporaryDirectory(prefix="raftkv-protocol.") as directory:
        schemas = [str(SCHEMAS / name) for name in ("raftkv.proto", "peer.proto", "snapshot.proto")]
        subprocess.run(
            ["protoc", f"--proto_path={SCHEMAS}", f"--python_out={directory}", *schemas], check=True
        )
        sys.path.insert(0, directory)
        try:
            modules = ("raftkv_pb2", "peer_pb2", "snapshot_pb2")
            return [importlib.import_module(name) for name in modules]
        finally:
            sys.path.remove(directory)


raftkv, peer, snapshot = _generate()
