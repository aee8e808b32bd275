#pragma once

#include <functional>

#include "trainer/distributed/collectives/mesh.h"

namespace vmla::distributed {

/// Work of the lead alone that may take longer than a collective may wait. Meanwhile all ranks ask
/// each other ten times a second whether it is done: none times out, and a rank that dies is
/// noticed. On several ranks the work runs on a thread of its own. Throws on the lead what the work
/// has thrown. Collective.
void while_lead_works(const Mesh& mesh, const std::function<void()>& work);

}  // namespace vmla::distributed
