// One rank of the tests with real processes: rank_worker WORK, with torchrun's variables. It ends
// as the program does: status 0, or one line and status 2 (user's error), 1 (fault), 3 (a peer is
// lost).
#include <cstdio>
#include <cstdlib>

#include "model/io/error.h"
#include "tests/trainer/distributed/worker/works.h"
#include "trainer/distributed/collectives/gloo_communicator.h"
#include "trainer/distributed/faults/error_claim.h"
#include "trainer/distributed/job/rendezvous.h"

namespace vmla::distributed {

double number_of(const char* variable, double otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atof(text);
}

void expect(bool holds, const std::string& what) {
  if (!holds) fail_run("wrong: {}", what);
}

std::unique_ptr<Store> Job::join() const {
  return join_job(environment, patience);
}

void Job::end_hung(const std::string& line) const {
  const ErrorLine said = claim_error(*store, environment, nullptr, PeerError(line));
  if (said.say) std::printf("said: %s\n", said.text.c_str());
  await_readers(*store, environment);
  std::_Exit(kPeerLost);
}

std::unique_ptr<Communicator> Job::group(const std::string& name,
                                         const std::vector<int64_t>& ranks) {
  auto made = gloo_communicator(
      *store,
      name,
      ranks,
      rank(),
      gloo_options(environment, [](const char* v) { return std::getenv(v); }, timeout));
  made->set_log(log);
  return made;
}

std::unique_ptr<Communicator> Job::world() {
  std::vector<int64_t> all;
  for (int64_t one = 0; one < size(); ++one) all.push_back(one);
  return group("world", all);
}

namespace {

/// Every rank_worker can do these, by the names that the tests use.
Works all_works() {
  Works works = collective_works();
  works.merge(meeting_works());
  works.merge(fault_works());
  return works;
}

int status_of(const std::exception& error) {
  if (dynamic_cast<const PeerError*>(&error) != nullptr) return kPeerLost;
  return dynamic_cast<const UserError*>(&error) != nullptr ? 2 : 1;
}

int run(const std::string& work) {
  std::unique_ptr<Job> job;
  try {
    job = std::make_unique<Job>();
    meet_ranks(*job->store, job->environment, job->patience);
    all_works().at(work)(*job);
    job->watchdog.reset();
    leave_job(*job->store, job->environment, job->timeout);
    return 0;
  } catch (const std::exception& error) {
    ErrorLine line{.say = true, .text = error.what()};
    if (job) line = claim_error(*job->store, job->environment, job->watchdog.get(), error);
    if (line.say) std::printf("said: %s\n", line.text.c_str());
    if (job) await_readers(*job->store, job->environment);
    return status_of(error);
  }
}

}  // namespace
}  // namespace vmla::distributed

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  return vmla::distributed::run(argv[1]);
}
