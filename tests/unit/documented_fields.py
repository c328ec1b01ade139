#!/usr/bin/python3
"""Writes what raftkvd(8) says of the messages in the journal as the initializers of an array in C."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parents[1]))

from documents import journal_fields  # noqa: E402

for message_id, fields in journal_fields().items():
    print(f'{{"MESSAGE_ID={message_id}", "{" ".join(fields)}"}},')
