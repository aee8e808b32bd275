#include "trainer/distributed/collectives/lead_work.h"

#include <chrono>
#include <future>
#include <thread>

namespace vmla::distributed {

void while_lead_works(const Mesh& mesh, const std::function<void()>& work) {
  if (mesh.shape().world == 1) {
    work();
    return;
  }
  std::future<void> done;
  if (mesh.is_lead()) done = std::async(std::launch::async, work);
  const auto is_done = [&] {
    return !done.valid() || done.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  };
  while (!mesh.everywhere(is_done())) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  if (done.valid()) done.get();
  // get() throws what went wrong on the lead; the others then end at this barrier.
  mesh.host().barrier();
}

}  // namespace vmla::distributed
