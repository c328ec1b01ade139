/* What becomes of nodes that ask to be taken into a cluster: AllowJoin= of its leader. */
#pragma once

enum join_policy { JOIN_NO, JOIN_ASK, JOIN_NONVOTER, JOIN_VOTER };
