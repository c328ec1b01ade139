/* One object for each member of the cluster, /org/raftkv1/member/NAME: dbus/org.raftkv1.Member.xml.
 */
#pragma once

#include "bus/connection.h"

/* Serves the objects, and an ObjectManager for them at /org/raftkv1; negative errno. */
int member_objects_export(struct bus *bus);
/* Announces members that came or went, and properties that changed: those of one member at most ten
 * times a second, later changes when it may again. */
void member_objects_announce(struct bus *bus);
/* When member_objects_tick() wants to be called (CLOCK_MONOTONIC, us). */
uint64_t member_objects_deadline(const struct bus *bus);
/* Announces what nobody tells of, or had to wait, when it is time. */
void member_objects_tick(struct bus *bus);
