#pragma once

#include <functional>

#include "trainer/distributed/collectives/mesh.h"

namespace vmla::distributed {

/// Work of the lead alone that may take longer than a collective may wait. Meanwhile all ranks ask
/// each other ten times a second whether it is done, so that none times out. On several ranks the
/// work runs on a thread of its own, and the lead, too, leaves only when it has ended: also with
/// CommError, where another rank is gone meanwhile. Throws on the lead what the work has thrown.
/// Collective.
void while_lead_works(const Mesh& mesh, const std::function<void()>& work);

}  // namespace vmla::distributed
