#include "launch/ranked_job.h"

#include "launch/error_report.h"
#include "model/io/error.h"
#include "model/io/graceful_stop.h"
#include "model/io/log.h"
#include "trainer/compute_device.h"
#include "trainer/distributed/collectives/collective_log.h"
#include "trainer/distributed/collectives/gloo_communicator.h"
#include "trainer/distributed/collectives/host_staged_communicator.h"
#include "trainer/distributed/collectives/nccl_communicator.h"
#include "trainer/distributed/faults/error_claim.h"
#include "trainer/distributed/faults/watchdog.h"
#include "trainer/distributed/job/host_voice.h"
#include "trainer/distributed/job/network_address.h"
#include "trainer/distributed/job/rendezvous.h"

#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>

namespace vmla::launch {
namespace {

using distributed::Mesh;
using distributed::RankEnvironment;

// How long ranks wait for each other until they know that their plans, and with them the timeouts,
// are the same.
constexpr double kMeetingSeconds = 300;
// How long a rank that has stopped on request waits for the others to leave.
constexpr double kLeavingSeconds = 30;

/// The groups of ranks: over Gloo on the CPU, over NCCL on GPUs, or on GPUs through host memory and
/// Gloo (backend host_staged, for several ranks on one GPU).
Mesh make_mesh(const RankEnvironment& environment,
               const RankPlan& plan,
               const distributed::MeshShape& shape,
               distributed::Store& store,
               const std::shared_ptr<distributed::CollectiveLog>& log) {
  const double timeout = plan.timeout_seconds;
  const Mesh::MakeGroup on_host =
      [&](const std::string& name, const std::vector<int64_t>& ranks, int64_t) {
        auto group = distributed::gloo_communicator(
            store,
            name,
            ranks,
            environment.rank,
            distributed::gloo_options(environment, std::getenv, timeout));
        group->set_log(log);
        return group;
      };
  if (plan.device != "cuda") return Mesh(shape, environment.rank, on_host);
  trainer::prepare_device(plan.device);
  const int64_t gpu = trainer::use_gpu_of_rank(environment.local_rank, plan.staged_on_host);
  if (plan.staged_on_host) {
    const Mesh::MakeGroup through_host =
        [&](const std::string& name, const std::vector<int64_t>& ranks, int64_t index) {
          return distributed::host_staged_communicator(on_host(name, ranks, index));
        };
    return Mesh(shape, environment.rank, through_host, on_host);
  }
  const Mesh::MakeGroup on_gpu =
      [&](const std::string& name, const std::vector<int64_t>& ranks, int64_t) {
        auto group = distributed::nccl_communicator(
            store, name, ranks, environment.rank, {.device = gpu, .timeout_seconds = timeout});
        group->set_log(log);
        return group;
      };
  return Mesh(shape, environment.rank, on_gpu, on_host);
}

/// Exit status of an error that another rank may be the cause of.
int status_of(const std::exception& error) {
  if (distributed::is_of_peer(error)) return kPeerLost;
  return line_of(error).status;
}

/// Whether this rank is to say an error of the job on this machine, where others may have it too.
bool speaks_here(const RankEnvironment& environment) {
  return distributed::speaks_for_host(formatted("{} {} {} {}",
                                                distributed::host_name(),
                                                environment.master_addr,
                                                environment.run_id,
                                                environment.restart_count));
}

/// Connects to the store. While there is none, ranks cannot agree on which of them reports an
/// error: then the first on each machine that has one does.
std::unique_ptr<distributed::Store> join(const RankEnvironment& environment) {
  try {
    return distributed::join_job(environment, kMeetingSeconds);
  } catch (const UserError& error) {
    if (speaks_here(environment)) exit_for_peers(kWrongInput, error.what());
    exit_after_peer_reports(kWrongInput);
  } catch (const distributed::PeerError& lost) {  // rank 0 ended as soon as it had served the store
    if (speaks_here(environment)) exit_for_peers(kPeerLost, lost.what());
    std::_Exit(kPeerLost);
  }
}

/// One rank's part in the job, from the meeting of the ranks to its end.
class RankedRun {
 public:
  RankedRun(const RankEnvironment& environment, const std::function<RankPlan()>& make_plan)
      : environment_(environment), make_plan_(make_plan) {}

  int run(const std::function<void(const RankedJob& job)>& work) {
    // Rank 0's plan is the job's; if it is wrong, rank 0 says so before any rank has met.
    if (is_lead()) plan_ = make_plan_();
    log::set_muted(!is_lead());
    store_ = join(environment_);
    try {
      meet();
      start_watchdog();
      run_work(work);
      watchdog_.reset();
      distributed::leave_job(*store_, environment_, plan_->timeout_seconds);
      return kDone;
    } catch (const StopRequested& stop) {
      return leave_stopped(stop);
    } catch (const std::exception& error) {
      // Where ranks do not stop together, as in a set-up, each that was asked to ends by itself,
      // and the others lose it.
      if (io::GracefulStop::is_asked()) return kStopped;
      return report(error);
    }
  }

 private:
  bool is_lead() const { return environment_.rank == 0; }

  /// Waits for all ranks and compares what must be equal; then this rank's plan is rank 0's.
  void meet() {
    distributed::meet_ranks(*store_, environment_, kMeetingSeconds);
    const auto agree = [&](const distributed::AgreedValue& agreed) {
      distributed::agree(*store_, environment_, agreed, kMeetingSeconds);
    };
    agree({.name = "program version", .value = VMLA_VERSION});
    agree({.name = "configuration", .value = asked()});
    if (!plan_) plan_ = make_plan_();  // asked() said why not, which no plan of rank 0's equals
  }

  /// What this rank is asked for, or why it cannot be done.
  std::string asked() {
    try {
      if (!plan_) plan_ = make_plan_();
      return plan_->asked;
    } catch (const UserError& error) {
      return error.what();
    }
  }

  /// A collective that hangs cannot be interrupted: the watchdog's thread reports it and ends the
  /// process.
  void start_watchdog() {
    const auto end_when_hung = [this](const std::string& line) {
      const distributed::PeerError hung(line);
      const auto claim = distributed::claim_error(*store_, environment_, nullptr, hung);
      if (claim.say) log::error("vmla: error: {}", claim.text);
      distributed::await_readers(*store_, environment_);
      std::_Exit(kPeerLost);
    };
    watchdog_.emplace(*store_,
                      environment_,
                      collectives_,
                      distributed::WatchdogOptions{.timeout_seconds = plan_->timeout_seconds,
                                                   .period_seconds = 1,
                                                   .on_hang = end_when_hung});
  }

  /// Makes the groups and runs `work`. The groups are gone at the end: peers of a rank that fails
  /// notice that by their end.
  void run_work(const std::function<void(const RankedJob& job)>& work) {
    const Mesh mesh = make_mesh(environment_, *plan_, plan_->shape(), *store_, collectives_);
    try {
      work({mesh, [this](int64_t step) { watchdog_->set_step(step); }});
      mesh.host().barrier();
    } catch (const std::exception& error) {
      watchdog_->stand_down();
      // Said before the groups are left, which may take a while on a broken GPU, or never end.
      if (is_own(error)) say(error);
      throw;
    }
  }

  /// All ranks stop at the same place, and all have saved.
  int leave_stopped(const StopRequested& stop) {
    if (is_lead()) log::warn("vmla: stopped: {}", stop.what());
    watchdog_.reset();
    try {
      distributed::leave_job(*store_, environment_, kLeavingSeconds);
    } catch (const distributed::PeerError&) {
      // Another rank has left first, which does no harm: everything is saved.
    }
    return kStopped;
  }

  /// Whether no other rank can be the cause of it, nor a request to stop.
  static bool is_own(const std::exception& error) {
    return !distributed::is_of_peer(error) &&
           dynamic_cast<const StopRequested*>(&error) == nullptr && !io::GracefulStop::is_asked();
  }

  /// Agrees with the other ranks on which one says the error, and says it if it is this one.
  void say(const std::exception& error) {
    distributed::Watchdog* const watchdog = watchdog_ ? &*watchdog_ : nullptr;
    // Of all errors but another rank's, the others are told the line that a single rank would say.
    const RunError line(line_of(error).text);
    claimed_ = distributed::claim_error(
        *store_,
        environment_,
        watchdog,
        distributed::is_of_peer(error) ? error : static_cast<const std::exception&>(line));
    claimed_->text = claimed_->text.substr(0, claimed_->text.find('\n'));
    if (claimed_->say) log::error("vmla: error: {}", claimed_->text);
  }

  /// Exit status of an error; the groups are gone.
  int report(const std::exception& error) {
    if (!claimed_) say(error);
    distributed::await_readers(*store_, environment_);
    const bool elsewhere = !claimed_->host.empty() && claimed_->host != distributed::host_name();
    if (!claimed_->say && elsewhere && speaks_here(environment_))
      exit_for_peers(status_of(error), claimed_->text);
    return status_of(error);
  }

  const RankEnvironment& environment_;
  const std::function<RankPlan()>& make_plan_;
  const std::shared_ptr<distributed::CollectiveLog> collectives_ =
      std::make_shared<distributed::CollectiveLog>();
  std::optional<RankPlan> plan_;
  std::unique_ptr<distributed::Store> store_;
  std::optional<distributed::ErrorLine> claimed_;  // once an error is said, here or elsewhere
  std::optional<distributed::Watchdog> watchdog_;  // uses the store: destroyed before it
};

}  // namespace

int run_ranks(const RankEnvironment& environment,
              const std::function<RankPlan()>& plan,
              const std::function<void(const RankedJob& job)>& work) {
  return RankedRun(environment, plan).run(work);
}

}  // namespace vmla::launch
