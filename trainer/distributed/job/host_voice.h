#pragma once

#include <string>

namespace vmla::distributed {

/// Whether this process is to say something that other ranks on this machine have to say too: true
/// for the first that asks about `topic`, until it ends, of the processes that the same parent (a
/// launcher, a shell) has started. For errors of ranks that cannot reach each other: those of other
/// machines and other parents have a terminal of their own. True in doubt: better twice than not at
/// all.
bool speaks_for_host(const std::string& topic);

}  // namespace vmla::distributed
