// One rank of the tests with real processes: rank_worker WORK, with torchrun's variables. It ends
// as the program does: status 0, or one line and status 2 (user's error), 1 (fault), 3 (a peer is
// lost).
#include <ATen/ATen.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>

#include "model/io/error.h"
#include "trainer/distributed/collectives/gloo_communicator.h"
#include "trainer/distributed/collectives/thread_communicator.h"
#include "trainer/distributed/faults/error_claim.h"
#include "trainer/distributed/job/clock.h"
#include "trainer/distributed/job/network_address.h"
#include "trainer/distributed/job/rendezvous.h"

namespace vmla::distributed {
namespace {

double number_of(const char* variable, double otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atof(text);
}

void expect(bool holds, const std::string& what) {
  if (!holds) throw RunError("wrong: " + what);
}

/// A rank as the program sets it up.
struct Job {
  RankEnvironment environment = rank_environment();
  double timeout = number_of("TIMEOUT", 20);
  double patience = number_of("JOIN_TIMEOUT", 20);
  std::unique_ptr<Store> store = join_job(environment, patience);
  std::shared_ptr<CollectiveLog> log = std::make_shared<CollectiveLog>();
  std::unique_ptr<Watchdog> watchdog = std::make_unique<Watchdog>(
      *store,
      environment,
      log,
      WatchdogOptions{.timeout_seconds = timeout,
                      .grace_seconds = 0.5,
                      .period_seconds = 0.5,
                      .on_hang = [this](const std::string& line) { end_hung(line); }});

  void end_hung(const std::string& line) const {
    const ErrorLine said = claim_error(*store, environment, nullptr, PeerError(line));
    if (said.say) std::printf("said: %s\n", said.text.c_str());
    std::_Exit(kPeerLost);
  }

  int64_t rank() const { return environment.rank; }
  int64_t size() const { return environment.world_size; }

  std::unique_ptr<Communicator> group(const std::string& name, const std::vector<int64_t>& ranks) {
    auto made = gloo_communicator(
        *store,
        name,
        ranks,
        rank(),
        gloo_options(environment, [](const char* v) { return std::getenv(v); }, timeout));
    made->set_log(log);
    return made;
  }

  std::unique_ptr<Communicator> world() {
    std::vector<int64_t> all;
    for (int64_t one = 0; one < size(); ++one) all.push_back(one);
    return group("world", all);
  }
};

/// Whole numbers, whose sums are exact in every dtype and order, or not.
at::Tensor input(int64_t rank, at::IntArrayRef shape, at::ScalarType dtype) {
  int64_t count = 1;
  for (const int64_t one : shape) count *= one;
  return (at::arange(count, at::kDouble) * 7 + rank * 5).remainder(13).sub(6).view(shape).to(dtype);
}

/// What every operation gives on this rank of a group.
std::vector<at::Tensor> results(Communicator& group, at::ScalarType dtype, int64_t count) {
  const int64_t size = group.size(), rank = group.rank();
  std::vector<at::Tensor> all;
  for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax}) {
    all.push_back(input(rank, {count}, dtype));
    group.all_reduce(all.back(), op).wait();
  }
  all.push_back(at::zeros({size * count}, dtype));
  group.all_gather(all.back(), input(rank, {count}, dtype)).wait();
  all.push_back(at::zeros({size, count}, dtype));  // its own row is the part
  all.back()[rank].copy_(input(rank, {count}, dtype));
  group.all_gather(all.back(), all.back()[rank]).wait();
  all.push_back(at::zeros({count}, dtype));
  group.reduce_scatter(all.back(), input(rank, {size * count}, dtype)).wait();
  all.push_back(at::zeros({size, count, 2}, dtype));
  group.all_to_all(all.back(), input(rank, {size, count, 2}, dtype)).wait();
  for (const int64_t root : {int64_t{0}, size - 1}) {
    all.push_back(input(rank, {count}, dtype));
    group.broadcast(all.back(), root).wait();
  }
  group.barrier();
  return all;
}

void compare_with_threads(Communicator& group) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kInt}) {
    for (const int64_t count : {0, 1, 37}) {
      const auto found = results(group, dtype, count);
      std::vector<at::Tensor> expected;
      on_threads(group.size(), [&](Communicator& thread) {
        auto all = results(thread, dtype, count);
        if (thread.rank() == group.rank()) expected = std::move(all);
      });
      for (size_t i = 0; i < found.size(); ++i)
        expect(at::equal(found[i], expected[i]),
               formatted("operation {} in {} of {} on rank {}", i, dtype, count, group.rank()));
    }
  }
}

void collectives(Job& job) {
  const auto world = job.world();
  compare_with_threads(*world);
  expect(close_sockets_on_exec() == 0, "a socket is left to processes that a rank starts");
  if (job.size() == 4) {
    const int64_t first = job.rank() / 2 * 2;
    const auto pair = job.group("pair", {first, first + 1});
    compare_with_threads(*pair);
    const auto far = job.group("far", {job.rank() % 2, job.rank() % 2 + 2});
    compare_with_threads(*far);
    expect(far->size() == 2 && far->rank() == job.rank() / 2, "the place in a group");
  }
  // Sums of bf16 are rounded once: 1 + 2^-9 + ... are lost when every step rounds to 8 bits.
  const at::Tensor small = at::full({3}, job.rank() == 0 ? 1.0 : 0x1p-9, at::kBFloat16);
  world->all_reduce(small).wait();
  const double exact = 1 + static_cast<double>(job.size() - 1) * 0x1p-9;
  expect(at::equal(small, at::full({3}, exact, at::kDouble).to(at::kBFloat16)), "a sum in bf16");
  // Its reduce_scatter adds in the order of the ranks, as threads do: the same bits.
  const auto scattered = [](Communicator& group) {
    const at::Tensor part = at::zeros({101});
    const at::Tensor whole =
        at::arange(101 * group.size(), at::kFloat).mul(0.37 + group.rank()).sin();
    group.reduce_scatter(part, whole).wait();
    return part;
  };
  const at::Tensor found = scattered(*world);
  on_threads(job.size(), [&](Communicator& thread) {
    const at::Tensor expected = scattered(thread);
    if (thread.rank() == job.rank()) expect(at::equal(found, expected), "the order of a sum");
  });
  // A gather moves bits, also those of -0.0 and of a NaN with a payload.
  const at::Tensor odd = at::full({2}, 0x7fc12345, at::kInt);
  odd[1].fill_(static_cast<int32_t>(0x80000000));
  const at::Tensor bits = at::zeros({2 * job.size()}, at::kFloat);
  world->all_gather(bits, odd.view(at::kFloat)).wait();
  expect(at::equal(bits.view(at::kInt), odd.repeat({job.size()})), "the bits of a gather");
  // Several under way at once, waited for in another order.
  const at::Tensor one = at::zeros({job.size() * 1000}), two = at::zeros({job.size() * 10});
  const at::Tensor sum = at::ones({5});
  Pending first = world->all_gather(one, at::full({1000}, static_cast<double>(job.rank())));
  Pending second = world->all_gather(two, at::full({10}, static_cast<double>(-job.rank())));
  Pending third = world->all_reduce(sum);
  third.wait();
  second.wait();
  first.wait();
  expect(one.view({-1, 1000})[job.size() - 1].eq(job.size() - 1).all().item<bool>() &&
             two.view({-1, 10})[1].eq(-1).all().item<bool>() &&
             sum.eq(job.size()).all().item<bool>(),
         "overlapped collectives");
  expect(!job.log->longest_awaited() && job.log->latest().back().group == "world",
         "the log of collectives");
}

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

void other_sizes(Job& job) {
  const auto world = job.world();
  const at::Tensor values = at::zeros({job.rank() == 1 ? 7 : 5});
  world->all_reduce(values).wait();
}

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

/// Median microseconds of each collective of 1 MB.
void measure(Job& job) {
  const auto begin = Clock::now();
  const auto world = job.world();
  const double group_ms = seconds_since(begin) * 1e3;
  const int64_t whole_count = 1 << 18;
  const at::Tensor whole = at::zeros({whole_count}), part = at::zeros({whole_count / job.size()});
  const auto median = [&](const std::function<void()>& work) {
    std::vector<double> times;
    for (int i = 0; i < 41; ++i) {
      world->barrier();
      const auto start = Clock::now();
      work();
      times.push_back(seconds_since(start) * 1e6);
    }
    std::nth_element(times.begin(), times.begin() + 20, times.end());
    return static_cast<int>(times[20]);
  };
  const int reduce = median([&] { world->all_reduce(whole).wait(); });
  const int gather = median([&] { world->all_gather(whole, part).wait(); });
  const int scatter = median([&] { world->reduce_scatter(part, whole).wait(); });
  const int exchange = median([&] {
    world
        ->all_to_all(whole.view({job.size(), -1}),
                     at::zeros({job.size(), whole_count / job.size()}))
        .wait();
  });
  const int barrier = median([&] { world->barrier(); });
  std::printf(
      "group %.1f ms; 1 MB: all_reduce %d us, all_gather %d, reduce_scatter %d, all_to_all %d; "
      "barrier %d\n",
      group_ms,
      reduce,
      gather,
      scatter,
      exchange,
      barrier);
}

const std::map<std::string, std::function<void(Job&)>> kWorks = {
    {"join", [](Job&) {}},
    {"collectives", collectives},
    {"killed", [](Job& job) { lose_a_peer(job, [] { raise(SIGKILL); }); }},
    {"stopped", [](Job& job) { lose_a_peer(job, [] { raise(SIGSTOP); }); }},
    {"computing", [](Job& job) { lose_a_peer(job, [] { sleep(1000); }); }},
    {"hung", hang_beside_a_stopped_peer},
    {"broken", [](Job& job) { lose_a_peer(job, [] { fail_run("the loss is not finite"); }); }},
    {"other sizes", other_sizes},
    {"same configuration", same_configuration},
    {"measure", measure},
};

int status_of(const std::exception& error) {
  if (dynamic_cast<const PeerError*>(&error) != nullptr) return kPeerLost;
  return dynamic_cast<const UserError*>(&error) != nullptr ? 2 : 1;
}

int run(const std::string& work) {
  std::unique_ptr<Job> job;
  try {
    job = std::make_unique<Job>();
    meet_ranks(*job->store, job->environment, job->patience);
    kWorks.at(work)(*job);
    job->watchdog.reset();
    leave_job(*job->store, job->environment, job->timeout);
    return 0;
  } catch (const std::exception& error) {
    ErrorLine line{.say = true, .text = error.what()};
    if (job) line = claim_error(*job->store, job->environment, job->watchdog.get(), error);
    if (line.say) std::printf("said: %s\n", line.text.c_str());
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
