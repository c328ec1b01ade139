"""Writes and reads backup files as src/format/backup.h and proto/snapshot.proto say, with nothing
else of the project."""

import struct

from protocol import snapshot

RECORDS_OF_A_CHUNK = 100


def _make_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _make_table()


def crc32c(data, before=0):
    crc = before ^ 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _header(cluster_id, index, term):
    header = snapshot.BackupHeader(cluster_id=cluster_id, version="made by a test")
    header.snapshot.index = index
    header.snapshot.term = term
    body = header.SerializeToString()
    data = b"RAFTKVBK" + struct.pack("<II", 1, len(body)) + body
    return data + struct.pack("<I", crc32c(data))


def _chunks(index, items):
    """Encoded chunks, each with its checksum, which covers those before it too."""
    checksum = records = size = 0
    starts = range(0, max(len(items), 1), RECORDS_OF_A_CHUNK)
    for sequence, start in enumerate(starts):
        chunk = snapshot.SnapshotChunk(index=index, sequence=sequence)
        for item in items[start : start + RECORDS_OF_A_CHUNK]:
            chunk.records.add(
                key=item.key,
                value=item.value,
                create_revision=item.create_revision,
                modify_revision=item.modify_revision,
                version=item.version,
            )
            records += 1
            size += len(item.key) + len(item.value)
        chunk.total_records, chunk.total_bytes = records, size
        chunk.last = start == starts[-1]
        data = chunk.SerializeToString()
        checksum = crc32c(data, checksum)
        yield data + struct.pack("<I", checksum)


def make_backup(items, index, term, cluster_id=0x1234):
    """The bytes of a backup with these items (of an answer to a list, in their order)."""
    items = list(items)
    chunks = list(_chunks(index, items))
    data = _header(cluster_id, index, term)
    data += b"".join(struct.pack("<I", len(chunk)) + chunk for chunk in chunks)
    size = sum(len(item.key) + len(item.value) for item in items)
    data += struct.pack("<IQQQ", 0, len(chunks), len(items), size)
    return data + struct.pack("<I", crc32c(data))


def read_backup(data):
    """The header, and key -> (value, modify revision), of a whole backup's bytes. The checksum is
    looked at in small ones only: Python is slow."""
    assert data[:8] == b"RAFTKVBK"
    version, size = struct.unpack_from("<II", data, 8)
    header = snapshot.BackupHeader.FromString(data[16 : 16 + size])
    at, items, chunks = 16 + size + 4, {}, 0
    assert version == 1
    while True:
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if size == 0:
            break
        chunk = snapshot.SnapshotChunk.FromString(data[at : at + size - 4])
        at += size
        assert chunk.index == header.snapshot.index and chunk.sequence == chunks
        chunks += 1
        items |= {record.key: (record.value, record.modify_revision) for record in chunk.records}
    counted = struct.unpack_from("<QQQ", data, at)
    size = sum(len(key) + len(value) for key, (value, _) in items.items())
    assert counted == (chunks, len(items), size) and len(data) == at + 24 + 4
    assert list(items) == sorted(items)
    if len(data) < 100000:
        assert struct.unpack_from("<I", data, at + 24) == (crc32c(data[: at + 24]),)
    return header, items
