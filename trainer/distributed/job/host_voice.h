#pragma once

#include <string>

namespace vmla::distributed {

/// Whether this process is to say something that other ranks on this machine have to say too: true
/// for the first process of this user that asks about `topic`, until it ends. For errors of ranks
/// that cannot reach each other; ranks on other machines, and starts on other machines, have a
/// terminal of their own. True in doubt: better twice than not at all.
bool speaks_for_host(const std::string& topic);

}  // namespace vmla::distributed
