#include "trainer/observers/stage_saver.h"

#include "model/io/error.h"
#include "model/io/shared_save.h"
#include "trainer/distributed/collectives/shared_text.h"

#include <unistd.h>

#include <ctime>

namespace vmla::trainer {
namespace {

/// Runs `call`; a save that failed on another rank becomes PeerError.
template <class Call>
void rethrow_as_peer_error(const Call& call) {
  try {
    call();
  } catch (const io::SaveFailedElsewhere& problem) {
    throw distributed::PeerError(problem.what());
  }
}

/// This rank among those that write checkpoints together. Collective: the lead names the attempt,
/// so that files which ranks of an earlier, killed start have left are not taken for today's.
io::SavePlace save_place(const TrainConfig& config, const distributed::Mesh& mesh) {
  std::string attempt;
  if (mesh.is_lead()) attempt = formatted("{}-{}", std::time(nullptr), getpid());
  return {.writer = mesh.rank(),
          .writers = mesh.shape().world,
          .attempt = distributed::shared_text(mesh.host(), attempt),
          .serial = 0,  // counted by CheckpointWriter
          .timeout_seconds = config.distributed.timeout_seconds};
}

}  // namespace

StageSaver::StageSaver(const TrainConfig& config,
                       const std::filesystem::path& run_dir,
                       int64_t step,
                       const distributed::Mesh& mesh)
    : config_(config),
      mesh_(mesh),
      last_saved_(step > 0 ? step : -1),
      writer_(
          run_dir / "checkpoints",
          save_place(config, mesh),
          {.keep_last = config.checkpoint.keep_last, .keep_every = config.checkpoint.keep_every},
          [&mesh](bool here) { return mesh.everywhere(here); }) {}

void StageSaver::save(const RoleSet& roles, const TrainState& state, const MediaInfo& media) {
  rethrow_as_peer_error(
      [&] { writer_.begin(training_share(config_, roles, state, media, mesh_.replica())); });
  last_saved_ = state.step;
}

void StageSaver::before_update() {
  rethrow_as_peer_error([&] { writer_.before_update(); });
}

void StageSaver::finish() {
  rethrow_as_peer_error([&] { writer_.finish(); });
}

}  // namespace vmla::trainer
