#include <ATen/ATen.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <thread>

#include "model/io/error.h"
#include "tests/trainer/distributed/worker/works.h"
#include "trainer/distributed/job/clock.h"

namespace vmla::distributed {
namespace {

/// Prints a word and the time, in milliseconds.
void print_time(const char* word) {
  std::printf("%s %.0f\n", word, time_of_day() * 1e3);
}

/// Reduces and gathers for ever, until rank VICTIM does something to itself in its step 3.
void lose_a_peer(Job& job, const std::function<void()>& fate) {
  const auto world = job.world();
  const bool is_victim = job.rank() == static_cast<int64_t>(number_of("VICTIM", -1));
  for (int64_t step = 1;; ++step) {
    job.watchdog->set_step(step);
    if (is_victim && step == 3) {
      // Its next heartbeat tells of step 2.
      std::this_thread::sleep_for(std::chrono::milliseconds(700));
      print_time("fate");
      fate();
    }
    const at::Tensor sum = at::ones({1000});
    try {
      world->all_reduce(sum).wait();
    } catch (const CommError&) {
      print_time("noticed");
      throw;
    }
    const at::Tensor whole = at::zeros({job.size() * 2});
    world->all_gather(whole, at::ones({2})).wait();
  }
}

/// A collective in a place without a timeout, as on a GPU: nothing comes back from it.
void hang_beside_a_stopped_peer(Job& job) {
  job.world()->barrier();
  if (job.rank() == static_cast<int64_t>(number_of("VICTIM", -1))) raise(SIGSTOP);
  job.log->awaited(job.log->started("device", Collective::kAllReduce, 7, 0));
  sleep(1000);
}

/// A collective that the device says has failed, while the thread that computes there waits on.
void go_on_beside_a_broken_group(Job& job) {
  job.world()->barrier();
  if (job.rank() == static_cast<int64_t>(number_of("VICTIM", -1))) raise(SIGSTOP);
  const int64_t ticket = job.log->started("device", Collective::kAllReduce, 7, 0);
  job.log->finished(ticket, []() -> bool { throw std::runtime_error("a peer is gone"); });
  sleep(1000);
}

}  // namespace

Works fault_works() {
  return {
      {"killed", [](Job& job) { lose_a_peer(job, [] { raise(SIGKILL); }); }},
      {"stopped", [](Job& job) { lose_a_peer(job, [] { raise(SIGSTOP); }); }},
      {"computing", [](Job& job) { lose_a_peer(job, [] { sleep(1000); }); }},
      {"hung", hang_beside_a_stopped_peer},
      {"severed", go_on_beside_a_broken_group},
      {"broken", [](Job& job) { lose_a_peer(job, [] { fail_run("the loss is not finite"); }); }}};
}

}  // namespace vmla::distributed
