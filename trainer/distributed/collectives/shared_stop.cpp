#include "trainer/distributed/collectives/shared_stop.h"

#include <utility>

namespace vmla::distributed {

SharedStop::SharedStop(const Mesh& mesh, io::GracefulStop::Save save)
    : mesh_(mesh),
      save_(std::move(save)),
      stop_(mesh.shape().world == 1 ? save_ : io::GracefulStop::Save()) {}

void SharedStop::look() {
  if (mesh_.shape().world == 1) {
    stop_.check();
  } else if (!mesh_.everywhere(!io::GracefulStop::is_asked())) {
    stop();
  }
}

}  // namespace vmla::distributed
