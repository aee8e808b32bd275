#pragma once

#include "model/io/graceful_stop.h"
#include "trainer/distributed/collectives/mesh.h"

namespace vmla::distributed {

/// A request to stop that all ranks of a job follow at the same place. Of one process it is a
/// GracefulStop like any other; of several ranks none ends alone, and how soon they stop is a
/// question of how often they look.
class SharedStop {
 public:
  /// `save` as GracefulStop has it; on several ranks each calls it when all stop.
  SharedStop(const Mesh& mesh, io::GracefulStop::Save save);

  /// Throws StopRequested, after `save`, if a signal came to any rank. Collective.
  void look();
  /// The same where all ranks know already that they stop.
  [[noreturn]] void stop() { stop_.stop(save_()); }

 private:
  const Mesh& mesh_;
  io::GracefulStop::Save save_;
  io::GracefulStop stop_;
};

}  // namespace vmla::distributed
