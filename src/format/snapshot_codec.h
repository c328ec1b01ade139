/* The header of a snapshot as a protobuf message, for what contains one. */
#pragma once

#include "proto/unpack.h"
#include "format/snapshot.h"

/* The message points into the header. */
void snapshot_header_to_message(const struct snapshot_header *header,
                                Raftkv__V1__SnapshotHeader *message);
/* -EBADMSG with the reason when it is not a valid header. */
int snapshot_header_from_message(struct snapshot_header *ret,
                                 const Raftkv__V1__SnapshotHeader *message,
                                 struct failure *failure);
