#include <chrono>

#include "launch/doctor/measure_device.h"
#include "launch/doctor/other_programs.h"
#include "launch/doctor/timing.h"
#include "model/io/program_beside.h"
#include "trainer/distributed/job/network_address.h"
#include "trainer/distributed/job/store.h"

namespace vmla::launch::doctor {

using namespace vmla::distributed;

NetworkFacts measure_network() {
  NetworkFacts facts;
  facts.host = host_name();
  facts.address = "not known";
  constexpr double kMostSeconds = 5;
  facts.store_problem = problem_of([&] {
    facts.address = resolve_host(facts.host, "this machine's name").front();
    facts.only_loopback = is_loopback(facts.address);
    const int socket = listen_on(0);
    const auto served =
        Store::serve({facts.address, port_of(socket)}, socket, "doctor/", kMostSeconds);
    const auto client = served->connect_again(kMostSeconds);
    constexpr int kKeys = 20;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kKeys; ++i) {
      served->set("key", std::to_string(i));
      if (client->wait_for("key", kMostSeconds) != std::to_string(i)) {
        throw StoreError("it returned another value than was written", false);
      }
    }
    facts.store_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / kKeys;
  });
  facts.launcher_problem = problem_of([&] {
    const ProgramAnswer answer = ask_program(io::program_beside("vmla-launch", "starts ranks"),
                                             {"--nproc-per-node", "2", "--", "/bin/true"},
                                             20);
    facts.launcher_problem = answer.problem;
    facts.launcher_seconds = answer.seconds;
    if (!answer.problem.empty()) throw std::runtime_error(answer.problem);
  });
  return facts;
}

}  // namespace vmla::launch::doctor
