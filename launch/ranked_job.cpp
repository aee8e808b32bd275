#include "launch/ranked_job.h"

#include "launch/error_report.h"
#include "model/io/error.h"
#include "model/io/log.h"
#include "trainer/compute_device.h"
#include "trainer/config/config_yaml.h"
#include "trainer/config/validate_distributed.h"
#include "trainer/distributed/collectives/collective_log.h"
#include "trainer/distributed/collectives/gloo_communicator.h"
#include "trainer/distributed/collectives/host_staged_communicator.h"
#include "trainer/distributed/collectives/nccl_communicator.h"
#include "trainer/distributed/faults/error_claim.h"
#include "trainer/distributed/faults/watchdog.h"
#include "trainer/distributed/job/rendezvous.h"

#include <cstdlib>
#include <exception>
#include <optional>

namespace vmla::launch {
namespace {

using distributed::Mesh;
using distributed::RankEnvironment;
using trainer::TrainConfig;

/// What the ranks compare: the resolved configuration, or why there is none.
std::string comparable(const std::string& file, const std::vector<std::string>& overrides) {
  try {
    return trainer::resolved_yaml(trainer::load_config(file, overrides));
  } catch (const UserError& error) {
    return error.what();
  }
}

Mesh make_mesh(const RankEnvironment& environment,
               const TrainConfig& config,
               const distributed::MeshShape& shape,
               distributed::Store& store,
               const std::shared_ptr<distributed::CollectiveLog>& log) {
  const double timeout = config.distributed.timeout_seconds;
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
  if (config.train.device != "cuda") return Mesh(shape, environment.rank, on_host);
  trainer::prepare_device(config.train.device);
  const bool staged = config.distributed.backend == "host_staged";
  const int64_t gpu = trainer::use_gpu_of_rank(environment.local_rank, staged);
  if (staged) {
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
  if (dynamic_cast<const distributed::PeerError*>(&error) != nullptr) return kPeerLost;
  if (dynamic_cast<const UserError*>(&error) != nullptr) return kWrongInput;
  return kFault;
}

/// Before there is a store there is nobody to agree with who says what is wrong: the first rank of
/// each machine does.
std::unique_ptr<distributed::Store> join(const RankEnvironment& environment, double timeout) {
  try {
    return distributed::join_job(environment, timeout);
  } catch (const UserError&) {
    if (environment.local_rank == 0) throw;
    exit_after_peer_reports(kWrongInput);
  } catch (const distributed::PeerError& lost) {  // rank 0 went as soon as it had come
    if (environment.local_rank == 0) log::error("vmla: error: {}", lost.what());
    std::_Exit(kPeerLost);
  }
}

}  // namespace

int run_ranks(const RankEnvironment& environment,
              const std::string& file,
              const std::vector<std::string>& overrides,
              const std::function<void(const RankedJob& job)>& work) {
  // Rank 0 speaks for the job: what is wrong with its configuration needs no meeting.
  const bool is_lead = environment.rank == 0;
  std::optional<TrainConfig> config;
  if (is_lead) config = trainer::load_config(file, overrides);
  log::set_muted(!is_lead);
  // The other ranks do not know the timeout before they know that their configuration is rank 0's.
  constexpr double kMeetingSeconds = 300;
  const auto store = join(environment, kMeetingSeconds);
  std::optional<distributed::Watchdog> watchdog;
  const auto log = std::make_shared<distributed::CollectiveLog>();
  try {
    distributed::meet_ranks(*store, environment, kMeetingSeconds);
    const auto agree = [&](const distributed::AgreedValue& agreed) {
      distributed::agree(*store, environment, agreed, kMeetingSeconds);
    };
    agree({.name = "program version", .value = VMLA_VERSION});
    agree({.name = "configuration", .value = comparable(file, overrides)});
    if (!config) config = trainer::load_config(file, overrides);
    const double timeout = config->distributed.timeout_seconds;
    const auto end_when_hung = [&](const std::string& line) {
      const distributed::PeerError hung(line);
      const auto said = distributed::claim_error(*store, environment, nullptr, hung);
      if (said.say) log::error("vmla: error: " + said.text);
      std::_Exit(kPeerLost);
    };
    watchdog.emplace(
        *store,
        environment,
        log,
        distributed::WatchdogOptions{
            .timeout_seconds = timeout, .period_seconds = 1, .on_hang = end_when_hung});
    {
      distributed::MeshShape shape;
      trainer::with_config_origins(file, overrides, [&] {
        shape = trainer::mesh_shape(*config, environment.world_size, environment.local_world_size);
      });
      const Mesh mesh = make_mesh(environment, *config, shape, *store, log);
      work({*config, mesh, [&](int64_t step) { watchdog->set_step(step); }});
      mesh.host().barrier();
    }
    watchdog.reset();
    distributed::leave_job(*store, environment, timeout);
    return kDone;
  } catch (const StopRequested& stop) {
    // All ranks stop after the same step, and all have saved.
    if (is_lead) log::warn("vmla: stopped: {}", stop.what());
    watchdog.reset();
    try {
      distributed::leave_job(*store, environment, 30);
    } catch (const distributed::PeerError&) {  // everything is saved, whoever left first
    }
    return kStopped;
  } catch (const std::exception& error) {
    const auto line =
        distributed::claim_error(*store, environment, watchdog ? &*watchdog : nullptr, error);
    if (line.say) log::error("vmla: error: " + line.text.substr(0, line.text.find('\n')));
    return status_of(error);
  }
}

}  // namespace vmla::launch
