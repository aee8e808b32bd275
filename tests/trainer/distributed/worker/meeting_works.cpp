#include <cstdlib>
#include <string>

#include "tests/trainer/distributed/worker/works.h"
#include "trainer/distributed/job/rendezvous.h"

namespace vmla::distributed {
namespace {

void same_configuration(Job& job) {
  const auto agree_on = [&](const std::string& name, const char* variable, const char* otherwise) {
    const char* const value = std::getenv(variable);
    agree(*job.store,
          job.environment,
          {.name = name, .value = value == nullptr ? otherwise : value},
          job.patience);
  };
  agree_on("program version", "VERSION", "1.0");
  agree_on("configuration", "CONFIGURATION", "");
}

}  // namespace

Works meeting_works() {
  return {{"join", [](Job&) {}}, {"same configuration", same_configuration}};
}

}  // namespace vmla::distributed
